"""Measures of a detector: matching at IoU 0.5, average precision, recall by size and at a rate of false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import areas, iou, shared
from streamer.types import Detections

IOU = 0.5
TOUCHING = 0.3  # IoU from which on a box lies on a face, however badly it fits


@dataclass(frozen=True, eq=False)
class Match:
    """Hold how the answers to one picture fit its faces.

    scores: (D,) of the answers that count, best first. right: (D,) whether each hit a face that no better one hit.
    stray: (D,) whether it lies on no face at all; one that is neither fits a face badly, or as the second.
    sizes: (T,) longer side of each true face, pixels. reached: (T,) score of the answer that hit it, 0 where none did.
    """

    scores: NDArray[np.float32]
    right: NDArray[np.bool_]
    stray: NDArray[np.bool_]
    sizes: NDArray[np.float32]
    reached: NDArray[np.float32]


def match(found: Detections, truth: NDArray[np.float32], disputed: NDArray[np.float32]) -> Match:
    """Give each answer, best first, the free face it covers best; answers on (M, 4) disputed boxes do not count."""
    order = np.argsort(-found.scores, kind="stable")
    boxes, scores = found.boxes[order], found.scores[order]
    fits = iou(boxes, truth)
    reached = np.zeros(len(truth), np.float32)
    right = np.zeros(len(boxes), bool)
    for row, score in enumerate(scores):
        free = np.where(reached == 0, fits[row], 0)
        if len(truth) and free.max() >= IOU:
            reached[free.argmax()], right[row] = score, True
    ignored = ~right & on_disputed(boxes, disputed)
    stray = ~(fits >= TOUCHING).any(axis=1) & ~on_disputed(boxes, truth)
    sides = truth[:, 2:] - truth[:, :2]
    return Match(scores[~ignored], right[~ignored], stray[~ignored], sides.max(axis=1), reached)


def on_disputed(boxes: NDArray[np.float32], disputed: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which of (N, 4) boxes lie at least half on one of the (M, 4) disputed boxes, or cover half of it.

    Of a face that is cut, the part that is there is disputed; a detector draws the box of the whole face around it.
    """
    smaller = np.minimum(areas(boxes)[:, None], areas(disputed))
    return np.asarray((shared(boxes, disputed) >= IOU * smaller).any(axis=1))


def curve(matches: Sequence[Match]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """Return recall, precision and threshold after each answer of a set, best score first."""
    scores = np.concatenate([one.scores for one in matches])
    right = np.concatenate([one.right for one in matches])
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    faces = max(1, sum(len(one.sizes) for one in matches))
    return hits / faces, hits / np.arange(1, len(hits) + 1), scores[order]


def average_precision(matches: Sequence[Match]) -> float:
    """Return the area under precision over recall, precision made monotone (PASCAL VOC 2010)."""
    recall, precision, _ = curve(matches)
    if not len(recall):
        return 0.0
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * highest))


def recall_at_alarms(matches: Sequence[Match], alarms: float) -> tuple[float, float]:
    """Return recall and threshold where there are at most so many false alarms a picture."""
    recall, precision, scores = curve(matches)
    if not len(recall):
        return 0.0, 1.0
    wrong = np.round(np.arange(1, len(recall) + 1) * (1 - precision))
    allowed = np.flatnonzero(wrong <= alarms * len(matches))
    return (float(recall[allowed[-1]]), float(scores[allowed[-1]])) if len(allowed) else (0.0, 1.0)


def at_threshold(
    matches: Sequence[Match], threshold: float, sizes: tuple[float, float] = (0, np.inf)
) -> dict[str, float]:
    """Count at a threshold: faces of a range of sizes, those found, false alarms of any size, precision."""
    faces = np.concatenate([one.sizes for one in matches])
    reached = np.concatenate([one.reached for one in matches])
    wanted = (faces >= sizes[0]) & (faces < sizes[1])
    given = np.concatenate([one.scores for one in matches]) >= threshold
    wrong = int((given & ~np.concatenate([one.right for one in matches])).sum())
    hit = int((wanted & (reached >= threshold) & (reached > 0)).sum())
    return {
        "faces": int(wanted.sum()),
        "found": hit,
        "recall": hit / max(1, int(wanted.sum())),
        "alarms": wrong,
        "precision": 1 - wrong / max(1, int(given.sum())),
    }
