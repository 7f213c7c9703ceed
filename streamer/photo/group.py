"""What a group of faces shows together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamer.emotions import HAPPINESS, UNCERTAIN
from streamer.types import Expression, Face

HAPPEI_TOP = 5  # Dhall et al. 2015: neutral, small smile, large smile, small laugh, large laugh, thrilled


@dataclass(frozen=True)
class Group:
    """Sum up the faces of one photo.

    faces: all that were found. The rest is of those that could be judged. counts: faces by label, the most frequent
    first. shares: of each label, each face weighted by its confidence, sum to 1. happiness: mean probability of
    happiness, weighted by the reliability of the answers, 0-100, or None without any. happei: the same on HAPPEI's
    scale, 0 (neutral) to 5 (thrilled); both are None where the network knows no happiness. agreement: how likely two
    faces picked at random show the same emotion, 0-1; those that are uncertain are not picked, and for fewer than two
    others it is None.
    """

    faces: int
    counts: Mapping[str, int]
    shares: Mapping[str, float]
    happiness: float | None
    happei: float | None
    agreement: float | None


def sum_up(faces: Sequence[Face]) -> Group:
    """Sum up faces; those that nobody could judge are counted but show nothing."""
    read = [face.expression for face in faces if face.expression and face.expression.judged]
    counts = Counter(one.label for one in read)
    weights: Counter[str] = Counter()
    for one in read:
        weights[one.label] += one.confidence  # type: ignore[assignment]  # a Counter of floats
    total = sum(weights.values())
    happiness = _happiness(read)
    shown = [count for label, count in counts.items() if label != UNCERTAIN]
    pairs = sum(shown) * (sum(shown) - 1)
    return Group(
        faces=len(faces),
        counts=dict(counts.most_common()),
        shares={label: weights[label] / total for label, _ in counts.most_common()} if total else {},
        happiness=happiness,
        happei=None if happiness is None else happiness * HAPPEI_TOP / 100,
        agreement=sum(n * (n - 1) for n in shown) / pairs if pairs else None,
    )


def _happiness(read: Sequence[Expression]) -> float | None:
    """Weigh by reliability; where it was not measured for an answer, by the mean of the others (1 without any)."""
    read = [one for one in read if HAPPINESS in one.probabilities]
    if not read:
        return None
    known = [one.reliability for one in read if one.reliability is not None]
    usual = sum(known) / len(known) if known else 1.0
    weights = [usual if one.reliability is None else one.reliability for one in read]
    total = sum(weights)
    if not total:
        return None
    return 100 * sum(w * one.probabilities[HAPPINESS] for w, one in zip(weights, read, strict=True)) / total
