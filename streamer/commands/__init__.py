"""The commands of `streamer`, one file each: what each of them does, once its options are read."""
