"""Several data sets learned at once: each with its share of an epoch, its labels, its targets and its prior.

A set's loss is a softmax over its own labels: what it lacks (contempt, mostly) is neither wanted nor punished. Its
prior is taken out of the loss and a common one put in (`Prior`), so that the network answers for that one, whichever
set a face reminds it of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet
from train.expression.batches.parts import Part, cut, emotions, place, side_by_side
from train.expression.batches.rows import labelled_rows
from train.expression.config import Prior, TrainConfig
from train.expression.scores import macro_recall

LACKING = -1e4  # is added to the logit of a label that a set lacks: its probability is 0, and 0 times it is finite


@dataclass(frozen=True)
class Judged:
    """Hold labelled rows of one set as the network sees them; own: (classes,) which labels the set has."""

    name: str
    rows: FaceSet
    own: NDArray[np.bool_]

    def scores(self, logits: Tensor) -> dict[str, float]:
        """Compare (N, classes) logits, of the set's own labels alone, with the labels."""
        answers = np.where(self.own, logits.numpy(), -np.inf).argmax(axis=1)
        return {
            "accuracy": round(float((answers == self.rows.labels).mean()), 5),
            "macro_recall": round(macro_recall(self.rows.labels, answers), 5),
        }


class Chosen(NamedTuple):
    """Hold the rows that a finished network is calibrated and compared by.

    images: (N, H, W, C) uint8. labels: (N,). own: (N, classes) which labels each row's set has.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    own: NDArray[np.bool_]

    def asked(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, classes) probabilities given that each row's label is one that its set has."""
        kept = np.where(self.own, np.maximum(probabilities, 1e-12), 0)
        return np.asarray(kept / kept.sum(axis=1, keepdims=True), np.float32)


@dataclass(frozen=True)
class Lesson:
    """Hold what an epoch of several sets learns from.

    rows: all pictures of all sets, with their targets. groups: (N,) the number of each row's set. added: (sets,
    classes) what is added to the logits of each set's rows in the loss. numbers: for each set the (ways to cut, rows)
    numbers of its pictures. counts: rows that each set has in an epoch. prior: what the network answers for, by label.
    """

    rows: FaceSet
    groups: Tensor
    added: Tensor
    numbers: tuple[Tensor, ...]
    counts: tuple[int, ...]
    prior: dict[str, float]

    def order(self) -> Tensor:
        """Draw the order of an epoch: of each set as many rows as its share, of each row one way to cut it."""
        drawn = []
        for numbers, count in zip(self.numbers, self.counts, strict=True):
            ways, size = numbers.shape
            rows = torch.cat([torch.randperm(size) for _ in range(-(-count // size))])[:count]
            drawn.append(numbers[torch.randint(ways, (count,)), rows])
        order = torch.cat(drawn)
        return order[torch.randperm(len(order))]


def lesson(config: TrainConfig, parts: Sequence[Part]) -> Lesson:
    """Put the sets side by side."""
    own = [part.prior > 0 for part in parts]
    learned = np.logical_or.reduce(own)
    classes = tuple(name for name, known in zip(EMOTIONS, learned, strict=True) if known)
    prior = answered_prior(config.prior, parts, learned)
    added = [adjustment(part.prior, prior, config.prior.tau)[learned] for part in parts]
    pictures, groups, numbers, first = [], [], [], 0
    for number, part in enumerate(parts):
        rows = replace(part.rows, classes=classes, distribution=part.rows.distribution[:, learned])
        pictures += [replace(rows, images=images) for images in part.cuts]
        size = len(rows) * len(part.cuts)
        groups.append(torch.full((size,), number))
        numbers.append(torch.arange(first, first + size).reshape(len(part.cuts), -1))
        first += size
    total, shares = sum(len(part.rows) for part in parts), sum(part.share for part in parts)
    return Lesson(
        rows=side_by_side(pictures),
        groups=torch.cat(groups),
        added=torch.from_numpy(np.stack(added)).float(),
        numbers=tuple(numbers),
        counts=tuple(max(1, round(total * part.share / shares)) for part in parts),
        prior=dict(zip(classes, prior[learned].tolist(), strict=True)),
    )


def adjustment(own: NDArray[np.float64], answered: NDArray[np.float64], tau: float) -> NDArray[np.float64]:
    """Return what a set's loss adds to the logits (Menon et al. 2021, Eq. 10), so that they answer for another prior.

    own, answered: (classes,) shares; labels of which the set has none are shut out. A set without any label is asked
    for the answered prior itself.
    """
    if not own.any():
        return np.zeros_like(answered)
    known = own > 0
    ratio = np.where(known, own, 1) / np.where(known, answered, 1)
    return np.where(known, tau * np.log(ratio), LACKING)


def answered_prior(wanted: Prior, parts: Sequence[Part], learned: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the prior, by emotion, that the network is to answer for. Raises UserError for other labels."""
    names = [name for name, known in zip(EMOTIONS, learned, strict=True) if known]
    if wanted.answers == "even":
        shares = learned.astype(np.float64)
    elif wanted.answers == "mean":
        priors = np.stack([part.prior for part in parts])
        shares = priors.sum(axis=0) / np.maximum((priors > 0).sum(axis=0), 1)
    elif set(wanted.answers) == set(names):
        shares = np.array([wanted.answers.get(name, 0.0) for name in EMOTIONS])
    else:
        raise UserError(f"prior.answers: expected a share of {', '.join(names)}, found {', '.join(wanted.answers)}")
    return np.asarray(shares / shares.sum(), np.float64)


def judged_parts(config: TrainConfig, known: Lesson) -> list[Judged]:
    """Load the labelled validation rows of every set that was learned, once for each way to cut them."""
    found, classes = [], known.rows.classes
    for number, one in enumerate(config.data.sets):
        if one.validation is None:
            continue
        rows = emotions(config.data, number, one.validation)
        numbers = np.array([*(classes.index(name) if name in classes else -1 for name in EMOTIONS), -1])
        rows = replace(rows, classes=classes, labels=numbers[rows.labels])
        rows = rows[rows.labels >= 0]
        if not len(rows):
            raise UserError(f"{place(config.data, number)}: '{one.validation}' has no labelled row to judge by")
        own = known.added[number].numpy() > LACKING
        for way in one.face_box:
            name = one.set if len(one.face_box) == 1 else f"{one.set} {way}"
            found.append(Judged(name, cut(rows, config, number, way), own))
    return found


def chosen_rows(config: TrainConfig, classes: tuple[str, ...], known: Lesson | None) -> Chosen:
    """Load the labelled validation rows of one set, or of the several of a lesson, as the network sees them."""
    if known:
        parts = judged_parts(config, known)
    else:
        rows = labelled_rows(config.data, config.input, config.data.validation, classes, config.name)
        parts = [Judged(config.data.set, rows, np.ones(len(classes), bool))]
    return Chosen(
        np.concatenate([part.rows.images for part in parts]),
        np.concatenate([part.rows.labels for part in parts]),
        np.concatenate([np.tile(part.own, (len(part.rows), 1)) for part in parts]),
    )
