"""Several data sets learned at once: each with its share of an epoch, its labels, its targets and its prior.

A set's loss is a softmax over its own labels: what it lacks (contempt, mostly) is neither wanted nor punished. Its
prior is taken out of the loss and a common one put in (`Prior`), so that the network answers for that one, whichever
set a face reminds it of.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet, load
from train.data.labels import renamed
from train.data.leaks import close, hashes
from train.expression.batches.cutting import as_seen, located, needs
from train.expression.batches.rows import as_answered, digests
from train.expression.config import Data, OneSet, Prior, TrainConfig
from train.expression.losses import has_target, targets
from train.expression.scores import macro_recall

log = logging.getLogger(__name__)

LACKING = -1e4  # is added to the logit of a label that a set lacks: its probability is 0, and 0 times it is finite


@dataclass(frozen=True)
class Part:
    """Hold the training rows of one set.

    rows: of which `distribution` is the target over the emotions. cuts: (N, H, W, C) uint8 pictures, one array for each
    way to cut them. counts: what was read and left out.
    """

    name: str
    share: float
    rows: FaceSet
    cuts: tuple[NDArray[np.uint8], ...]
    counts: dict[str, int]

    @cached_property
    def prior(self) -> NDArray[np.float64]:
        """Return the mean of the targets, by emotion: 0 for labels that the set lacks."""
        return np.asarray(self.rows.distribution.mean(axis=0), np.float64)


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

    own, answered: (classes,) shares; labels of which the set has none are shut out.
    """
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


def training_parts(config: TrainConfig) -> list[Part]:
    """Load the training rows of every set, without those that show a photo which is judged.

    Raises UserError with one line where a set has no usable row or an unknown label, or two have a picture in common.
    """
    judged = judged_hashes(config.data)
    parts = [_part(config, number, one, judged) for number, one in enumerate(config.data.sets)]
    require_apart(parts)
    return parts


def _part(config: TrainConfig, number: int, one: OneSet, judged: NDArray[np.bool_]) -> Part:
    place, data = f"data.sets[{number}] ({one.set})", config.data.alone(one)
    rows = _emotions(data, one.train, place)
    read = len(rows)
    usable = has_target(rows, one.loss)
    again = np.isin(np.arange(len(rows)), close(hashes(rows), judged).first)
    kept = usable & ~again
    if not kept.any():
        raise UserError(
            f"{place}: no row of '{one.train}' is left to train on: {again.sum()} are judged, the others "
            "have no label that is used"
        )
    rows = rows[kept]
    rows = replace(rows, distribution=own_targets(rows, one.loss, config.smoothing))
    lacking = [name for name, share in zip(EMOTIONS, rows.distribution.sum(axis=0), strict=True) if not share]
    if len(lacking) > len(EMOTIONS) - 2:
        raise UserError(
            f"{place}: expected rows of two labels at least, found {[name for name in EMOTIONS if name not in lacking]}"
        )
    counts = {
        "read": read,
        "unlabelled": int((~usable).sum()),
        "near judged": int((again & usable).sum()),
        "used": len(rows),
    }
    log.info(
        "%s: %s%s",
        place,
        ", ".join(f"{n} {what}" for what, n in counts.items()),
        f"; no row of {', '.join(lacking)}" if lacking else "",
    )
    cuts = tuple(_cut(rows, data, config, way, config.augment.crop).images for way in one.face_box)
    return Part(one.set, one.share, replace(rows, boxes=None, landmarks=None), cuts, counts)


def _cut(rows: FaceSet, data: Data, config: TrainConfig, way: str, larger: float = 0.0) -> FaceSet:
    seen = config.input.model_copy(update={"face_box": way})
    return as_seen(located(rows, needs(seen), data), seen, larger)


def judged_parts(config: TrainConfig, classes: Sequence[str], split: str = "validation") -> list[Judged]:
    """Load the labelled rows of a split ('validation' or 'test') of every set, once for each way to cut them."""
    found = []
    for number, one in enumerate(config.data.sets):
        place, data = f"data.sets[{number}] ({one.set})", config.data.alone(one)
        rows = _emotions(data, getattr(one, split), place)
        rows = rows[rows.labels >= 0]
        if not len(rows):
            raise UserError(f"{place}: '{getattr(one, split)}' has no labelled row to judge by")
        trained = _emotions(data, one.train, place)
        own = np.array([(trained.labels == EMOTIONS.index(name)).any() for name in classes])
        numbers = np.array([classes.index(name) if name in classes else -1 for name in EMOTIONS])
        rows = replace(rows, classes=tuple(classes), labels=numbers[rows.labels], distribution=rows.distribution)
        for way in one.face_box:
            name = one.set if len(one.face_box) == 1 else f"{one.set} {way}"
            found.append(Judged(name, _cut(rows, data, config, way), own))
    return found


def _emotions(data: Data, split: str, place: str) -> FaceSet:
    """Load a split, its labels numbered as the emotions."""
    return as_answered(renamed(load(data.set, data.path, split, data.labels), dict(data.map), place), EMOTIONS)


def own_targets(rows: FaceSet, loss: str, smoothing: float) -> NDArray[np.float32]:
    """Return (N, emotions) targets as `losses.targets` does, smoothed over the labels that the set has."""
    if loss == "distribution":
        return rows.distribution
    hard = targets(rows, "hard").numpy()
    own = hard.any(axis=0)
    return hard if loss == "hard" else np.asarray(hard * (1 - smoothing) + smoothing * own / own.sum(), np.float32)


def judged_hashes(data: Data) -> NDArray[np.bool_]:
    """Return the perceptual hashes of every picture that some set is chosen or judged by: (N, 256)."""
    return np.concatenate([hashes(load(*place)) for place in judged_splits(data)])


def judged_splits(data: Data) -> Iterator[tuple[str, Path, str, str]]:
    """Yield set, path, split and label rule of every validation, test and judged split."""
    for one in data.sets:
        for split in dict.fromkeys((one.validation, one.test)):
            yield one.set, data.place(one), split, one.labels
    for judged in data.judged:
        yield judged.set, data.place(judged), judged.split, judged.labels


def require_apart(parts: Sequence[Part]) -> None:
    """Raise UserError where two sets have a picture in common: its row would count twice, under two priors."""
    owner: dict[bytes, tuple[int, str]] = {}
    for number, part in enumerate(parts):
        for digest, name in zip(digests(part.rows), part.rows.names, strict=True):
            other, twin = owner.setdefault(digest, (number, str(name)))
            if other != number:
                raise UserError(
                    f"data.sets[{number}] ({part.name}): {name} is {twin} of data.sets[{other}] ({parts[other].name}) "
                    "again, pixel by pixel: leave one of the two out"
                )


def side_by_side(sets: Sequence[FaceSet]) -> FaceSet:
    """Put rows of the same classes and picture size one after another."""
    columns = {
        name: np.concatenate([getattr(one, name) for one in sets])
        for name in ("names", "images", "labels", "distribution", "leaked")
    }
    return FaceSet(sets[0].classes, **columns)
