"""A drawn face: its 68 landmarks, for tests that need no picture of anybody."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# A face of 68 points in shares of its box.
JAW = np.stack([0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 17)), 0.3 + 0.7 * np.sin(np.linspace(0, np.pi, 17))], axis=1)


def points_of_face(side: float, left: float = 0.0, top: float = 0.0) -> NDArray[np.float32]:
    """Return the landmarks of a face that looks ahead, in a box of a side."""

    def row(x0: float, x1: float, y: float, count: int) -> NDArray[np.float64]:
        return np.stack([np.linspace(x0, x1, count), np.full(count, y)], axis=1)

    def ring(x: float, y: float, wide: float, high: float, count: int) -> NDArray[np.float64]:
        turns = np.pi + np.linspace(0, 2 * np.pi, count, endpoint=False)
        return np.stack([x + wide * np.cos(turns), y + high * np.sin(turns)], axis=1)

    nose = np.stack([np.full(4, 0.5), np.linspace(0.32, 0.52, 4)], axis=1)
    parts = (
        *(JAW, row(0.15, 0.4, 0.2, 5), row(0.6, 0.85, 0.2, 5), nose, row(0.4, 0.6, 0.58, 5)),
        *(ring(0.3, 0.32, 0.1, 0.04, 6), ring(0.7, 0.32, 0.1, 0.04, 6)),
        *(ring(0.5, 0.76, 0.2, 0.08, 12), ring(0.5, 0.76, 0.12, 0.03, 8)),
    )
    return (np.concatenate(parts) * side + (left, top)).astype(np.float32)
