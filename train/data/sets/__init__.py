"""Data sets, one file each: `load` reads one into a `FaceSet`."""
