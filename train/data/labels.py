"""The words of the sets for the emotions, and what the taggers of FER+ voted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.emotions import EMOTIONS, KNOWN
from train.data import FaceSet

INDEX = {word: number for number, (name, one) in enumerate(KNOWN.items()) for word in (name, *one.words)}
VOTED = 8  # columns of the votes that are emotions; 'unknown' and 'not a face' follow


def emotion(word: str, source: str) -> int:
    """Return the index of an emotion. Raises UserError that names the source of an unknown word."""
    if word.lower() not in INDEX:
        raise UserError(f"{source}: unknown label '{word}': expected one of {', '.join(INDEX)}")
    return INDEX[word.lower()]


def renamed(rows: FaceSet, names: Mapping[str, str | None], place: str) -> FaceSet:
    """Number a set's labels as the emotions, some of them by another name; rows of a name of None have no label.

    Raises UserError that names the place for a label that is no emotion, or a name that the set has not.
    """
    if strange := sorted(set(names) - set(rows.classes)):
        raise UserError(f"{place}: its map names '{strange[0]}': expected labels of the set, {', '.join(rows.classes)}")
    wanted = [names.get(name, name) for name in rows.classes]
    if unknown := [name for name in wanted if name is not None and name not in EMOTIONS]:
        raise UserError(f"{place}: unknown label '{unknown[0]}': expected {', '.join(EMOTIONS)}, or a line in its map")
    classes = tuple(name for name in EMOTIONS if name in wanted)
    numbers = np.array([*(-1 if name is None else classes.index(name) for name in wanted), -1])  # -1 stays -1
    distribution = np.zeros((len(rows), len(classes)), np.float32)
    for column, number in enumerate(numbers[:-1]):
        if number >= 0:
            distribution[:, number] += rows.distribution[:, column]
    distribution /= np.maximum(distribution.sum(axis=1, keepdims=True), 1e-9)
    return replace(rows, classes=classes, labels=numbers[rows.labels], distribution=distribution)


def label_distribution(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (N, 10) votes into (N, 8) distributions; all zero where 'unknown' or 'not a face' leads.

    Single votes are taken for slips and zeroed, as in Barsoum et al. (2016).
    """
    kept = np.where(votes > 1, votes, 0)
    emotions = kept[:, :VOTED]
    usable = emotions.max(axis=1) > kept[:, VOTED:].max(axis=1)
    shares = emotions / np.maximum(emotions.sum(axis=1, keepdims=True), 1)
    return np.where(usable[:, None], shares, 0).astype(np.float32)


def majority_labels(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Label (N, 10) votes by the emotion with more than half of the votes left, -1 where there is none."""
    kept = np.where(votes > 1, votes, 0)
    top = kept.argmax(axis=1)
    clear = 2 * kept.max(axis=1) > kept.sum(axis=1)
    return np.where(clear & (top < VOTED), top, -1)


def seed_labels(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Label (N, 10) votes as the rows of Lian et al. (2020), Table 1, were chosen, -1 for a dropped row."""
    return np.array([_seed_label(np.where(row > 1, row, 0)) for row in votes], np.int64)


def _seed_label(votes: NDArray[np.int64]) -> int:
    """Take classes from the top, ties together, until 0.75 of the votes or three classes.

    'Unknown' and 'not a face' end the taking. The row stays if more than half of the votes and at most two emotions
    were taken.
    """
    rest, held = votes.copy(), 0
    taken: list[int] = []
    while held < 0.75 * votes.sum() and len(taken) < 3:
        ties = np.flatnonzero(rest == rest.max())
        emotions = ties[ties < VOTED]
        taken += emotions.tolist()
        held += int(votes[emotions].sum())
        if len(emotions) < len(ties):
            break
        rest[ties] = 0
    return taken[0] if 2 * held > votes.sum() and 1 <= len(taken) <= 2 else -1
