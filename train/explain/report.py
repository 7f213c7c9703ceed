"""Write what explains a network's answers: maps of the surest faces, mean maps of emotions, rules on its features."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from engines import Outputs
from streamer.explain.maps import heated
from train.classifier import Classifier
from train.data import FaceSet
from train.explain import rules
from train.explain.maps import draw_grid, surest
from train.explain.saliency import saliency
from train.report import table

log = logging.getLogger(__name__)


def write(classifier: Classifier, network: nn.Module | None, rows: FaceSet, folder: Path, per_class: int = 4) -> None:
    """Write pictures, rules and features for labelled rows, cut as the classifier sees them.

    network: what gradients are taken of; without it (an engine file) saliency is left out. Maps that the network does
    not have are left out too. Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outputs = classifier.infer(rows.images)
    draw_examples(outputs, network, rows, folder, per_class)
    draw_means(outputs, rows, folder)
    if "features" in outputs:
        write_rules(outputs, rows, classifier.labels, folder)


def draw_examples(outputs: Outputs, network: nn.Module | None, rows: FaceSet, folder: Path, per_class: int) -> None:
    """Draw the surest faces of every emotion, and each with the maps that there are, as `examples-EMOTION.png`."""
    for number, label in enumerate(rows.classes):
        chosen = surest(outputs["probabilities"], rows.labels, number, per_class)
        if not len(chosen):
            continue
        pictures = rows.images[chosen]
        lines: dict[str, Sequence[NDArray[np.uint8]]] = {"face": list(pictures)}
        for name, maps in _maps(outputs, chosen, number).items():
            lines[name] = [heated(picture, heat) for picture, heat in zip(pictures, maps, strict=True)]
        if network is not None:
            slopes = saliency(network, pictures, np.full(len(chosen), number))
            lines["saliency"] = [heated(picture, heat) for picture, heat in zip(pictures, slopes, strict=True)]
        draw_grid(lines, folder / f"examples-{label}.png")


def draw_means(outputs: Outputs, rows: FaceSet, folder: Path) -> None:
    """Draw the mean face of every emotion under its mean map (Sun et al., Fig. 5 and 6), as `mean-MAP.png`."""
    for name in ("cam", "attention"):
        lines: dict[str, list[NDArray[np.uint8]]] = {}
        for number, label in enumerate(rows.classes):
            own = np.flatnonzero(rows.labels == number)
            if name in outputs and len(own):
                mean = rows.images[own].mean(axis=0).astype(np.uint8)
                heat = _maps(outputs, own, number)[name].mean(axis=0)
                lines[label] = [mean, heated(mean, heat), _large(heat, mean.shape)]
        if lines:
            draw_grid(lines, folder / f"mean-{name}.png", ("mean face", "both", "mean map"))


def write_rules(outputs: Outputs, rows: FaceSet, labels: Sequence[str], folder: Path) -> None:
    """Write `rules.md`, `rules.json` and `features.csv`."""
    found = rules.extract(outputs["features"], outputs["probabilities"].argmax(axis=1), labels)
    lines = [
        (rule.label, rule.text(), f"{100 * rule.fidelity:.2f}", f"{rule.recall:.3f}", f"{rule.precision:.3f}")
        for rule in found
    ]
    mean = f"{100 * np.mean([rule.fidelity for rule in found]):.2f} %" if found else "none: no answer was given twice"
    text = f"Mean fidelity to the network: {mean} (Liu, Table 1: 96.64 %), on rows that the trees were not fitted to."
    head = ("answer", "rule", "fidelity %", "recall", "precision")
    (folder / "rules.md").write_text(f"# Rules\n\n{text}\n\n{table(head, lines)}\n", encoding="utf-8")
    values = [asdict(rule) for rule in found]
    (folder / "rules.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    names = [str(name) for name in rows.names]
    rules.write_features(folder / "features.csv", names, outputs["features"], outputs["probabilities"], labels)
    log.info("rules: mean fidelity %s", mean)


def _maps(outputs: Outputs, chosen: NDArray[np.int64], label: int) -> Outputs:
    maps = {"cam": outputs["cam"][chosen, label]} if "cam" in outputs else {}
    return maps | ({"attention": outputs["attention"][chosen]} if "attention" in outputs else {})


def _large(heat: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    level = (heat - heat.min()) / max(float(np.ptp(heat)), 1e-9)
    large = cv2.resize(level.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray((255 * large).astype(np.uint8)[..., None], np.uint8)
