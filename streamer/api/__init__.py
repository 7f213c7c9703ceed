"""The interface for programs: what `streamer` offers by name, see docs/python.md.

warm       analyze and watch in one line      analyzer   one set of models for many pictures and streams
pictures   what may be given as a picture     faces      what a picture shows
results    the loop over what is watched      tables     faces as a pandas DataFrame
convert    own networks, made to say what they are
"""
