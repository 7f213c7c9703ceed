"""What faces typical of an answer look like, without training anything: the nearest ones in the space of the features.

Pictures of single people are never written: a typical face is the mean of many.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Outputs
from streamer.drawing.heat import levels
from train.analysis.maps import LEAST, draw_grid
from train.data import FaceSet
from train.data.leaks import distinct
from train.markdown import table

NEAREST = 64  # faces that a picture is the mean of


@dataclass(frozen=True, eq=False)
class Prototype:
    """Hold what is typical of an answer.

    centre: (K,) mean direction of the features of all faces answered so. picture: (H, W, C) uint8, mean of the faces
    nearest to it, spread over all grey levels. faces: how many these are. labelled: the share of them whose label is
    that answer.
    """

    centre: NDArray[np.float32]
    picture: NDArray[np.uint8]
    faces: int
    labelled: float

    def encoded(self) -> str:
        """Return the picture as PNG in base64."""
        return base64.b64encode(cv2.imencode(".png", self.picture)[1].tobytes()).decode()


def write(
    outputs: Outputs, rows: FaceSet, others: Outputs, labels: Sequence[str], folder: Path
) -> dict[str, Prototype]:
    """Write `prototypes.png`, `.md` and `.json` for what a network answers to rows; return the prototypes by label.

    others: outputs of other rows, on which it is told how often the nearest prototype gives the network's answer.
    """
    found = typical(outputs, rows, labels)
    if not found:
        return {}
    same = agreement(found, others, labels)
    answers = {name: {"faces": one.faces, "labelled": one.labelled} for name, one in found.items()}
    values = {"judged": len(others["features"]), "same_answer": same, "answers": answers}
    (folder / "prototypes.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "prototypes.md").write_text(to_markdown(found, same, len(others["features"])), encoding="utf-8")
    draw_grid({"": [one.picture for one in found.values()]}, folder / "prototypes.png", list(found))
    return found


def typical(outputs: Outputs, rows: FaceSet, labels: Sequence[str]) -> dict[str, Prototype]:
    """Find the faces nearest, by the angle between features, to the mean of those that are answered alike.

    A photo that comes several times counts once.
    """
    features, answers = directions(outputs["features"]), outputs["probabilities"].argmax(axis=1)
    found = {}
    for number, label in enumerate(labels):
        own = np.flatnonzero(answers == number)
        if not len(own):
            continue
        centre = features[own].mean(axis=0)
        near = own[np.argsort(-(features[own] @ centre), kind="stable")[: 4 * NEAREST]]
        nearest = near[distinct(rows[near])][:NEAREST]
        if len(nearest) >= LEAST:
            picture = levels(rows.images[nearest].mean(axis=0, dtype=np.float32))
            found[label] = Prototype(centre, picture, len(nearest), float((rows.labels[nearest] == number).mean()))
    return found


def agreement(found: Mapping[str, Prototype], outputs: Outputs, labels: Sequence[str]) -> float:
    """Return the share of faces whose nearest prototype is that of the network's answer."""
    centres = directions(np.stack([one.centre for one in found.values()]))
    nearest = (directions(outputs["features"]) @ centres.T).argmax(axis=1)
    numbers = np.array([labels.index(name) for name in found])
    return float((numbers[nearest] == outputs["probabilities"].argmax(axis=1)).mean())


def directions(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale (N, K) features to length 1."""
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9), np.float32)


def to_markdown(found: Mapping[str, Prototype], same: float, judged: int) -> str:
    """Write what the pictures are means of."""
    lines = [(name, str(one.faces), f"{100 * one.labelled:.0f}") for name, one in found.items()]
    head = (
        "Each picture is the mean of the training faces whose features lie nearest to the mean of all faces that are "
        f"answered so. Nothing is trained for it, and yet the nearest of these means gives the network's answer for "
        f"{100 * same:.1f} % of {judged:,} other faces."
    )
    written = table(("answer", "faces", "of them labelled so, %"), lines)
    return f"# Typical faces\n\n{head}\n\n{written}\n\n![typical faces](prototypes.png)\n"
