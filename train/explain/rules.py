"""Readable rules for a network's answers: one shallow decision tree an emotion on its features (Liu, section 2.4)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DEPTH = 3


@dataclass(frozen=True)
class Rule:
    """Hold when a network answers a label, as alternatives of conditions on features.

    fidelity: share of rows not fitted on where rule and network agree. recall, precision: of the network's answer
    'label' on those rows; a rare label is easily agreed on by never giving it.
    """

    label: str
    conditions: tuple[str, ...]
    fidelity: float
    recall: float
    precision: float

    def text(self) -> str:
        """Return the rule in one line."""
        return " or ".join(f"({condition})" for condition in self.conditions) or "never"


def extract(features: NDArray[np.float32], answers: NDArray[np.int64], labels: Sequence[str]) -> list[Rule]:
    """Fit a tree for every label that is answered to every other row of (N, K) features, and judge it on the rest."""
    fitted = np.arange(len(answers)) % 2 == 0
    rules = []
    for number, label in enumerate(labels):
        wanted = answers == number
        if wanted[fitted].any() and wanted[~fitted].any():
            rules.append(_extract_one(label, features, wanted, fitted))
    return rules


def _extract_one(
    label: str, features: NDArray[np.float32], wanted: NDArray[np.bool_], fitted: NDArray[np.bool_]
) -> Rule:
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=5, random_state=0)
    tree.fit(features[fitted], wanted[fitted])
    said, network = tree.predict(features[~fitted]), wanted[~fitted]
    both = int((said & network).sum())
    return Rule(
        label=label,
        conditions=tuple(_conditions(tree.tree_, tree.classes_, 0, ())),
        fidelity=float((said == network).mean()),
        recall=both / max(int(network.sum()), 1),
        precision=both / max(int(said.sum()), 1),
    )


def _conditions(tree: Any, classes: NDArray[np.bool_], node: int, path: tuple[str, ...]) -> list[str]:
    """Return the conditions of every leaf below a node that says yes."""
    if tree.children_left[node] < 0:
        says_yes = classes[tree.value[node][0].argmax()]
        return [" and ".join(path) or "always"] if says_yes else []
    name, threshold = f"feature {tree.feature[node]}", f"{tree.threshold[node]:.3f}"
    left = _conditions(tree, classes, tree.children_left[node], (*path, f"{name} <= {threshold}"))
    right = _conditions(tree, classes, tree.children_right[node], (*path, f"{name} > {threshold}"))
    return left + right


def write_features(
    path: Path,
    names: Sequence[str],
    features: NDArray[np.float32],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
) -> None:
    """Write the features before the last layer as CSV, with each face's answer and next most likely emotion."""
    order = np.argsort(-probabilities, axis=1)
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["name", "answer", "next", *(f"feature {k}" for k in range(features.shape[1]))])
        for name, ranked, values in zip(names, order, features, strict=True):
            lines.writerow([name, labels[ranked[0]], labels[ranked[1]], *(f"{value:.5g}" for value in values)])
