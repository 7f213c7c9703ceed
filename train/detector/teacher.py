"""Label faces by agreement: YuNet (Wu et al. 2023) on scaled and mirrored copies of a picture, and dlib's HOG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import iou
from streamer.faces.detect import HogDetector
from streamer.types import Detections

MIRRORED = [1, 0, 2, 4, 3]  # order of the five points in a mirrored face
LOWEST = 0.3  # of a view's scores; below lies noise
SURE = 0.7  # score of the best view
LARGEST = 12_000_000  # pixels of a view


class Teacher:
    """Find faces in several views of a picture. It belongs to one thread.

    Raises FileNotFoundError where YuNet is not there, ValueError where the file is something else.
    """

    def __init__(self, path: Path, scales: Sequence[float] = (1.0, 1.5), hog: bool = True) -> None:
        self._net = _yunet(path)
        self._scales = scales
        self._hog = HogDetector(min_face=55, threshold=0.5) if hog else None

    def label(self, grey: NDArray[np.uint8]) -> tuple[Detections, NDArray[np.bool_]]:
        """Return the faces of an (H, W) picture, best score first, and (N,) whether the views agree about each.

        Scales take turns in being mirrored; with one scale both views are of that size. A face is sure where two views
        give it and the better score is `SURE`, or `SURE` - 0.15 and HOG sees it too.
        """
        views = [(scale, number % 2 == 1) for number, scale in enumerate(self._scales)]
        if len(views) == 1:
            views.append((views[0][0], True))
        found = [self.look(grey, scale, mirrored) for scale, mirrored in views]
        faces, votes = merge(found)
        seen = self._seen_by_hog(grey, faces)
        return faces, (votes >= 2) & (faces.scores >= np.where(seen, SURE - 0.15, SURE))

    def look(self, image: NDArray[np.uint8], scale: float, mirrored: bool = False) -> Detections:
        """Run YuNet on one view of an (H, W) or (H, W, 3) picture and return its faces in pixels of the picture."""
        scale = min(scale, (LARGEST / (image.shape[0] * image.shape[1])) ** 0.5)
        width, height = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        view = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self._net.setInputSize((width, height))
        view = cv2.flip(view, 1) if mirrored else view
        rows = self._net.detect(cv2.cvtColor(view, cv2.COLOR_GRAY2BGR) if view.ndim == 2 else view)[1]
        if rows is None:
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        points = rows[:, 4:14].reshape(-1, 5, 2)
        if mirrored:
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
            points = (points * (-1, 1) + (width, 0))[:, MIRRORED]
        back = np.array([image.shape[1] / width, image.shape[0] / height], np.float32)
        return Detections(
            (boxes * np.tile(back, 2)).astype(np.float32),
            rows[:, 14].astype(np.float32),
            (points * back).astype(np.float32),
        )

    def _seen_by_hog(self, grey: NDArray[np.uint8], faces: Detections) -> NDArray[np.bool_]:
        if self._hog is None or not len(faces):
            return np.zeros(len(faces), bool)
        [other] = self._hog.detect([cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR).astype(np.uint8)])
        return np.asarray((iou(faces.boxes, other.boxes) > 0.4).any(axis=1))


def _yunet(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the ONNX file of YuNet, found none; is data.teacher right?")
    try:
        return cv2.FaceDetectorYN.create(str(path), "", (32, 32), LOWEST, 0.3)
    except cv2.error as error:
        raise ValueError(f"{path}: expected the ONNX file of YuNet, found something else") from error


def merge(views: Sequence[Detections]) -> tuple[Detections, NDArray[np.int64]]:
    """Group the faces of several views (IoU 0.5); return medians with the best score, and the views that gave each."""
    boxes = np.concatenate([view.boxes for view in views])
    scores = np.concatenate([view.scores for view in views])
    points = np.concatenate([view.landmarks for view in views if view.landmarks is not None])
    origin = np.repeat(np.arange(len(views)), [len(view) for view in views])
    left, groups = np.argsort(-scores), []
    while len(left):
        near = iou(boxes[left[:1]], boxes[left])[0] > 0.5
        groups.append(left[near])
        left = left[~near]
    faces = Detections(
        np.array([np.median(boxes[group], axis=0) for group in groups], np.float32).reshape(-1, 4),
        np.array([scores[group].max() for group in groups], np.float32),
        np.array([np.median(points[group], axis=0) for group in groups], np.float32).reshape(-1, 5, 2),
    )
    return faces, np.array([len(set(origin[group])) for group in groups], np.int64)
