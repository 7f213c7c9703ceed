"""Readable rules for a network's answers: one shallow decision tree an emotion on its features (Liu, section 2.4)."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.spec import Condition, Rule

DEPTH = 4
NAMED = 5  # features that a pattern names


@dataclass(frozen=True)
class Judged:
    """Hold a rule with what was measured on rows that it was not fitted to.

    recall, precision: of the network's answer 'label'. important: features that the tree decides by, with their share
    of what it decides. pattern: features in which the faces that are answered so lie furthest above the mean, with how
    far, in standard deviations.
    """

    rule: Rule
    recall: float
    precision: float
    important: Mapping[int, float]
    pattern: Mapping[int, float]


def extract(
    features: NDArray[np.float32], answers: NDArray[np.int64], labels: Sequence[str], fitted: NDArray[np.bool_]
) -> list[Judged]:
    """Fit a tree for every label that is answered to some rows of (N, K) features, and judge it on the others.

    fitted: (N,) which rows to fit to.
    """
    found = []
    for number, label in enumerate(labels):
        wanted = answers == number
        if wanted[fitted].any() and wanted[~fitted].any():
            found.append(_extract_one(label, features, wanted, fitted))
    return found


def _extract_one(
    label: str, features: NDArray[np.float32], wanted: NDArray[np.bool_], fitted: NDArray[np.bool_]
) -> Judged:
    from sklearn.tree import DecisionTreeClassifier

    rare = wanted[fitted].mean()
    # Between counting rows alike, which favours 'never', and counting both answers alike, which favours 'always'.
    weights = {False: 1.0, True: float(np.sqrt((1 - rare) / rare)) if rare < 1 else 1.0}
    tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=5, random_state=0, class_weight=weights)
    tree.fit(features[fitted], wanted[fitted])
    said, network = tree.predict(features[~fitted]), wanted[~fitted]
    both = int((said & network).sum())
    recall = both / int(network.sum())
    others = float((~said[~network]).mean()) if (~network).any() else 1.0
    rule = Rule(
        label=label,
        alternatives=tuple(_alternatives(tree.tree_, tree.classes_, 0, ())),
        fidelity=float((said == network).mean()),
        baseline=float((~network).mean()),
        balanced=(recall + others) / 2,
    )
    return Judged(
        rule=rule,
        recall=recall,
        precision=both / max(int(said.sum()), 1),
        important=_largest(tree.feature_importances_),
        pattern=_largest((features[wanted].mean(axis=0) - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)),
    )


def _largest(values: NDArray[np.floating[Any]]) -> dict[int, float]:
    order = np.argsort(-values, kind="stable")[:NAMED]
    return {int(feature): round(float(values[feature]), 3) for feature in order if values[feature] > 0}


def _alternatives(
    tree: Any, classes: NDArray[np.bool_], node: int, path: tuple[Condition, ...]
) -> list[tuple[Condition, ...]]:
    """Return the conditions of every leaf below a node that says yes."""
    if tree.children_left[node] < 0:
        return [path] if classes[tree.value[node][0].argmax()] else []
    found = []
    for child, above in ((tree.children_left[node], False), (tree.children_right[node], True)):
        threshold = float(tree.threshold[node])
        asked = Condition(feature=int(tree.feature[node]), above=above, threshold=threshold)
        found += _alternatives(tree, classes, child, (*path, asked))
    return found


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
