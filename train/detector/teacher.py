"""Label faces by agreement: YuNet (Wu et al. 2023) and CenterFace (Xu et al. 2019) on scaled and mirrored copies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.faces.boxes import iou
from streamer.types import Detections
from train.detector.centerface import CenterFace

MIRRORED = [1, 0, 2, 4, 3]  # order of the five points in a mirrored face
LOWEST = 0.3  # of a view's scores; below lies noise
SURE = 0.7  # score of the best view of YuNet where nobody else is asked
AGREED = 0.4  # score of both teachers from which they need no second view
ALONE = 0.6  # score of CenterFace, in two views, for a face that YuNet does not see
SAME = 0.4  # IoU of the two teachers' boxes of one face
LARGEST = 12_000_000  # pixels of a view


class Finder(Protocol):
    """Find faces in one (H, W, 3) BGR picture; boxes are canonical, points as YuNet orders them."""

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Return them, best score first."""
        ...


class YuNet:
    """Run YuNet through OpenCV. Raises FileNotFoundError where it is not there, UserError where it is another file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected the ONNX file of YuNet, found none; is data.teacher right?")
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (32, 32), LOWEST, 0.3)
        except cv2.error as error:
            raise UserError(f"{path}: expected the ONNX file of YuNet, found something else") from error

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Return the faces; boxes that are not finite are left out."""
        self._net.setInputSize(view.shape[1::-1])
        rows = self._net.detect(view)[1]
        if rows is None:
            return _nobody()
        rows = rows[np.isfinite(rows).all(axis=1)]
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        points = np.asarray(rows[:, 4:14].reshape(-1, 5, 2), np.float32)
        return Detections(boxes, rows[:, 14].astype(np.float32), points)


class Teacher:
    """Find faces in several views of a picture. It belongs to one thread.

    Raises FileNotFoundError where YuNet is not there, UserError where the file is something else.
    """

    def __init__(self, path: Path, scales: Sequence[float] = (1.0, 1.5), witness: Path | None = None) -> None:
        self._yunet = YuNet(path)
        self._witness = CenterFace(witness) if witness else None
        self._scales = scales

    def label(self, image: NDArray[np.uint8]) -> tuple[Detections, NDArray[np.bool_]]:
        """Return the faces of an (H, W, 3) or (H, W) picture and (N,) whether there is agreement about each.

        Scales take turns in being mirrored; with one scale both views are of that size. Without a witness a face is
        sure where two views give it and the better score is `SURE`; with one, where both see it with `AGREED`, or the
        witness alone in two views with `ALONE`.
        """
        faces, votes = merge(self._views(self._yunet, image))
        if self._witness is None:
            return faces, (votes >= 2) & (faces.scores >= SURE)
        return agree(faces, *merge(self._views(self._witness, image)))

    def look(self, image: NDArray[np.uint8], scale: float, mirrored: bool = False) -> Detections:
        """Run YuNet on one view of an (H, W) or (H, W, 3) picture and return its faces in pixels of the picture."""
        return look(self._yunet, image, scale, mirrored)

    def _views(self, find: Finder, image: NDArray[np.uint8]) -> list[Detections]:
        views = [(scale, number % 2 == 1) for number, scale in enumerate(self._scales)]
        if len(views) == 1:
            views.append((views[0][0], True))
        return [look(find, image, scale, mirrored) for scale, mirrored in views]


def look(find: Finder, image: NDArray[np.uint8], scale: float, mirrored: bool = False) -> Detections:
    """Show one view of an (H, W) or (H, W, 3) picture to a network; return its faces in pixels of the picture."""
    scale = min(scale, (LARGEST / (image.shape[0] * image.shape[1])) ** 0.5)
    width, height = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    view = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    view = cv2.flip(view, 1) if mirrored else view
    view = cv2.cvtColor(view, cv2.COLOR_GRAY2BGR) if view.ndim == 2 else view
    found = find(np.asarray(view, np.uint8))
    boxes, points = found.boxes, found.landmarks
    if points is None or not len(boxes):
        return _nobody()
    if mirrored:
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        points = (points * (-1, 1) + (width, 0))[:, MIRRORED]
    back = np.array([image.shape[1] / width, image.shape[0] / height], np.float32)
    return Detections(
        (boxes * np.tile(back, 2)).astype(np.float32), found.scores, np.asarray(points * back, np.float32)
    )


def agree(faces: Detections, others: Detections, votes: NDArray[np.int64]) -> tuple[Detections, NDArray[np.bool_]]:
    """Put the faces of YuNet and those of a witness together; return them with (N,) whether there is agreement.

    votes: the views in which the witness saw each of its own. A face that both see keeps YuNet's box and points.
    """
    fits = iou(faces.boxes, others.boxes) * (others.scores >= AGREED)
    both = (fits >= SAME).any(axis=1) & (faces.scores >= AGREED)
    alone = np.asarray(~(iou(others.boxes, faces.boxes) >= SAME).any(axis=1))
    extra, extra_votes = others[alone], votes[alone]
    assert faces.landmarks is not None
    assert extra.landmarks is not None
    whole = Detections(
        np.concatenate([faces.boxes, extra.boxes]),
        np.concatenate([faces.scores, extra.scores]),
        np.concatenate([faces.landmarks, extra.landmarks]),
    )
    return whole, np.concatenate([both, (extra_votes >= 2) & (extra.scores >= ALONE)])


def _nobody() -> Detections:
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


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
