"""Which prior a network of several sets should answer for: what each choice gives on every set's validation split.

Its answers are for a prior that its spec states, so those for another one follow without training. An even prior finds
rare expressions oftener and calls common ones rare; the macro recall says what that is worth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.expression.batches.rows import judged_rows
from train.expression.classifier import Classifier
from train.expression.scores import calibration_error, limited, macro_recall
from train.markdown import table

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)  # of the stated prior: 0 is an even one, 1 the stated one


def write(classifier: Classifier, prior: Mapping[str, float], folder: Path) -> list[dict[str, Any]]:
    """Write `prior.md` and `.json`; return what the JSON holds. prior: that the network answers for now."""
    found = measure(classifier, prior)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prior.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    names = list(found[0]["sets"])
    cells = [
        (
            f"{one['power']:g}",
            *(f"{100 * one['sets'][name]['accuracy']:.2f}, {one['sets'][name]['macro_recall']:.3f}, "
              f"{one['sets'][name]['calibration_error']:.3f}" for name in names),
            f"{100 * one['accuracy']:.2f}, {one['macro_recall']:.3f}",
        )
        for one in found
    ]  # fmt: skip
    text = "\n\n".join(
        [
            f"# {classifier.name}: prior",
            "Accuracy in percent, macro recall and calibration error on the validation split of every set, where the "
            "network answers for a power of its prior: 1 is the one that it states, 0 an even one.",
            table(("power", *names, "mean"), cells),
            "Stated: " + ", ".join(f"{name} {share:.3f}" for name, share in prior.items()) + ".",
            "",
        ]
    )
    (folder / "prior.md").write_text(text, encoding="utf-8")
    return found


def measure(classifier: Classifier, prior: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return for each power of the prior what it gives on every set, and in the mean of the sets."""
    asked = []
    for one in classifier.alone():
        rows = judged_rows(one.data, one.input, one.data.validation)
        rows = rows[rows.labels >= 0]
        asked.append((one.name, classifier.classify(rows.images), rows.classes, rows.labels))
    found = []
    for power in POWERS:
        sets = {}
        for name, probabilities, classes, labels in asked:
            said = limited(answered_for(probabilities, classifier.labels, prior, power), classifier.labels, classes)
            sets[name] = {
                "accuracy": float((said.argmax(axis=1) == labels).mean()),
                "macro_recall": macro_recall(labels, said.argmax(axis=1)),
                "calibration_error": calibration_error(said, labels),
            }
        means = {key: fmean(one[key] for one in sets.values()) for key in ("accuracy", "macro_recall")}
        found.append({"power": power, "sets": sets, **means})
    return found


def answered_for(
    probabilities: NDArray[np.float32], labels: Sequence[str], prior: Mapping[str, float], power: float
) -> NDArray[np.float32]:
    """Turn (N, labels) probabilities for a prior into those for a power of it, by Bayes' rule."""
    moved = probabilities * np.array([prior[name] ** (power - 1) for name in labels], np.float32)
    return np.asarray(moved / moved.sum(axis=1, keepdims=True), np.float32)
