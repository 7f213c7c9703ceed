"""Write what explains a network's answers: maps of the surest faces, mean maps of emotions, rules on its features."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
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
from train.explain import rules, units
from train.explain.maps import draw_grid, surest
from train.explain.rules import DEPTH, Judged
from train.explain.saliency import saliency
from train.report import table

log = logging.getLogger(__name__)


def write(
    classifier: Classifier,
    network: nn.Module | None,
    rows: FaceSet,
    folder: Path,
    per_class: int = 4,
    fitting: FaceSet | None = None,
) -> list[Judged]:
    """Write pictures, rules and features for labelled rows, cut as the classifier sees them; return the rules.

    fitting: other rows, which the rules are fitted to; without them a half is fitted to.
    network: what gradients are taken of; without it (an engine file) saliency is left out. Maps that the network does
    not have are left out too. Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outputs = classifier.infer(rows.images)
    draw_examples(outputs, network, rows, folder, per_class)
    draw_means(outputs, rows, folder)
    units.write(outputs, rows, folder)
    if "features" not in outputs:
        return []
    others = None if fitting is None else classifier.infer(fitting.images)
    return write_rules(outputs, rows, classifier.labels, folder, others)


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


def write_rules(
    outputs: Outputs, rows: FaceSet, labels: Sequence[str], folder: Path, fitting: Outputs | None = None
) -> list[Judged]:
    """Write `rules.md`, `rules.json` and `features.csv`; return the rules.

    fitting: outputs of other rows to fit to, so that all of `rows` are held out; without them a half is fitted to.
    """
    names = [str(name) for name in rows.names]
    rules.write_features(folder / "features.csv", names, outputs["features"], outputs["probabilities"], labels)
    parts = [outputs] if fitting is None else [outputs, fitting]
    features = np.concatenate([part["features"] for part in parts])
    answers = np.concatenate([part["probabilities"].argmax(axis=1) for part in parts])
    fitted = None if fitting is None else np.arange(len(answers)) >= len(rows)
    found = rules.extract(features, answers, labels, fitted)
    count = len(answers) // 2 if fitted is None else int(fitted.sum())
    text = rules_to_markdown(found, count, len(answers) - count)
    (folder / "rules.md").write_text(text, encoding="utf-8")
    values = [asdict(one) | {"rule": one.rule.model_dump(mode="json"), "text": one.rule.text()} for one in found]
    (folder / "rules.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return found


def rules_to_markdown(found: Sequence[Judged], fitted: int, judged: int) -> str:
    """Write the rules as a table, with what stands beside their fidelity."""
    if not found:
        return "# Rules\n\nNone: no answer was given twice.\n"

    def mean(name: str) -> str:
        return f"{100 * float(np.mean([getattr(one.rule, name) for one in found])):.2f}"

    head = ("answer", "fidelity %", "never it %", "balanced %", "recall", "precision", "rule")
    lines = [
        (
            one.rule.label,
            *(f"{100 * share:.2f}" for share in (one.rule.fidelity, one.rule.baseline, one.rule.balanced)),
            f"{one.recall:.3f}",
            f"{one.precision:.3f}",
            one.rule.text(),
        )
        for one in found
    ]
    lines.append(("mean", mean("fidelity"), mean("baseline"), mean("balanced"), "", "", ""))
    patterns = [(one.rule.label, _named(one.pattern), _named(one.important)) for one in found]
    head_line = (
        f"Mean fidelity to the network: {mean('fidelity')} % (Liu, Table 1: 96.64 %; never giving the answer "
        f"{mean('baseline')} %; both answers counted alike {mean('balanced')} %). One tree an answer, at most {DEPTH} "
        f"conditions deep, fitted to {fitted:,} faces and judged on {judged:,} others."
    )
    below = (
        "Pattern: features furthest above their mean on faces answered so, in standard deviations. Important: share of "
        "what the tree decides."
    )
    parts = ["# Rules", head_line, table(head, lines), below, table(("answer", "pattern", "important"), patterns)]
    return "\n\n".join(parts) + "\n"


def _named(values: Mapping[int, float]) -> str:
    return ", ".join(f"{feature} ({value})" for feature, value in values.items())


def _maps(outputs: Outputs, chosen: NDArray[np.int64], label: int) -> Outputs:
    maps = {"cam": outputs["cam"][chosen, label]} if "cam" in outputs else {}
    return maps | ({"attention": outputs["attention"][chosen]} if "attention" in outputs else {})


def _large(heat: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    level = (heat - heat.min()) / max(float(np.ptp(heat)), 1e-9)
    large = cv2.resize(level.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray((255 * large).astype(np.uint8)[..., None], np.uint8)
