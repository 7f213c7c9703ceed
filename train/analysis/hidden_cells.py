"""What a hidden part of the face changes, on a 4x4 grid (Nishime et al., section 4).

Cells are numbered 1-16 as in the paper, row by row: 10 and 11 hold the mouth, 6 and 7 the eyes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.explain.hidden_cells import CELLS, FILLS, hidden, kept
from train.data import FaceSet
from train.expression.classifier import Classifier
from train.markdown import table

MOUTH, MOUTH_AND_EYES = (10, 11), (6, 7, 10, 11)

PARTS = {"everything": CELLS, "mouth": MOUTH, "mouth and eyes": MOUTH_AND_EYES}


def changes(classifier: Classifier, rows: FaceSet) -> NDArray[np.float32]:
    """Return how the probability of the right class changes: (classes, 16 cells, 6 fills), NaN without rows.

    Only pictures that are answered rightly count, as in the paper.
    """
    before = classifier.classify(rows.images)
    right = before.argmax(axis=1) == rows.labels
    rows, before = rows[right], before[right]
    found = np.full((len(rows.classes), len(CELLS), len(FILLS)), np.nan, np.float32)
    for column, cell in enumerate(CELLS):
        for depth, fill in enumerate(FILLS):
            moved = classifier.classify(hidden(rows.images, [cell], fill)) - before
            for label in np.unique(rows.labels):
                found[label, column, depth] = moved[rows.labels == label, label].mean()
    return found


def write(classifier: Classifier, split: str | None, folder: Path, per_class: int = 40) -> dict[str, Any]:
    """Write the occlusion analysis of Nishime et al.: Figures 4 to 9, and recognition from mouth, or mouth and eyes.

    per_class: the most pictures of a class that the figures use, since each is answered 97 times. Returns what
    `grid.json` holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = classifier.rows(split or classifier.data.validation)
    few = np.concatenate([np.flatnonzero(rows.labels == i)[:per_class] for i in range(len(rows.classes))])
    found = changes(classifier, rows[few])
    moved = {label: found[i].tolist() for i, label in enumerate(rows.classes) if np.isfinite(found[i]).all()}
    recall = {name: _recall(classifier, rows, cells) for name, cells in PARTS.items()}
    values = {"cells": CELLS, "fills": FILLS, "recall": recall, "changes": moved}
    (folder / "grid.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "grid.md").write_text(_to_markdown(classifier.name, recall), encoding="utf-8")
    _draw_changes(moved, folder / "grid.png", classifier.name)
    return values


def _to_markdown(name: str, recall: Mapping[str, Mapping[str, float]]) -> str:
    emotions = recall["everything"]
    lines = [(label, *(f"{100 * own[label]:.2f}" for own in recall.values())) for label in emotions]
    head = "Recall in percent with only these parts visible; the paper's for happiness: 76.20, 59.77, 74.18."
    return f"# {name}: occlusion\n\n{head}\n\n{table(('emotion', *recall), lines)}\n\n![changes](grid.png)\n"


def _recall(classifier: Classifier, rows: FaceSet, cells: Sequence[int]) -> dict[str, float]:
    right = classifier.classify(kept(rows.images, cells)).argmax(axis=1) == rows.labels
    known = {label: rows.labels == i for i, label in enumerate(rows.classes)}
    return {label: float(right[own].mean()) for label, own in known.items() if own.any()}


def _draw_changes(changes: Mapping[str, Any], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(12, 2.6 * ((len(changes) + 1) // 2)), layout="constrained")
    canvas.suptitle(f"{title}: change of the right class's probability when one cell is filled")
    for position, (label, values) in enumerate(changes.items(), start=1):
        axes = canvas.add_subplot((len(changes) + 1) // 2, 2, position, title=label, xlabel="cell")
        for fill, line in zip(FILLS, np.array(values).T, strict=True):
            axes.plot(CELLS, line, label=f"{fill:.1f}")
        axes.set_xticks(CELLS)
        axes.legend(fontsize="x-small", title="fill", ncols=2)
    canvas.savefig(path, dpi=80)
