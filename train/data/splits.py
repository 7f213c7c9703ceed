"""Which rows belong to a split that the set itself does not define: seeded hashes, the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError

FOLDS = 5
DRAWN = ("train", "validation", "test")
FOLD_SPLITS = ("all", *(f"{prefix}fold{k}" for prefix in ("", "not ") for k in range(FOLDS)))


def require(kind: str, value: str, known: Sequence[str]) -> None:
    """Raise UserError where `value` is not a known split or label rule."""
    if value not in known:
        raise UserError(f"unknown {kind} '{value}': expected one of {', '.join(known)}")


def share(key: str) -> float:
    """Map a key to a number that is evenly spread over 0-1."""
    digest = hashlib.blake2b(f"split 1 {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def portion(keys: NDArray[np.str_], part: str) -> NDArray[np.bool_]:
    """Choose the rows of `tenth` or of `rest`, by hashes of their own; of few keys one is the tenth: (N,)."""
    places = np.array([share(f"part {key}") for key in keys])
    tenth: NDArray[np.bool_] = places <= max(0.1, places.min(initial=1.0))
    return tenth if part == "tenth" else ~tenth


def drawn(keys: Sequence[str], split: str) -> NDArray[np.bool_]:
    """Choose the rows of train, validation or test, 8:1:1 by key: (N,)."""
    require("split", split, DRAWN)
    place = np.array([share(key) for key in keys])
    low, high = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}[split]
    return (place >= low) & (place < high)


def folded(subjects: Sequence[str], split: str) -> NDArray[np.bool_]:
    """Choose the rows of `all`, of `foldK` (K in 0-4) or of `not foldK`; nobody is in two folds: (N,)."""
    require("split", split, FOLD_SPLITS)
    order = sorted(set(subjects), key=share)
    fold_of = {subject: position % FOLDS for position, subject in enumerate(order)}
    return in_fold(np.array([fold_of[subject] for subject in subjects]), split)


def in_fold(folds: NDArray[np.int64], split: str) -> NDArray[np.bool_]:
    """Choose the rows of `all`, `foldK` or `not foldK` by their fold: (N,)."""
    if split == "all":
        return np.ones(len(folds), bool)
    inside: NDArray[np.bool_] = folds == int(split[-1])
    return ~inside if split.startswith("not ") else inside


def stratified_fifth(labels: NDArray[np.int64], keys: Sequence[str]) -> NDArray[np.bool_]:
    """Choose a fifth of each class (rounded down), the rows of the lowest hashes: (N,)."""
    places = np.array([share(key) for key in keys])
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen[rows[np.argsort(places[rows], kind="stable")][: len(rows) // 5]] = True
    return chosen
