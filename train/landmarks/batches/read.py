"""Read the faces that a landmark network learns from and is judged on, as pictures with points."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.faces.landmarks import DlibLandmarker
from streamer.faces.roll import eye_line
from train.data import load
from train.data.locate import locate, plausible
from train.landmarks.batches.bias import EYES, from_frame, load_bias
from train.landmarks.batches.faces import LARGEST, MIDDLE, Faces, face_boxes
from train.landmarks.batches.found import read_found
from train.landmarks.batches.taught import read_taught
from train.landmarks.config import Source

# Sets of faces in the detector's labelled pictures: those whose points a teacher gave, and whatever a detector finds.
LABELLED = {"taught": read_taught, "found": read_found}


def read(source: Source, split: str) -> list[Faces]:
    """Read a split of a source, the faces of each kind together; rows without plausible landmarks are left out.

    Raises ModuleNotFoundError where dlib's predictor is asked for and not installed.
    """
    if source.set in LABELLED:
        return LABELLED[source.set](source, split)
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
    return [Faces(pictures, points, boxes, eye_line(points))]


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn an (H, W, 1) or BGR picture into (H, W)."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if picture.shape[2] == 3 else picture[..., 0]
    return np.ascontiguousarray(grey, np.uint8)
