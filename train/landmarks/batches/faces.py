"""Faces with points, as a landmark network learns from them and is judged on them (`read` reads them)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# From the tight box of the 68 points to the canonical face box, in shares of its width and height: the median of
# YuNet's boxes on 500 frames of YouTube-Faces (median IoU of box and mapped box 0.88, scale within 16 % for 98 %).
POINTS_TO_BOX = np.array([0.023, -0.322, -0.03, -0.024], np.float32)
MIDDLE = np.float32(0.5)  # of a pixel, from its edge
LARGEST = 96  # pixels of a face's longer side; larger pictures are shrunk when they are read


@dataclass(frozen=True, eq=False)
class Faces:
    """Hold N faces: their (H, W) uint8 grey pictures, (N, 68, 2) points and (N, 4) canonical boxes in pixels.

    Pixel i covers [i, i + 1), as everywhere in the project; the labels of the sets name the middles of pixels.
    """

    pictures: list[NDArray[np.uint8]]
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.pictures)


def face_boxes(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N, 4) canonical face boxes of (N, 68, 2) landmarks."""
    low, high = points.min(axis=1), points.max(axis=1)
    sides = high - low
    return np.concatenate([low + POINTS_TO_BOX[:2] * sides, high + POINTS_TO_BOX[2:] * sides], axis=1)
