# What a webcam sees, until Ctrl-C: python webcam.py, or of any other source: python webcam.py clip.mp4
import sys

import streamer

source = sys.argv[1] if len(sys.argv) > 1 else 0
for result in streamer.watch(source):
    print(f"{result.frame.time:.2f} s", *(face.label for face in result.faces))
