"""Faces with points, as a landmark network learns from them and is judged on them (`read` reads them)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

# From the tight box of the 68 points to the canonical face box, in shares of its width and height: the median of
# YuNet's boxes on 500 frames of YouTube-Faces (median IoU of box and mapped box 0.88, scale within 16 % for 98 %).
POINTS_TO_BOX = np.array([0.023, -0.322, -0.03, -0.024], np.float32)
MIDDLE = np.float32(0.5)  # of a pixel, from its edge
LARGEST = 96  # pixels of a face's longer side; larger pictures are shrunk when they are read
AROUND = 1.0  # face sides of surroundings that are kept on every side


class Kind(IntEnum):
    """Say what is known of a face: its points and that nothing hides them, its points alone, or that it is a face.

    NOTHING is something else that was taken for a face.
    """

    CLEAR = 0
    COVERED = 1
    UNTOLD = 2
    NOTHING = 3


@dataclass(frozen=True, eq=False)
class Faces:
    """Hold N faces: their (H, W) uint8 grey pictures, (N, 68, 2) points and (N, 4) canonical boxes in pixels.

    rolls: (N,) radians by which each is turned, clockwise. kind: what is known of all of them. Pixel i covers
    [i, i + 1), as everywhere in the project; the labels of the sets name the middles of pixels.
    """

    pictures: list[NDArray[np.uint8]]
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    rolls: NDArray[np.float32]
    kind: Kind = Kind.CLEAR

    def __len__(self) -> int:
        return len(self.pictures)


def face_boxes(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N, 4) canonical face boxes of (N, 68, 2) landmarks."""
    low, high = points.min(axis=1), points.max(axis=1)
    sides = high - low
    return np.concatenate([low + POINTS_TO_BOX[:2] * sides, high + POINTS_TO_BOX[2:] * sides], axis=1)


def cut_out(
    image: NDArray[np.uint8], box: NDArray[np.float32], points: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Cut a face with its surroundings out of an (H, W) picture, no larger than needed; return it with box and points.

    box: (4,) xyxy. points: (K, 2), of which none need be known.
    """
    side, size = float((box[2:] - box[:2]).max()), np.array(image.shape[::-1])
    low = np.clip(np.floor(box[:2] - AROUND * side), 0, size - 1).astype(int)
    high = np.clip(np.ceil(box[2:] + AROUND * side), low + 1, size).astype(int)
    cut = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    box, points = box - np.tile(low, 2).astype(np.float32), points - low.astype(np.float32)
    if (scale := LARGEST / side) < 1:
        smaller = np.asarray(cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        scales = (np.array(smaller.shape[::-1]) / cut.shape[::-1]).astype(np.float32)
        cut, box, points = smaller, box * np.tile(scales, 2), points * scales
    return cut, box.astype(np.float32), points.astype(np.float32)
