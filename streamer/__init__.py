"""Real-time facial expression analysis of cameras, streams, files and photos."""
