"""Features of many faces as points in the plane (t-SNE; Lian et al., Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError


def embed(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, 2) places for (N, K) features, the same for the same features. Raises UserError for under 4 rows."""
    from sklearn.manifold import TSNE

    if len(features) < 4:
        raise UserError(f"t-SNE: expected at least 4 rows, found {len(features)}")
    perplexity = min(30.0, (len(features) - 1) / 3)
    found = TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(features)
    return np.asarray(found, np.float32)


def draw(places: NDArray[np.float32], truth: NDArray[np.int64], labels: Sequence[str], path: Path, title: str) -> None:
    """Draw the points, one colour a class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 5), layout="constrained")
    axes = figure.add_subplot(title=title, xticks=[], yticks=[])
    for number, label in enumerate(labels):
        points = places[truth == number]
        if len(points):
            axes.scatter(points[:, 0], points[:, 1], s=6, color=f"C{number}", label=f"{label} ({len(points)})")
    axes.legend(fontsize="small", markerscale=2, bbox_to_anchor=(1, 1), loc="upper left")
    figure.savefig(path, dpi=100)
