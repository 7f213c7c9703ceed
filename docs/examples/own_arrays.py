# Own arrays, here of a video that OpenCV reads: python own_arrays.py clip.mp4
import sys

import cv2

import streamer


def pictures(video):
    while (picture := video.read()[1]) is not None:
        yield picture


video = cv2.VideoCapture(sys.argv[1])
for result in streamer.watch(pictures(video), fps=video.get(cv2.CAP_PROP_FPS)):
    print(f"{result.frame.time:.2f} s", *(face.label for face in result.faces))
