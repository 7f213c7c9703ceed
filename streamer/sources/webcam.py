"""Open a webcam, and say which there are where it does not open."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from streamer.sources.opencv_decoder import OpenCVDecoder
from streamer.sources.source import SourceError


def open_webcam(index: int, width: int | None, height: int | None, fps: float | None) -> OpenCVDecoder:
    """Open a webcam and ask for a size and rate, which it may refuse. Raises SourceError where it does not open."""
    capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        raise SourceError(f"camera-{index}: cannot be opened: {_cameras()}")
    if (width or 0) > 640 or (height or 0) > 480:  # uncompressed, USB 2 carries few such pictures a second
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    wishes = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height, cv2.CAP_PROP_FPS: fps}
    for key, value in wishes.items():
        if value:
            capture.set(key, value)
    return OpenCVDecoder(capture, f"camera-{index}")


def _cameras() -> str:
    """Say which cameras there are, where the system tells (Linux does)."""
    found = sorted(int(path.name[5:]) for path in Path("/dev").glob("video*") if path.name[5:].isdecimal())
    if found:
        return f"there are {', '.join(map(str, found))}; is it in use elsewhere, or forbidden to this user?"
    return "no camera was found" if sys.platform == "linux" else "is it plugged in, and free?"
