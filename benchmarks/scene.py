"""Four moving faces from the public-domain astronaut portrait, as pictures, as a live source and as a file."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.sources import Report
from streamer.types import Frame


def scene(width: int, height: int, count: int) -> list[NDArray[np.uint8]]:
    """Draw `count` different (height, width, 3) BGR pictures; in each quarter the portrait drifts on its own path."""
    from skimage.data import astronaut

    portrait = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    tile_w, tile_h = width // 2, height // 2
    scale = tile_h / 260  # the face is about 100 of the portrait's 512 pixels wide
    head = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    pictures = []
    for index in range(count):
        picture = np.full((height, width, 3), 90, np.uint8)
        for quarter in range(4):
            angle = 2 * math.pi * index / count + quarter * 1.7
            x = int(scale * (225 + 25 * math.cos(angle))) - tile_w // 2
            y = int(scale * (125 + 12 * math.sin(angle))) - tile_h // 2
            place = (max(0, -y), max(0, -x))
            cut = head[max(0, y) : y + tile_h, max(0, x) : x + tile_w]
            tile = picture[tile_h * (quarter // 2) :, tile_w * (quarter % 2) :]
            flipped = cut[:, ::-1] if quarter % 2 else cut
            left = tile_w - place[1] - cut.shape[1] if quarter % 2 else place[1]
            tile[place[0] : place[0] + cut.shape[0], left : left + cut.shape[1]] = flipped
        pictures.append(picture)
    return pictures


def write_clip(path: Path, pictures: list[NDArray[np.uint8]], fps: float = 30) -> None:
    """Encode the pictures as MPEG-4."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()


class Camera:
    """Show the pictures in a loop at a camera's pace, on the capture thread, copying as a real read would."""

    live, total = True, None

    def __init__(self, name: str, pictures: list[NDArray[np.uint8]], fps: float, seconds: float) -> None:
        self.name, self.fps = name, fps
        self._pictures, self._count = pictures, round(fps * seconds)

    def frames(self, stop: threading.Event, report: Report) -> Iterator[Frame]:
        """Give one frame every 1/fps seconds of wall time; late frames are not made up for."""
        started = time.monotonic()
        for index in range(self._count):
            if stop.wait(max(0.0, started + index / (self.fps or 1) - time.monotonic())):
                break
            now = time.monotonic()
            yield Frame(self._pictures[index % len(self._pictures)].copy(), self.name, index, now - started, now, True)
