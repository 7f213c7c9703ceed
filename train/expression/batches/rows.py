"""Rows of a data set as a run uses them: cut as the network sees them, trained on without twins of what is judged."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import FaceSet, load
from train.data.labels import renamed
from train.data.leaks import leaks
from train.expression.batches.cutting import Needs, as_seen, located, needs, whole_faces
from train.expression.config import Data, Input, TrainConfig
from train.expression.losses import has_target


def read(data: Data, split: str) -> FaceSet:
    """Load a split of a set, its labels mapped. Raises UserError where several sets are named: only one is read."""
    if data.sets:
        raise UserError(f"expected one data set, found {len(data.sets)} in data.sets; take one: --set data.sets=[] ...")
    rows = load(data.set, data.path, split, data.labels)
    return renamed(rows, dict(data.map), data.set) if data.map else rows


def judged_rows(data: Data, seen: Input, split: str) -> FaceSet:
    """Load a split with pictures as the network sees them."""
    return as_seen(_located_rows(data, needs(seen), split), seen)


def labelled_rows(data: Data, seen: Input, split: str, classes: tuple[str, ...], name: str) -> FaceSet:
    """Load the rows of a split that have a label, for the network `name` of these classes, as it sees them.

    The labels are numbered as the network's. Raises UserError where the data have others.
    """
    rows = judged_rows(data, seen, split)
    require_classes(rows, data, classes, name)
    return as_answered(rows[rows.labels >= 0], classes)


def require_classes(rows: FaceSet, data: Data, classes: tuple[str, ...], name: str) -> None:
    """Raise UserError where rows have classes that the network `name` does not answer."""
    if not set(rows.classes) <= set(classes):
        raise UserError(f"{name}: answers {classes}, '{data.set}' has {tuple(rows.classes)}")


def as_answered(rows: FaceSet, classes: tuple[str, ...]) -> FaceSet:
    """Renumber the labels of rows as a network with more classes has them."""
    if tuple(rows.classes) == classes:
        return rows
    numbers = np.array([*(classes.index(name) for name in rows.classes), -1])  # a label of -1 stays one
    distribution = np.zeros((len(rows), len(classes)), np.float32)
    distribution[:, numbers[:-1]] = rows.distribution
    return replace(rows, classes=classes, labels=numbers[rows.labels], distribution=distribution)


def judged_faces(data: Data, seen: Input, split: str) -> FaceSet:
    """Load a split with whole faces, of which a network of several regions is shown one."""
    return whole_faces(_located_rows(data, needs(seen), split), seen)


@lru_cache(maxsize=2)
def _located_rows(data: Data, needed: Needs, split: str) -> FaceSet:
    """Load a split once for all regions that it is cut to."""
    return located(read(data, split), needed, data)


def training_rows(config: TrainConfig) -> tuple[FaceSet, dict[str, int]]:
    """Load the rows to train on, those with a target and no twin among the rows judged on, and what was counted.

    The pictures are whole: `cut` makes what the network sees of them.
    """
    data = config.data
    rows = read(data, data.train)
    twin = twins(rows, data, {data.validation, data.test} - {data.train})
    usable = has_target(rows, config.loss)
    kept = usable & ~twin
    counts = {
        "read": len(rows),
        "unlabelled": int((~usable).sum()),
        "twins": int((twin & usable).sum()),
        "used": int(kept.sum()),
    }
    if not kept.any():
        raise UserError(f"{data.path}: no row of '{data.train}' is left to train on: {counts}")
    return located(rows[kept], needs(config.input), data), counts


def fitting_rows(data: Data, seen: Input, judged: str) -> FaceSet:
    """Load the labelled training rows, cut as the network sees them, without twins among those of the split `judged`.

    What is fitted to the answers of a network, and judged on others, is fitted to these.
    """
    rows = judged_rows(data, seen, data.train)
    twin = twins(read(data, data.train), data, {judged} - {data.train})
    return rows[(rows.labels >= 0) & ~twin]


def some_rows(rows: FaceSet, most: int) -> FaceSet:
    """Return at most so many rows, drawn with a fixed seed."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:most])]


def cut(rows: FaceSet, config: TrainConfig, epoch: int) -> FaceSet:
    """Cut training rows for one epoch: larger by `augment.crop`, and with the mode 'centre' at random places.

    Where several regions are learned the faces are whole yet: `batches.views` draws a region after the random changes.
    """
    if config.input.regions:
        return whole_faces(rows, config.input)
    random = np.random.default_rng([config.seed, epoch]) if config.input.mode == "centre" else None
    return as_seen(rows, config.input, config.augment.crop, random)


@cache
def near_duplicates(data: Data, split: str) -> NDArray[np.bool_]:
    """Say which rows of a split show the same photo as a row that was trained on, by perceptual hash: (N,).

    Pixel-identical twins count too where they were trained on; `training_rows` leaves out those of the judged splits.
    """
    judged = read(data, split)
    if split == data.train:
        return np.zeros(len(judged), bool)
    trained = read(data, data.train)
    if split in {data.validation, data.test}:
        trained = trained[~twins(trained, data, {split})]
    return np.isin(np.arange(len(judged)), leaks(trained, judged).second)


def twins(rows: FaceSet, data: Data, splits: Collection[str]) -> NDArray[np.bool_]:
    """Say which rows, as they were loaded, have the very pixels of a row of the given splits: (N,)."""
    others = {digest for split in splits for digest in digests(read(data, split))}
    return np.array([digest in others for digest in digests(rows)], bool)


def digests(rows: FaceSet) -> list[bytes]:
    """Return a hash of each picture's pixels: equal hashes are twins."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in rows.images]
