"""Judge a classifier on the rows of a split, whatever it is made of."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet
from train.expression.batches.rows import judged_rows, near_duplicates, read, require_classes
from train.expression.classifier import Classifier
from train.expression.config import Data, Input
from train.expression.scores import Scores, fit_temperature, limited, measure

log = logging.getLogger(__name__)

# Rules that label the same pictures of one data set: a network trained by one is also reported by the other.
RULES = {name: ("ferplus_seed", "ferplus_majority") for name in ("fer", "ferplus")}


@dataclass(frozen=True)
class Evaluation:
    """Hold what was measured on one split.

    scores: by rows judged, the configured label rule first. temperature: what the logits would have to be divided by
    on top, fitted on the validation split. probabilities (N, classes), truth (N,): the rows of the first scores.
    milliseconds: a picture at batch 8 on one thread, median, or None. near_duplicates: rows of the split that show the
    photo of a row trained on, by perceptual hash, or None where those are not at hand.
    """

    name: str
    data: Data
    split: str
    labels: tuple[str, ...]
    scores: dict[str, Scores]
    temperature: float
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]
    milliseconds: float | None
    size: int | None
    near_duplicates: int | None
    input: Input
    made: Mapping[str, Any]

    @property
    def first(self) -> Scores:
        """Return the scores of all rows by the configured label rule."""
        return next(iter(self.scores.values()))


def evaluate(classifier: Classifier, split: str) -> Evaluation:
    """Judge a classifier on every row of a split that has a label, by each label rule of the set.

    Where it answers more labels than the set has it is asked for these alone.
    """
    data = classifier.data
    rows = judged_rows(data, classifier.input, split)
    probabilities = _answers(classifier, rows)
    near = None if classifier.apart else _near_duplicates(data, split)
    scores: dict[str, Scores] = {}
    for rule in label_rules(data):
        labels = rows.labels if rule == data.labels else read(data.model_copy(update={"labels": rule}), split).labels
        for name, chosen in subsets(labels, rows.leaked, near, rows.classes).items():
            if rule == data.labels or chosen.any():
                scores[f"{rule}, {name}"] = measure(probabilities[chosen], labels[chosen], rows.classes)
    labelled = rows.labels >= 0
    return Evaluation(
        name=classifier.name,
        data=data,
        split=split,
        labels=rows.classes,
        scores=scores,
        temperature=validation_temperature(classifier),
        probabilities=probabilities[labelled],
        truth=rows.labels[labelled],
        milliseconds=milliseconds(classifier) if classifier.timed else None,
        size=classifier.size,
        near_duplicates=None if near is None else int((near & labelled).sum()),
        input=classifier.input,
        made=classifier.made,
    )


def chosen_by(found: Sequence[Evaluation]) -> list[Evaluation]:
    """Return, of all that was measured on a network, what it was chosen by: the validation split of every set."""
    if len({one.data.set for one in found}) == 1:
        return [found[0]]
    return [one for one in found if one.split == one.data.validation and one.input.region == found[0].input.region]


def pooled(found: Sequence[Evaluation]) -> Scores:
    """Measure the rows of several sets as one, by the emotions that any of them has."""
    if len(found) == 1:
        return found[0].first
    labels = tuple(name for name in EMOTIONS if any(name in one.labels for one in found))
    probabilities, truth = [], []
    for one in found:
        numbers = [labels.index(name) for name in one.labels]
        own = np.zeros((len(one.truth), len(labels)), np.float32)
        own[:, numbers] = one.probabilities
        probabilities.append(own)
        truth.append(np.array(numbers)[one.truth])
    return measure(np.concatenate(probabilities), np.concatenate(truth), labels)


def _answers(classifier: Classifier, rows: FaceSet) -> NDArray[np.float32]:
    require_classes(rows, classifier.data, classifier.labels, classifier.name)
    return limited(classifier.classify(rows.images), classifier.labels, rows.classes)


def _near_duplicates(data: Data, split: str) -> NDArray[np.bool_] | None:
    try:
        return near_duplicates(data, split)
    except (UserError, OSError) as error:
        log.warning("no check for near-duplicates of the training rows: %s", error)
        return None


def label_rules(data: Data) -> tuple[str, ...]:
    """List the label rules to report by, the configured one first."""
    known = RULES.get(data.set, ())
    return (data.labels, *(rule for rule in known if rule != data.labels)) if data.labels in known else (data.labels,)


def subsets(
    labels: NDArray[np.int64], leaked: NDArray[np.bool_], near: NDArray[np.bool_] | None, classes: Sequence[str]
) -> dict[str, NDArray[np.bool_]]:
    """Choose the rows to report on: all, those without a twin or near-duplicate elsewhere, those without contempt.

    A choice that leaves out nothing, or everything, says nothing.
    """
    all_rows = labels >= 0
    chosen = {"all rows": all_rows, "without duplicates": all_rows & ~leaked}
    if near is not None:
        chosen["without near-duplicates"] = all_rows & ~near
    if "contempt" in classes:
        chosen["without contempt"] = all_rows & (labels != classes.index("contempt"))
    return {name: rows for name, rows in chosen.items() if rows is all_rows or 0 < rows.sum() < all_rows.sum()}


def validation_temperature(classifier: Classifier) -> float:
    """Fit the temperature that the answers still need on the validation split."""
    rows = judged_rows(classifier.data, classifier.input, classifier.data.validation)
    rows = rows[rows.labels >= 0]
    return fit_temperature(_answers(classifier, rows), rows.labels)


def milliseconds(classifier: Classifier, runs: int = 40) -> float:
    """Return the median time a picture takes at batch 8."""
    shape = (8, *classifier.input.shape, classifier.input.channels)
    batch = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    classifier.classify(batch)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        classifier.classify(batch)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times) / len(batch)
