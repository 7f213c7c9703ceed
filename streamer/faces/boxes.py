"""Geometry of boxes: (N, 4) float32 xyxy in pixels, vectorised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def centred(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn xyxy into centre x, centre y, width, height."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)


def enlarged(boxes: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Scale boxes about their centres."""
    grown = (boxes[:, 2:] - boxes[:, :2]) * ((factor - 1) / 2)
    return np.concatenate([boxes[:, :2] - grown, boxes[:, 2:] + grown], axis=1).astype(np.float32)


def areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N,) areas; an empty box counts as a thousandth of a pixel wide, so that areas can be divided by."""
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 1e-3, None).prod(axis=1), np.float32)


def shared(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (T, N) areas that T boxes share with N others."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2), np.float32)


def inside(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (T, N) shares, 0-1, of T boxes that lie inside N others."""
    return np.asarray(shared(a, b) / areas(a)[:, None], np.float32)


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (T, N) intersection over union of T boxes with N others, 0-1."""
    both = shared(a, b)
    return np.asarray(both / (areas(a)[:, None] + areas(b)[None] - both), np.float32)
