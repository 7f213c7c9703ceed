"""Answers that are no numbers: noticed once, where a network's answers come in, so that nobody calculates with them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

LARGEST = 1e6  # pixels; what lies further away is no place in a picture


class Finite:
    """Tell which answers are numbers, and count the others.

    refused: by name of the network. Counted by the thread that asks the network, read by others.
    """

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()

    def __call__(self, network: str, arrays: Iterable[NDArray[Any]]) -> Any:
        """Return the (N,) mask of the answers of which all (N, ...) arrays hold neither NaN nor infinity."""
        known = [np.isfinite(array).all(axis=tuple(range(1, array.ndim))) for array in arrays]
        sound = np.logical_and.reduce(known)
        if refused := int((~sound).sum()):
            if not self.refused[network]:
                log.warning("%s: answered with what is no number; such answers count as none", network)
            self.refused[network] += refused
        return sound


def placed(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return boxes or points with NaN in place of what is no place in a picture."""
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(points) < LARGEST, points, np.float32(np.nan))
