"""What a hidden part of the face changes, on a 4x4 grid (Nishime et al., section 4).

Cells are numbered 1-16 as in the paper, row by row: 10 and 11 hold the mouth, 6 and 7 the eyes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

GRID = 4
CELLS = tuple(range(1, GRID * GRID + 1))
FILLS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def hidden(images: NDArray[np.uint8], cells: Sequence[int], fill: float) -> NDArray[np.uint8]:
    """Return (N, H, W, C) pictures with cells filled by a grey level, 0-1 of the picture before any preparation."""
    changed = images.copy()
    for cell in cells:
        rows, columns = _span(cell, images.shape[1], images.shape[2])
        changed[:, rows, columns] = round(255 * fill)
    return changed


def kept(images: NDArray[np.uint8], cells: Sequence[int], fill: float = 0.0) -> NDArray[np.uint8]:
    """Return the pictures with everything but some cells filled."""
    return hidden(images, [cell for cell in CELLS if cell not in cells], fill)


def grid_of(
    classify: Callable[[NDArray[np.uint8]], NDArray[np.float32]], picture: NDArray[np.uint8], label: int
) -> NDArray[np.float32]:
    """Return how the probability of a label changes when a cell of one (H, W, C) picture is filled: (4, 4, 6 fills).

    classify: gives (N, classes) probabilities of (N, H, W, C) pictures.
    """
    one = picture[None]
    filled = [hidden(one, [cell], fill) for cell in CELLS for fill in FILLS]
    answers = classify(np.concatenate([one, *filled]))[:, label]
    return np.asarray((answers[1:] - answers[0]).reshape(GRID, GRID, len(FILLS)), np.float32)


def _span(cell: int, height: int, width: int) -> tuple[slice, slice]:
    row, column = divmod(cell - 1, GRID)
    return (
        slice(row * height // GRID, (row + 1) * height // GRID),
        slice(column * width // GRID, (column + 1) * width // GRID),
    )
