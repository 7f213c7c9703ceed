"""The browser demo (extra `demo`): one page, one server, one set of engines for all who watch.

live        seats for browsers in one pipeline     socket    frames in, boxes out, over a websocket
studio      uploads: video, photo, explanation     page      the tabs     server    all of it behind one port
"""
