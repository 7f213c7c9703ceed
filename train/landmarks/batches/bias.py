"""The bias of published points: what they constantly are off, point by point, in the frame of the face.

The frame is that of the outer eye corners: x along their line, y down the face, their distance is 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError

EYES = (36, 45)  # the outer corners, whose distance is the unit of errors


def in_frame(ways: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (N, 68, 2) ways in pixels into the frames of their faces: eyes level and one apart."""
    return np.asarray(np.einsum("nij,nkj->nki", _turns(points), ways) / _apart(points), np.float32)


def from_frame(ways: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (68, 2) ways in a face's frame into (N, 68, 2) pixels of N faces."""
    return np.asarray(np.einsum("nji,kj->nki", _turns(points), ways) * _apart(points), np.float32)


def _turns(points: NDArray[np.float32]) -> NDArray[np.float32]:
    across = (points[:, EYES[1]] - points[:, EYES[0]]) / _apart(points)[:, 0]
    x, y = across[:, 0], across[:, 1]
    return np.stack([np.stack([x, y], axis=1), np.stack([-y, x], axis=1)], axis=1)


def _apart(points: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(points[:, EYES[1]] - points[:, EYES[0]], axis=1)
    return np.asarray(np.maximum(lengths, 1e-6)[:, None, None], np.float32)


def save_bias(path: Path, bias: NDArray[np.float32]) -> None:
    """Write a (68, 2) bias as CSV: right, down, in distances of the outer eye corners."""
    np.savetxt(path, bias, "%.4f", delimiter=",", header="right,down", comments="")


def load_bias(path: Path) -> NDArray[np.float32]:
    """Read what `save_bias` wrote. Raises UserError where the file is something else."""
    found = np.loadtxt(path, np.float32, delimiter=",", skiprows=1, ndmin=2)
    if found.shape != (68, 2):
        raise UserError(f"{path}: expected 68 rows of right,down, found {found.shape[0]} of {found.shape[1]}")
    return found
