"""Pictures side by side, and which faces to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamer.explain.maps import colour


def draw_grid(rows: Mapping[str, Sequence[NDArray[np.uint8]]], path: Path, heads: Sequence[str] = ()) -> None:
    """Draw BGR or grey pictures in named rows under optional heads, as one PNG."""
    from matplotlib.figure import Figure

    columns = max(len(pictures) for pictures in rows.values())
    figure = Figure(figsize=(1.3 * columns + 1.2, 1.3 * len(rows) + 0.4), layout="constrained")
    cells = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, pictures) in enumerate(rows.items()):
        for column in range(columns):
            axes = cells[line, column]
            axes.set(xticks=[], yticks=[], frame_on=False)
            if column < len(pictures):
                axes.imshow(colour(pictures[column])[..., ::-1])
            if not line and column < len(heads):
                axes.set_title(heads[column], fontsize="small")
        cells[line, 0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=100)


def surest(probabilities: NDArray[np.float32], truth: NDArray[np.int64], label: int, count: int) -> NDArray[np.int64]:
    """Return the rows of a class that are answered rightly, the surest first, at most `count`."""
    right = np.flatnonzero((truth == label) & (probabilities.argmax(axis=1) == label))
    return np.asarray(right[np.argsort(-probabilities[right, label], kind="stable")][:count], np.int64)
