"""Test clips with any number of faces, and a source that plays a clip as a camera would.

The faces are NASA's public-domain portrait of Eileen Collins (`portrait.jpg`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.sources import Report, SourceError
from streamer.types import Frame
from streamer.watching.metrics import Quantiles

FACE = 0.4  # of the portrait's side
BACKGROUND = 96


def draw_scene(width: int, height: int, faces: int, at: float) -> NDArray[np.uint8]:
    """Draw one (height, width, 3) BGR picture of a loop; at: place in it, 0-1. Every face moves on its own path."""
    stored = np.frombuffer(Path(__file__).with_name("portrait.jpg").read_bytes(), np.uint8)
    portrait = np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR), np.uint8)
    picture = np.full((height, width, 3), BACKGROUND, np.uint8)
    columns = max(1, math.ceil(math.sqrt(faces * width / height)))
    rows = math.ceil(faces / columns)
    tile_w, tile_h = width // columns, height // max(rows, 1)
    side = max(8, round(0.9 * min(tile_w, tile_h)))
    head = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    for number in range(faces):
        row, column = divmod(number, columns)
        angle = 2 * math.pi * at + 1.7 * number
        x = column * tile_w + round((tile_w - side) * (0.5 + 0.5 * math.cos(angle)))
        y = row * tile_h + round((tile_h - side) * (0.5 + 0.5 * math.sin(angle)))
        picture[y : y + side, x : x + side] = head[:, ::-1] if number % 2 else head
    return picture


def write_scene(path: Path, width: int, height: int, faces: int, fps: float, frames: int) -> Path:
    """Encode a loop of the scene as MPEG-4."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for index in range(frames):
        writer.write(draw_scene(width, height, faces, index / frames))
    writer.release()
    if not path.stat().st_size:
        raise OSError(f"{path}: the test clip cannot be encoded: OpenCV has no MPEG-4 encoder here")
    return path


class Played:
    """Play a clip over and over at a camera's pace, on the capture thread; frames are decoded while it plays.

    A frame is captured when it is due, so that decoding counts as latency. What could not be decoded in time is missed.
    """

    live = True

    def __init__(self, name: str, path: Path, fps: float, offset: float = 0.0) -> None:
        self.name = name
        self.fps: float | None = fps
        self.total: int | None = None
        self.missed = 0
        self.decoding = Quantiles()
        self._path, self._offset, self._period = path, offset, 1 / fps

    def frames(self, stop: threading.Event, report: Report) -> Iterator[Frame]:
        """Yield one frame every 1/fps seconds until `stop`; see `Source.frames`."""
        clip = self._open()
        try:
            started, index = time.monotonic() + self._offset, 0
            while not stop.wait(max(0.0, started + index * self._period - time.monotonic())):
                due = started + index * self._period
                yield Frame(self._read(clip), self.name, index, index * self._period, due, True)
                behind = max(0, int((time.monotonic() - due) / self._period) - 1)
                self.missed += behind
                index += 1 + behind
        finally:
            clip.release()

    def _open(self) -> cv2.VideoCapture:
        clip = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        if not clip.isOpened():
            raise SourceError(f"{self._path}: expected a video that can be played, found none")
        return clip

    def _read(self, clip: cv2.VideoCapture) -> NDArray[np.uint8]:
        began = time.perf_counter()
        good, image = clip.read()
        if not good:
            clip.set(cv2.CAP_PROP_POS_FRAMES, 0)
            good, image = clip.read()
        if not good:
            raise SourceError(f"{self._path}: ended before its first frame")
        self.decoding.add(time.perf_counter() - began)
        return np.asarray(image, np.uint8)
