"""Write what explains a network's answers: maps of faces and emotions, typical faces, rules on its features."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from engines import Outputs
from streamer.drawing.heat import heated
from train.analysis import prototypes, rules, units
from train.analysis.maps import LEAST, draw_grid, maps_of, surest
from train.analysis.prototypes import Prototype
from train.analysis.rules import DEPTH, Judged
from train.data import FaceSet
from train.data.leaks import distinct
from train.expression.classifier import Classifier
from train.markdown import table

log = logging.getLogger(__name__)


class Explained(NamedTuple):
    """Hold what of an explanation may be stored in the artefact: rules, and pictures of typical faces by label."""

    rules: Sequence[Judged]
    prototypes: Mapping[str, Prototype]


def write(
    classifier: Classifier,
    network: nn.Module | None,
    rows: FaceSet,
    folder: Path,
    per_class: int = 4,
    fitting: FaceSet | None = None,
) -> Explained:
    """Write pictures, rules and features for labelled rows, cut as the classifier sees them.

    fitting: other rows, which rules are fitted to and typical faces are taken of; without them, a half of `rows`.
    network: what gradients are taken of; without it saliency is left out. Maps that the network does not have are left
    out too. Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    outputs = classifier.infer(rows.images)
    maps = maps_of(outputs, network, rows.images, rows.labels)
    draw_examples(outputs["probabilities"], maps, rows, folder, per_class)
    draw_means(maps, rows, folder)
    if classifier.input.region == "face":  # the regions of Action Units lie on a whole face
        units.write(outputs["probabilities"], maps, rows, folder)
    if "features" not in outputs:
        return Explained((), {})
    if fitting is None:
        half = np.random.default_rng(0).random(len(rows)) < 0.5
        fitting, rows = rows[half], rows[~half]
        others, outputs = _part(outputs, half), _part(outputs, ~half)
    else:
        others = classifier.infer(fitting.images)
    found = prototypes.write(others, fitting, outputs, classifier.labels, folder)
    return Explained(write_rules(outputs, rows, classifier.labels, folder, others), found)


def draw_examples(
    probabilities: NDArray[np.float32], maps: Outputs, rows: FaceSet, folder: Path, per_class: int
) -> None:
    """Draw the surest faces of every emotion, and each with the maps that there are, as `examples-EMOTION.png`."""
    for number, label in enumerate(rows.classes):
        chosen = surest(probabilities, rows.labels, number, per_class)
        if not len(chosen):
            continue
        lines: dict[str, list[NDArray[np.uint8]]] = {"face": list(rows.images[chosen])}
        for name, heat in maps.items():
            lines[name] = [heated(rows.images[row], heat[row]) for row in chosen]
        draw_grid(lines, folder / f"examples-{label}.png")


def draw_means(maps: Outputs, rows: FaceSet, folder: Path) -> None:
    """Draw the mean face of every emotion under its mean map (Sun et al., Fig. 5 and 6), as `mean-MAP.png`.

    Emotions with few photos are left out: their mean would show persons.
    """
    for name, heat in maps.items():
        lines: dict[str, list[NDArray[np.uint8]]] = {}
        for number, label in enumerate(rows.classes):
            own = np.flatnonzero(rows.labels == number)
            own = own[distinct(rows[own])] if len(own) else own
            if len(own) >= LEAST:
                face, mean = rows.images[own].mean(axis=0).astype(np.uint8), heat[own].mean(axis=0)
                lines[label] = [face, heated(face, mean), _large(mean, face.shape)]
        if lines:
            draw_grid(lines, folder / f"mean-{name}.png", ("mean face", "both", "mean map"))


def write_rules(outputs: Outputs, rows: FaceSet, labels: Sequence[str], folder: Path, fitting: Outputs) -> list[Judged]:
    """Write `rules.md`, `rules.json` and `features.csv`; return the rules.

    outputs: of `rows`, which the rules are judged on. fitting: outputs of other rows, to fit to.
    """
    names = [str(name) for name in rows.names]
    rules.write_features(folder / "features.csv", names, outputs["features"], outputs["probabilities"], labels)
    features = np.concatenate([part["features"] for part in (outputs, fitting)])
    answers = np.concatenate([part["probabilities"].argmax(axis=1) for part in (outputs, fitting)])
    found = rules.extract(features, answers, labels, np.arange(len(answers)) >= len(rows))
    text = rules_to_markdown(found, len(answers) - len(rows), len(rows))
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


def _part(outputs: Outputs, chosen: NDArray[np.bool_]) -> Outputs:
    return {name: values[chosen] for name, values in outputs.items()}


def _large(heat: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    level = (heat - heat.min()) / max(float(np.ptp(heat)), 1e-9)
    large = cv2.resize(level.astype(np.float32), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST)
    return np.asarray((255 * large).astype(np.uint8)[..., None], np.uint8)
