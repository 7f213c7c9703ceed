"""Faces turned in the picture's plane, as a landmark network is judged on them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.roll import eye_line, middles_of
from train.landmarks.batches.faces import Faces

SIDE = 320  # pixels of the pictures that faces are turned in, with room for those of `read` in every direction


def rolled(faces: Faces, degrees: float) -> Faces:
    """Turn every second face clockwise, the others the other way, each around the middle of its box.

    Their boxes become those that a detector draws around a turned face: around the ellipse that the upright box held.
    """
    pictures, points = [], np.empty_like(faces.points)
    for row, middle in enumerate(middles_of(faces.boxes)):
        picture, matrix = turn(faces.pictures[row], middle, degrees if row % 2 else -degrees)
        pictures.append(picture)
        points[row] = faces.points[row] @ matrix[:, :2].T + matrix[:, 2]
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]) ** 2
    cos, sin = np.cos(np.radians(degrees)) ** 2, np.sin(np.radians(degrees)) ** 2
    half = np.sqrt(cos * sides + sin * sides[:, ::-1]) / 2
    boxes = np.concatenate([SIDE / 2 - half, SIDE / 2 + half], axis=1)
    points = points.astype(np.float32)
    return Faces(pictures, points, boxes.astype(np.float32), eye_line(points))


def turn(
    picture: NDArray[np.uint8], centre: NDArray[np.float32], degrees: float
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Turn a picture clockwise around a point that comes to the middle of the new one; return the map of places too."""
    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    start = SIDE / 2 - matrix @ centre
    of_pixels = np.column_stack([matrix, start + matrix @ (0.5, 0.5) - 0.5])  # OpenCV counts from the middles of pixels
    return np.asarray(cv2.warpAffine(picture, of_pixels, (SIDE, SIDE)), np.uint8), np.column_stack([matrix, start])
