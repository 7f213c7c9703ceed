"""What a network answers about groups of people (UTKFace): without labels, how often and how surely it gives each.

The pictures are not alike in what they show (people smile more in some), so a difference is a question, not yet an
error. Adults stand apart: faces of children differ by more than their expression.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.data import FaceSet
from train.data.sets.utkface import GENDERS, RACES, Person, person
from train.expression.scores import Z, wilson
from train.markdown import table

ADULT = 18  # years
BANDS = ((0, 2), (3, 9), (10, 17), (18, 29), (30, 49), (50, 69), (70, 200))
FEW = 20  # faces; smaller groups say nothing


def write(name: str, probabilities: NDArray[np.float32], labels: Sequence[str], rows: FaceSet, folder: Path) -> None:
    """Write `groups.md` and `.json`: shares and mean probabilities of each label by gender, group and age.

    probabilities: (N, labels) of the rows of UTKFace, whose names say who is seen.
    """
    found = measure(probabilities, labels, [person(one, one) for one in rows.names.tolist()])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "groups.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    (folder / "groups.md").write_text(to_markdown(name, found, labels), encoding="utf-8")


def measure(
    probabilities: NDArray[np.float32], labels: Sequence[str], people: Sequence[Person]
) -> dict[str, dict[str, Any]]:
    """Return for each group of at least FEW people its size, and what is answered about it, by label."""
    answers = probabilities.argmax(axis=1)
    found = {}
    for name, members in groups(people).items():
        if members.sum() >= FEW:
            own = [_said(answers[members] == k, probabilities[members, k]) for k in range(len(labels))]
            found[name] = {"faces": int(members.sum()), "labels": dict(zip(labels, own, strict=True))}
    return found


def groups(people: Sequence[Person]) -> dict[str, NDArray[np.bool_]]:
    """Return who belongs to each group: adults by gender, by group and by both, and everybody by age."""
    ages = np.array([one.age for one in people])
    adult, gender, race = (
        ages >= ADULT,
        np.array([one.gender for one in people]),
        np.array([one.race for one in people]),
    )
    found = {"adults": adult}
    found |= {f"adults, {one}": adult & (gender == one) for one in GENDERS}
    found |= {f"adults, {one}": adult & (race == one) for one in RACES}
    found |= {f"adults, {g}, {r}": adult & (gender == g) & (race == r) for r in RACES for g in GENDERS}
    return found | {f"{low} to {high} years": (ages >= low) & (ages <= high) for low, high in BANDS}


def _said(answered: NDArray[np.bool_], probability: NDArray[np.float32]) -> dict[str, Any]:
    reach = Z * float(probability.std(ddof=1)) / np.sqrt(len(probability))
    mean = float(probability.mean())
    return {
        "share": float(answered.mean()),
        "share_interval": wilson(int(answered.sum()), len(answered)),
        "mean": mean,
        "mean_interval": (max(0.0, mean - reach), mean + reach),
    }


def to_markdown(name: str, found: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> str:
    """Write the shares, the mean probabilities, and how far groups of one gender lie apart."""
    parts = [
        f"# {name}: groups",
        "UTKFace, without labels: shares of the faces that are answered so, in percent, and mean probabilities, each "
        f"with its 95 % interval. Adults are {ADULT} years and older. Age, gender and group as the set's authors "
        "estimated them.",
    ]
    for key, title, scale, digits in (("share", "Shares", 100, 1), ("mean", "Mean probabilities", 1, 3)):
        lines = [
            (group, f"{one['faces']:,}", *(_cell(one["labels"][label], key, scale, digits) for label in labels))
            for group, one in found.items()
        ]
        parts += [f"## {title}", table(("group", "faces", *labels), lines)]
    parts += ["## Furthest apart", "Adults of one gender and group, by mean probability.", _apart(found, labels)]
    return "\n\n".join([*parts, ""])


def _cell(said: Mapping[str, Any], key: str, scale: float, digits: int) -> str:
    low, high = said[f"{key}_interval"]
    return f"{scale * said[key]:.{digits}f} ({scale * low:.{digits}f}-{scale * high:.{digits}f})"


def _apart(found: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> str:
    both = [group for group in found if group.count(",") == 2]
    lines = []
    for label in labels:
        if both:
            order = sorted(both, key=lambda group: found[group]["labels"][label]["mean"])
            ends = [(one, _cell(found[one]["labels"][label], "mean", 1, 3)) for one in (order[0], order[-1])]
            lines.append((label, *(f"{one.removeprefix('adults, ')}: {cell}" for one, cell in ends)))
    return table(("label", "lowest", "highest"), lines)
