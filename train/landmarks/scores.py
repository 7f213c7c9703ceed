"""Measures of landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from train.landmarks.batches.bias import EYES


def normalised_error(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean distance of (N, 68, 2) landmarks in units of the outer eye corners' distance: (N,)."""
    eyes = np.linalg.norm(wanted[:, EYES[0]] - wanted[:, EYES[1]], axis=1)
    return np.asarray(np.linalg.norm(found - wanted, axis=2).mean(axis=1) / eyes)


def recall_at(scores: NDArray[np.float32], wanted: NDArray[np.float32], passing: float) -> float:
    """Return the share of what is wanted (1 in the (N,) `wanted`) above the score that few others (0) reach."""
    border = np.quantile(scores[wanted == 0], 1 - passing)
    return float((scores[wanted == 1] > border).mean())
