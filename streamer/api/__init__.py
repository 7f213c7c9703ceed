"""The interface for programs: what `streamer` offers by name, see docs/python.md.

warm       analyze and watch in one line       analyzer   one set of models for many pictures and streams
pictures   what may be given as a picture      faces      what a picture shows
loops      what may be watched, and how        results    the loop, as its caller has it
tables     faces as a pandas DataFrame         convert    own networks, made to say what they are
"""
