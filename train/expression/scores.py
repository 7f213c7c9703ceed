"""Numbers of an evaluation, from probabilities and labels alone: whatever gave the probabilities can be compared."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import tempered
from engines.errors import UserError

log = logging.getLogger(__name__)

BINS = 15  # of the reliability diagram and the expected calibration error
FEW_TO_FIT = 100  # rows to which a temperature can be fitted freely
SUREST = 0.8  # of the rows, those that an application would act on
Z = 1.96  # of a two-sided 95 % interval


@dataclass(frozen=True)
class ClassScores:
    """Hold the precision, recall and F1 (0-1) of one class, its rows and how often it was the answer."""

    precision: float
    recall: float
    f1: float
    rows: int
    answers: int


@dataclass(frozen=True)
class Scores:
    """Hold what was measured on N rows; shares are 0-1.

    interval: 95 % Wilson interval of the accuracy. macro_recall, macro_f1: over the classes that occur among the
    rows, each with its interval. surest: accuracy of the surest 80 % of the rows. confusion: counts, truth by answer.
    calibration_error: expected calibration error over 15 bins of confidence. nll: mean negative log likelihood in nats.
    """

    rows: int
    accuracy: float
    interval: tuple[float, float]
    macro_recall: float
    macro_recall_interval: tuple[float, float]
    macro_f1: float
    macro_f1_interval: tuple[float, float]
    surest: float
    calibration_error: float
    nll: float
    classes: dict[str, ClassScores]
    confusion: list[list[int]]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def measure(probabilities: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str]) -> Scores:
    """Compare (N, C) probabilities with (N,) labels in 0..C-1. Raises UserError where there are no rows."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if not len(labels):
        raise UserError("expected labelled rows to measure, found none")
    answers, every = probabilities.argmax(axis=1), np.arange(len(classes))
    parts = precision_recall_fscore_support(labels, answers, labels=every, zero_division=0.0)
    confusion = confusion_matrix(labels, answers, labels=every)
    accuracy = float((answers == labels).mean())
    by_class = {
        name: ClassScores(
            precision=float(parts[0][i]),
            recall=float(parts[1][i]),
            f1=float(parts[2][i]),
            rows=int(parts[3][i]),
            answers=int(confusion[:, i].sum()),
        )
        for i, name in enumerate(classes)
    }
    recall, f1 = macro_intervals(confusion)
    return Scores(
        rows=len(labels),
        accuracy=accuracy,
        interval=wilson(int((answers == labels).sum()), len(labels)),
        macro_recall=macro_recall(labels, answers),
        macro_recall_interval=recall,
        macro_f1=float(np.mean([scores.f1 for scores in by_class.values() if scores.rows])),
        macro_f1_interval=f1,
        surest=surest_accuracy(probabilities, labels),
        calibration_error=calibration_error(probabilities, labels),
        nll=nll(probabilities, labels),
        classes=by_class,
        confusion=confusion.tolist(),
    )


def macro_recall(labels: NDArray[np.int64], answers: NDArray[np.int64]) -> float:
    """Return the mean recall over the classes that occur among the labels."""
    return float(np.mean([(answers[labels == label] == label).mean() for label in np.unique(labels)]))


def macro_intervals(confusion: NDArray[np.int64], draws: int = 2000) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the 95 % percentile bootstrap intervals of macro recall and macro F1 of a (C, C) confusion matrix.

    Rows drawn again are a draw of its cells; a class that a draw does not hold does not count in it.
    """
    rows = confusion.sum()
    drawn = np.random.default_rng(0).multinomial(rows, confusion.ravel() / rows, draws).reshape(draws, *confusion.shape)
    right, wanted, answered = drawn.diagonal(axis1=1, axis2=2), drawn.sum(axis=2), drawn.sum(axis=1)
    present = wanted > 0
    shares = (right / np.maximum(wanted, 1), 2 * right / np.maximum(wanted + answered, 1))
    means = [np.where(present, share, 0).sum(axis=1) / present.sum(axis=1) for share in shares]
    (low_r, high_r), (low_f, high_f) = (np.quantile(mean, [0.025, 0.975]).tolist() for mean in means)
    return (low_r, high_r), (low_f, high_f)


def surest_accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64], share: float = SUREST) -> float:
    """Return the accuracy of the rows whose answers are the surest, so large a share of them."""
    kept = np.argsort(-probabilities.max(axis=1), kind="stable")[: max(1, round(share * len(labels)))]
    return float((probabilities[kept].argmax(axis=1) == labels[kept]).mean())


def limited(probabilities: NDArray[np.float32], labels: Sequence[str], asked: Sequence[str]) -> NDArray[np.float32]:
    """Return (N, asked) probabilities of the labels that are asked for, given that it is one of these."""
    if tuple(labels) == tuple(asked):
        return probabilities
    kept = np.maximum(probabilities[:, [labels.index(name) for name in asked]], 1e-12)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True), np.float32)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share, (0, 1) without trials (Wilson 1927)."""
    if not trials:
        return 0.0, 1.0
    share, spread = hits / trials, Z**2 / trials
    centre = share + spread / 2
    reach = Z * np.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return float(max(0.0, (centre - reach) / (1 + spread))), float(min(1.0, (centre + reach) / (1 + spread)))


def reliability(scores: Scores) -> dict[str, dict[str, float]]:
    """Return for each label that was answered its precision, that share's Wilson interval and the answers counted."""
    table = {}
    for i, (name, found) in enumerate(scores.classes.items()):
        if found.answers:
            hits = scores.confusion[i][i]
            low, high = wilson(hits, found.answers)
            table[name] = {"precision": hits / found.answers, "low": low, "high": high, "answers": found.answers}
    return table


def calibration_bins(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (BINS, 3): share of the rows, mean confidence and accuracy of each bin of confidence, zero where empty."""
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, weights=weight, minlength=BINS) for weight in (confidence, correct)]
    return np.stack([counts / len(labels), *(total / np.maximum(counts, 1) for total in sums)], axis=1)


def calibration_error(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the expected calibration error (Guo et al. 2017, Eq. 3), 0-1."""
    bins = calibration_bins(probabilities, labels)
    return float((bins[:, 0] * np.abs(bins[:, 1] - bins[:, 2])).sum())


def nll(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the mean negative log likelihood of the labels in nats."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())


def fit_temperature(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature, 0.05-20, that minimises the negative log likelihood (Guo et al. 2017).

    Fewer than 100 rows say little: then it stays within 0.5-2, which is logged.
    """
    from scipy.optimize import minimize_scalar

    low, high = (0.5, 2.0) if len(labels) < FEW_TO_FIT else (0.05, 20.0)
    found = minimize_scalar(
        lambda log_t: nll(tempered(probabilities, float(np.exp(log_t))), labels),
        bounds=np.log([low, high]),
        method="bounded",
    )
    if len(labels) < FEW_TO_FIT:
        log.warning(
            "a temperature of %.2f is fitted to %d rows, and kept within %g-%g: expected %d rows at least",
            *(np.exp(found.x), len(labels), low, high, FEW_TO_FIT),
        )
    return float(np.exp(found.x))
