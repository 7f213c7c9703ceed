"""UTKFace (Zhang et al. 2017): `<age>_<gender>_<race>_<date>*.jpg`, without expressions, to compare groups.

The faces are aligned and cut out by the set's authors.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet, labelled
from train.data.pictures import list_pictures, read_pictures
from train.data.splits import require
from train.data.tables import whole_number

GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "other")
OLDEST = 116


class Person(NamedTuple):
    """Hold what the set's authors say of a face."""

    age: int
    gender: str
    race: str


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load all faces, BGR; every label is -1, and the names say who is seen (`person`)."""
    require("split", split, ("all",))
    require("label rule", labels, ("none",))
    files = list_pictures(path)
    for file in files:
        person(file.name, str(file))
    images, readable = read_pictures(files, colour=True)
    names = [files[i].name for i in np.flatnonzero(readable)]
    return labelled(EMOTIONS, names, images, [-1] * len(names))


def person(name: str, source: str) -> Person:
    """Read who is seen from a file's name. Raises UserError that names the source."""
    parts = name.split("_")
    if len(parts) < 4:
        raise UserError(f"{source}: expected a name like 25_0_2_20170116174525125.jpg, found {name}")
    limits = (("age", OLDEST), ("gender", len(GENDERS) - 1), ("race", len(RACES) - 1))
    age, gender, race = (
        whole_number(part, 0, most, f"{source}, {what}") for part, (what, most) in zip(parts, limits, strict=False)
    )
    return Person(age, GENDERS[gender], RACES[race])
