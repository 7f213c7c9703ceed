"""`streamer serve`: streams that come and go over HTTP, a configuration that is read again, signals that are noted."""
