"""The rows of several sets that are learned at once: their labels and targets, and what must not be trained on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet, load
from train.data.labels import renamed
from train.data.leaks import close, hashes
from train.expression.batches.cutting import as_seen, located, needs
from train.expression.batches.rows import as_answered, digests
from train.expression.config import Data, OneSet, TrainConfig
from train.expression.losses import has_target, targets

log = logging.getLogger(__name__)


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


def training_parts(config: TrainConfig, larger: float | None = None) -> list[Part]:
    """Load the training rows of every set, without those that show a photo which is judged.

    larger: cut so much more of the surroundings, `augment.crop` unless said. Raises UserError with one line where a
    set has no usable row or an unknown label, or two have a picture in common.
    """
    judged = judged_hashes(config.data)
    larger = config.augment.crop if larger is None else larger
    parts = [_part(config, number, judged, larger) for number in range(len(config.data.sets))]
    require_apart(parts)
    return parts


def _part(config: TrainConfig, number: int, judged: NDArray[np.bool_], larger: float) -> Part:
    one, where = config.data.sets[number], place(config.data, number)
    rows, counts = _kept(emotions(config.data, number, one.train), one, judged, where)
    rows = replace(rows, distribution=own_targets(rows, one.loss, config.smoothing))
    lacking = [name for name, share in zip(EMOTIONS, rows.distribution.sum(axis=0), strict=True) if not share]
    if len(lacking) > len(EMOTIONS) - 2 and one.loss != "teacher":
        known = [name for name in EMOTIONS if name not in lacking]
        raise UserError(f"{where}: expected rows of two labels at least, found {known}")
    said = ", ".join(f"{n} {what}" for what, n in counts.items())
    log.info("%s: %s%s", where, said, f"; no row of {', '.join(lacking)}" if lacking else "")
    cuts = tuple(cut(rows, config, number, way, larger).images for way in one.face_box)
    return Part(one.set, one.share, replace(rows, boxes=None, landmarks=None), cuts, counts)


def _kept(rows: FaceSet, one: OneSet, judged: NDArray[np.bool_], where: str) -> tuple[FaceSet, dict[str, int]]:
    """Leave out rows without a target and those that show a judged photo; return the others and the counts."""
    usable = np.ones(len(rows), bool) if one.loss == "teacher" else has_target(rows, one.loss)
    again = np.isin(np.arange(len(rows)), close(hashes(rows), judged).first)
    kept = usable & ~again
    if not kept.any():
        raise UserError(
            f"{where}: no row of '{one.train}' is left to train on: {again.sum()} of {len(rows)} are judged, the "
            "others have no label that is used"
        )
    counts = {
        "read": len(rows),
        "unlabelled": (~usable).sum(),
        "near judged": (again & usable).sum(),
        "used": kept.sum(),
    }
    return rows[kept], {what: int(count) for what, count in counts.items()}


def place(data: Data, number: int) -> str:
    """Name one of several sets in a message."""
    return f"data.sets[{number}] ({data.sets[number].set})"


def emotions(data: Data, number: int, split: str) -> FaceSet:
    """Load a split of one of several sets, its labels numbered as the emotions."""
    own = data.alone(data.sets[number])
    rows = renamed(load(own.set, own.path, split, own.labels), dict(own.map), place(data, number))
    return as_answered(rows, EMOTIONS)


def cut(rows: FaceSet, config: TrainConfig, number: int, way: str, larger: float = 0.0) -> FaceSet:
    """Cut the faces of one of several sets one way, as the network sees them."""
    seen = config.input.model_copy(update={"face_box": way})
    return as_seen(located(rows, needs(seen), config.data.alone(config.data.sets[number])), seen, larger)


def own_targets(rows: FaceSet, loss: str, smoothing: float) -> NDArray[np.float32]:
    """Return (N, emotions) targets as `losses.targets` does, smoothed over the labels that the set has.

    Those of the teacher come later: they are zero yet.
    """
    if loss == "teacher":
        return np.zeros_like(rows.distribution)
    if loss == "distribution":
        return rows.distribution
    hard = targets(rows, "hard").numpy()
    own = hard.any(axis=0)
    return hard if loss == "hard" else np.asarray(hard * (1 - smoothing) + smoothing * own / own.sum(), np.float32)


def judged_hashes(data: Data) -> NDArray[np.bool_]:
    """Return the perceptual hashes of every picture that some set is chosen or judged by: (N, 256)."""
    return np.concatenate([hashes(load(*where)) for where in judged_splits(data)])


def judged_splits(data: Data) -> Iterator[tuple[str, Path, str, str]]:
    """Yield set, path, split and label rule of every validation, test and judged split."""
    for one in data.sets:
        for split in dict.fromkeys(split for split in (one.validation, one.test) if split):
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
