"""Near-duplicates across splits: the same photo cut, scaled or stamped a little differently.

A perceptual hash holds the signs of the 16 x 16 lowest cosine waves of the grey picture at 32 x 32 (pHash, 256 bits).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data import FaceSet

SIDE, WAVES = 32, 16
BITS = WAVES * WAVES
# 116 pairs of FER2013's train and private rows within this radius were looked at: all showed the same photo. From about
# 60 bits on, other people come in.
RADIUS = 48
ROWS = 2048  # compared at once


@dataclass(frozen=True)
class Leaks:
    """Hold pairs of rows of two sets that show the same photo.

    first, second: (K,) row numbers. distance: (K,) bits that differ, 0 for twins.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    def summary(self) -> dict[str, int]:
        """Count pairs, and the rows of each set that have one."""
        return {"pairs": len(self), "first_rows": len(set(self.first)), "second_rows": len(set(self.second))}


def hashes(rows: FaceSet) -> NDArray[np.bool_]:
    """Return (N, 256) bits of each picture."""
    found = np.empty((len(rows), BITS), bool)
    for row, picture in enumerate(rows.images):
        grey = picture.mean(axis=2).astype(np.float32) if picture.ndim == 3 else picture.astype(np.float32)
        waves = cv2.dct(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA))[:WAVES, :WAVES].ravel()
        found[row] = waves > np.median(waves)
    return found


def leaks(first: FaceSet, second: FaceSet, radius: int = RADIUS) -> Leaks:
    """Find the pairs of rows whose hashes differ in at most `radius` of 256 bits."""
    return close(hashes(first), hashes(second), radius)


def close(first: NDArray[np.bool_], second: NDArray[np.bool_], radius: int = RADIUS) -> Leaks:
    """Find the pairs of (N, 256) and (M, 256) hashes that differ in at most `radius` bits."""
    # With bits as -1 and 1 the distance is (256 - a b') / 2: one product of matrices, exact in float32.
    a, b = (np.where(bits, 1, -1).astype(np.float32) for bits in (first, second))
    parts = []
    for start in range(0, len(a), ROWS):
        products = a[start : start + ROWS] @ b.T
        rows, columns = np.nonzero(products >= BITS - 2 * radius)
        distance = (BITS - products[rows, columns]) / 2
        parts.append(np.stack([rows + start, columns, distance.astype(np.int64)]))
    found = np.concatenate(parts, axis=1) if parts else np.zeros((3, 0), np.int64)
    return Leaks(*found)


def distinct(rows: FaceSet) -> NDArray[np.int64]:
    """Return the numbers of the rows that show no photo which an earlier one of these shows."""
    found = leaks(rows, rows)
    repeated = found.second[found.first < found.second]
    return np.setdiff1d(np.arange(len(rows)), repeated)
