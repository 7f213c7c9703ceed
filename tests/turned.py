"""A face that is turned in the picture's plane, and what is turned with it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.roll import turned
from tests.make import points_of_face

MIDDLE = np.float32([160, 150])
SIDE = 100.0
BOX = np.float32([[115, 100, 205, 200]])  # around the middle, 90 x 100


def angles(*degrees: float) -> NDArray[np.float32]:
    return np.radians(degrees).astype(np.float32)


def around(boxes: NDArray[np.float32], rolls: NDArray[np.float32]) -> NDArray[np.float32]:
    """Draw boxes as detectors do: around the ellipses that upright boxes hold, turned."""
    sides = np.square(boxes[:, 2:] - boxes[:, :2])
    cos, sin = np.cos(rolls)[:, None] ** 2, np.sin(rolls)[:, None] ** 2
    half, middle = np.sqrt(cos * sides + sin * sides[:, ::-1]) / 2, (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)


def points_at(roll: float) -> NDArray[np.float32]:
    """Return the (68, 2) landmarks of a face of BOX that is turned around its middle."""
    upright = points_of_face(SIDE, float(MIDDLE[0]) - SIDE / 2, float(MIDDLE[1]) - SIDE / 2)[None]
    return turned(upright, MIDDLE[None], np.float32([roll]))[0]


def texture() -> NDArray[np.uint8]:
    """Return a smooth (300, 320, 3) picture without any symmetry."""
    small = np.random.default_rng(3).integers(0, 256, (15, 16, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (320, 300), interpolation=cv2.INTER_CUBIC), np.uint8)


def turn(picture: NDArray[np.uint8], roll: float) -> NDArray[np.uint8]:
    """Turn a picture clockwise around the middle of the face."""
    centre = float(MIDDLE[0]) - 0.5, float(MIDDLE[1]) - 0.5  # OpenCV counts from the middles of pixels
    matrix = cv2.getRotationMatrix2D(centre, -float(np.degrees(roll)), 1.0)
    return np.asarray(cv2.warpAffine(picture, matrix, (320, 300), flags=cv2.INTER_CUBIC), np.uint8)
