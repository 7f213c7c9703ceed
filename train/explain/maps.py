"""Maps over a picture: heat laid over the face, and grids of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def heated(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay a (h, w) map over a (H, W, C) picture: 0.4 heat in JET + 0.5 picture (Lian et al., Eq. 3); (H, W, 3) BGR.

    The map is scaled to its own range and up-sampled to the picture.
    """
    height, width = picture.shape[:2]
    spread = float(np.ptp(heat))
    level = (heat - heat.min()) / spread if spread > 0 else np.zeros_like(heat)
    large = cv2.resize(level.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    colours = cv2.applyColorMap(np.clip(255 * large, 0, 255).astype(np.uint8), cv2.COLORMAP_JET)
    return np.clip(0.4 * colours + 0.5 * colour(picture), 0, 255).astype(np.uint8)


def colour(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a (H, W, 1) or (H, W, 3) picture as (H, W, 3) BGR."""
    grey = picture.shape[2] == 1
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if grey else picture, np.uint8)


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
