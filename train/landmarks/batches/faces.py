"""Read the faces that a landmark network learns from and is judged on, as pictures with points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.faces.landmarks import DlibLandmarker
from train.data import load
from train.data.locate import locate, plausible
from train.landmarks.batches.bias import EYES, from_frame, load_bias
from train.landmarks.config import Source

# From the tight box of the 68 points to the canonical face box, in shares of its width and height: the median of
# YuNet's boxes on 500 frames of YouTube-Faces (median IoU of box and mapped box 0.88, scale within 16 % for 98 %).
POINTS_TO_BOX = np.array([0.023, -0.322, -0.03, -0.024], np.float32)
MIDDLE = np.float32(0.5)  # of a pixel, from its edge
TAUGHT = "taught"  # the set whose points a teacher gave
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


def read(source: Source, split: str) -> Faces:
    """Read a split of a source; rows without plausible landmarks are left out.

    Raises ModuleNotFoundError where dlib's predictor is asked for and not installed.
    """
    if source.set == TAUGHT:
        from train.landmarks.batches.taught import read_taught  # it needs this module

        return read_taught(source, split)
    rows = load(source.set, source.path, split, source.labels)
    if source.cache is not None:
        rows = locate(rows, source.cache, DlibLandmarker())
    if rows.landmarks is None:
        raise UserError(f"{source.set}: the set has no landmarks; expected `cache`, a folder for those of dlib's")
    found = rows.landmarks
    kept = np.isfinite(found.reshape(len(found), -1)).min(axis=1)
    if source.cache is not None:
        kept &= plausible(found)  # a profile is not; those that a set brings are its own affair
    rows, points = rows[kept], found[kept] + MIDDLE
    points[:, :, 0] -= source.shift * np.linalg.norm(points[:, EYES[0]] - points[:, EYES[1]], axis=1)[:, None]
    if source.bias is not None:
        points -= from_frame(load_bias(source.bias), points)
    boxes = face_boxes(points)
    pictures = []
    for row, picture in enumerate(rows.images):
        scale = LARGEST / float((boxes[row, 2:] - boxes[row, :2]).max())
        grey = _grey(picture)
        if scale < 1:
            grey = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
            scales = np.array(grey.shape[::-1], np.float32) / picture.shape[1::-1]
            points[row] *= scales
            boxes[row] *= np.tile(scales, 2)
        pictures.append(grey)
    return Faces(pictures, points, boxes)


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn an (H, W, 1) or BGR picture into (H, W)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.shape[2] == 3 else picture[..., 0]
    return np.ascontiguousarray(grey, np.uint8)
