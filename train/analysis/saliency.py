"""Which pixels move a class score, over epochs and networks (Simonyan et al. 2014; Rao & Li, Fig. 5 to 8)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from engines.errors import UserError
from streamer.drawing.heat import JET, levels
from train.analysis.maps import draw_grid, saliency
from train.data import FaceSet
from train.expression.served import Served, answer
from train.markdown import table


class Source(NamedTuple):
    """Hold a network with the rows that it is asked about, cut as it sees them."""

    name: str
    network: nn.Module
    rows: FaceSet


def of_the_same_faces(sources: Sequence[Source], most: int) -> list[Source]:
    """Keep the rows that all networks know by name, at most so many, in one order. Raises UserError for none."""
    common = sorted(set.intersection(*(set(one.rows.names.tolist()) for one in sources)))
    if not common:
        raise UserError("expected networks of one data set, found no face that all of them know")
    chosen = np.array(common)[np.sort(np.random.default_rng(0).permutation(len(common))[:most])]
    found = []
    for one in sources:
        order = np.argsort(one.rows.names)
        found.append(one._replace(rows=one.rows[order[np.searchsorted(one.rows.names, chosen, sorter=order)]]))
    return found


def compare(sources: Sequence[Source], folder: Path) -> dict[str, Any]:
    """Write mean saliency maps of several networks, or of one after several epochs, as `saliency.md`, `.json`, `.png`.

    sources: of the same faces in the same order. Per network: accuracy on them, how concentrated its maps are (the
    smallest share of pixels that holds half of them) and how much each face's map is like that of the last network
    (mean correlation). Only means over faces are drawn. Returns the JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    maps = [saliency(one.network, one.rows.images, one.rows.labels) for one in sources]
    values = {
        one.name: {
            "accuracy": _accuracy(one),
            "half": _concentration(own),
            "like_last": _likeness(own, maps[-1]),
            "faces": len(one.rows),
        }
        for one, own in zip(sources, maps, strict=True)
    }
    classes = max((one.rows.classes for one in sources), key=len)
    lines = {one.name: [_mean(one, own, label) for label in classes] for one, own in zip(sources, maps, strict=True)}
    draw_grid(lines, folder / "saliency.png", classes)
    (folder / "saliency.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "saliency.md").write_text(to_markdown(values), encoding="utf-8")
    return values


def to_markdown(values: Mapping[str, Mapping[str, float]]) -> str:
    """Write the figures as a table."""
    faces = next(iter(values.values()))["faces"]
    head = (
        f"{faces:,} faces, the same for all. Half of a face's saliency, |d score of its label / d pixel|, lies on this "
        "share of the pixels; likeness is the mean correlation with the last network's map of the same face."
    )
    text = [
        (name, *(f"{100 * one[key]:.1f}" for key in ("accuracy", "half")), f"{one['like_last']:.3f}")
        for name, one in values.items()
    ]
    written = table(("network", "accuracy %", "half on %", "like the last"), text)
    return f"# Saliency\n\n{head}\n\n{written}\n\nMean maps of each emotion:\n\n![mean maps](saliency.png)\n"


def _accuracy(one: Source) -> float:
    answers = answer(Served([one.network]), one.rows.images)["probabilities"].argmax(axis=1)
    return float((answers == one.rows.labels).mean())


def _mean(one: Source, maps: NDArray[np.float32], label: str) -> NDArray[np.uint8]:
    """Draw the mean map of an emotion, black where no face has it."""
    own = one.rows.labels == (one.rows.classes.index(label) if label in one.rows.classes else -1)
    if not own.any():
        return np.zeros((*maps.shape[1:], 3), np.uint8)
    return cv2.applyColorMap(levels(maps[own].mean(axis=0)), JET).astype(np.uint8)


def _concentration(maps: NDArray[np.float32]) -> float:
    falling = -np.sort(-maps.reshape(len(maps), -1), axis=1)
    shares = falling.cumsum(axis=1) / np.maximum(falling.sum(axis=1, keepdims=True), 1e-12)
    return float((shares < 0.5).mean())


def _likeness(maps: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Return the mean correlation of maps with others of the same faces, brought to the same size."""
    size = others.shape[2], others.shape[1]
    fitted = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in maps])
    pairs = zip(fitted.reshape(len(maps), -1), others.reshape(len(maps), -1), strict=True)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs if a.std() and b.std()]))
