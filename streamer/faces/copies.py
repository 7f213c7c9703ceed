"""The copies of a picture that are searched, so that faces of every size are found with bounded memory.

A network knows faces from about 20 to some hundred pixels. The finest copy shows the smallest faces that are wanted, a
large picture in overlapping tiles; coarse copies of the whole picture show the larger ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.types import Detections

STRIDE = 32  # of the networks' coarsest level: their input is padded to a multiple
COARSE = (1280, 640, 320, 160)  # long sides of coarse copies, pixels
CLEARLY = 1.5  # a coarse copy shows something else where the finest one is so many times as large
SHAPES = 5  # a coarse copy's sides are padded to fifths of the longer one: each new size costs a network 10-20 ms
NARROW = 16  # pixels; a coarse copy that is narrower shows no face
OVERLAP = 160  # pixels of the picture that tiles share: a face up to that size is whole in one of them
EDGE = 3  # pixels; a face so near to a cut is taken for cut through


@dataclass(frozen=True)
class Copy:
    """Describe a copy: region x0, y0, x1, y1 of the picture, scaled to size (width, height), then padded to shape.

    shape: (height, width) that the network is shown; what is added lies below and to the right, and is black.
    """

    region: tuple[int, int, int, int]
    size: tuple[int, int]
    shape: tuple[int, int]

    def cut(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Make the copy of a (H, W, ...) uint8 picture."""
        x0, y0, x1, y1 = self.region
        part = picture[y0:y1, x0:x1]
        if self.size != (x1 - x0, y1 - y0):
            kind = cv2.INTER_AREA if self.size[0] < x1 - x0 else cv2.INTER_LINEAR
            part = np.asarray(cv2.resize(part, self.size, interpolation=kind), np.uint8)
        below, right = self.shape[0] - self.size[1], self.shape[1] - self.size[0]
        return np.asarray(cv2.copyMakeBorder(part, 0, below, 0, right, cv2.BORDER_CONSTANT), np.uint8)

    def in_picture(self, faces: Detections, picture: NDArray[np.uint8]) -> Detections:
        """Move faces to where they are in the picture; those that a cut goes through are whole in another copy."""
        x0, y0, x1, y1 = self.region
        shift = np.array([x0, y0], np.float32)
        scale = np.array([(x1 - x0) / self.size[0], (y1 - y0) / self.size[1]], np.float32)
        landmarks = None if faces.landmarks is None else faces.landmarks * scale + shift
        moved = Detections(faces.boxes * np.tile(scale, 2) + np.tile(shift, 2), faces.scores, landmarks)
        height, width = picture.shape[:2]
        low = np.array([x0 + EDGE if x0 else -np.inf, y0 + EDGE if y0 else -np.inf])
        high = np.array([x1 - EDGE if x1 < width else np.inf, y1 - EDGE if y1 < height else np.inf])
        return moved[np.asarray(((moved.boxes[:, :2] >= low) & (moved.boxes[:, 2:] <= high)).all(axis=1), np.bool_)]


def copies_of(
    height: int, width: int, scale: float, tile: int | None = None, coarse: Sequence[int] = COARSE
) -> list[Copy]:
    """Return the copies of a picture that are searched.

    scale: pixels of the finest copy per pixel of the picture. tile: pixels of the picture; the finest copy of a larger
    one is cut into tiles of that side, unless it is too small for a coarse copy, which shows what lies across tiles.
    coarse: long sides of the coarse copies; those that do not lie clearly below the finest one are left out.
    """
    longest = max(height, width)
    if scale * longest < CLEARLY * min(coarse, default=0):
        tile = None
    copies = [_copy(region, scale, STRIDE) for region in _tiles(height, width, tile or longest)]
    for side in coarse:
        if side * CLEARLY <= scale * longest and side * min(height, width) >= NARROW * longest:
            copies.append(_copy((0, 0, width, height), side / longest, max(side // SHAPES // STRIDE, 1) * STRIDE))
    return copies


def _copy(region: tuple[int, int, int, int], scale: float, step: int) -> Copy:
    x0, y0, x1, y1 = region
    width, height = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    return Copy(region, (width, height), (height + -height % step, width + -width % step))


def _tiles(height: int, width: int, tile: int) -> Iterator[tuple[int, int, int, int]]:
    for y in _starts(height, tile):
        for x in _starts(width, tile):
            yield x, y, min(x + tile, width), min(y + tile, height)


def _starts(length: int, tile: int) -> list[int]:
    """Spread tiles evenly over a side."""
    if length <= tile:
        return [0]
    count = int(np.ceil((length - OVERLAP) / (tile - OVERLAP)))
    return [int(start) for start in np.linspace(0, length - tile, count).round()]
