"""`streamer bench`: the capacity of this machine; clips are encoded first, and played as cameras during measurement."""
