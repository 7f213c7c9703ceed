"""Real-time facial expression analysis of cameras, streams, files and photos."""

__version__ = "0.1.0"
