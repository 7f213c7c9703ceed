"""`streamer bench`: what this machine bears; clips are encoded before, and played as cameras while it measures."""
