"""Locate the 68 landmarks of a face (iBUG order): dlib's predictor, an optional extra.

Its weights were trained on 300-W, whose terms exclude commercial use; nothing here needs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Protocol

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

# From the box of dlib's HOG detector to the canonical face box, in shares of its side: centre shift, width, height.
# Best overlap with YuNet's boxes on 1,536 faces that both find (median IoU 0.77: HOG boxes come in steps of 20 %).
HOG_TO_FACE = (0.0, -0.08, 0.92, 1.2)
# The predictor looks around the box it is given: this share of its side on every side is enough.
SURROUNDINGS = 0.6


class Landmarker(Protocol):
    """Locate landmarks."""

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (N, 68, 2) float32 landmarks, in pixels, of (N, 4) xyxy face boxes in a (H, W, 3) BGR picture."""
        ...


class DlibLandmarker:
    """Run dlib's 68-point predictor (Kazemi & Sullivan 2014) on each face; belongs to one thread.

    path: a predictor file of yours; without it the one of the extra `dlib-landmarks`. Raises ModuleNotFoundError where
    that extra is not installed, FileNotFoundError where there is no file, ValueError where it is no such predictor.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = installed_predictor() if path is None else path
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected dlib's 68-point landmark predictor, found no file")
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path}: expected dlib's 68-point landmark predictor, found something else") from error
        points = self._predictor(np.zeros((8, 8), np.uint8), dlib.rectangle(0, 0, 7, 7)).num_parts
        if points != 68:
            raise ValueError(f"{path}: expected a predictor of 68 landmarks, found one of {points}")

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Locate each face on its own; a box without area, not finite or outside the picture gives NaN."""
        found = np.full((len(boxes), 68, 2), np.nan, np.float32)
        rows = np.flatnonzero(np.isfinite(boxes).all(axis=1))
        for row, box in zip(rows, np.floor(face_to_hog(boxes[rows]) + 0.5).astype(np.int64), strict=True):
            self._locate(image, box, found[row])
        return found

    def _locate(self, image: NDArray[np.uint8], box: NDArray[np.int64], points: NDArray[np.float32]) -> None:
        reach = int(SURROUNDINGS * (box[2] - box[0])) + 1
        left, top = np.maximum(box[:2] - reach, 0)
        right, bottom = np.maximum(box[2:] + reach, 0)
        around = image[top:bottom, left:right]
        if box[2] <= box[0] or not around.size:
            return
        grey = cv2.cvtColor(around, cv2.COLOR_BGR2GRAY)
        x0, y0, x1, y1 = (box - [left, top, left + 1, top + 1]).tolist()
        parts = self._predictor(grey, dlib.rectangle(x0, y0, x1, y1)).parts()
        points[:] = [(left + part.x, top + part.y) for part in parts]


def face_to_hog(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (N, 4) canonical face boxes into the squares of dlib's HOG detector, which the predictor expects."""
    shift_x, shift_y, width, height = HOG_TO_FACE
    low, high = boxes[:, :2], boxes[:, 2:]
    side = np.sqrt((high - low).clip(0).prod(axis=1, keepdims=True) / (width * height))
    centre = (low + high) / 2 - side * np.array([shift_x, shift_y], np.float32)
    return np.concatenate([centre - side / 2, centre + side / 2], axis=1).astype(np.float32)


def installed_predictor() -> Path:
    """Find the predictor file of the extra `dlib-landmarks`. Raises ModuleNotFoundError where it is not installed."""
    # Importing the package fails with setuptools 82 and newer; its list of files is all that is needed.
    try:
        files: Iterable[metadata.PackagePath] = metadata.distribution("face_recognition_models").files or ()
    except metadata.PackageNotFoundError:
        files = ()
    for file in files:
        if file.name == "shape_predictor_68_face_landmarks.dat":
            return Path(str(file.locate()))
    raise ModuleNotFoundError(
        'dlib\'s landmark predictor is not installed: run `pip install "emotion-streamer[dlib-landmarks]"`, '
        "or give the path of its file"
    )
