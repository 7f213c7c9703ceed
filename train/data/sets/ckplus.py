"""CK+48: 48x48 grey faces in `<emotion>/S010_004_00000017.png`, eight folders at most; the person is the name's start.

Splits: `all`, `foldK` and `not foldK`, K in 0-4, by person.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet, labelled
from train.data.labels import emotion
from train.data.pictures import list_pictures, read_pictures
from train.data.splits import folded, require

NAME = re.compile(r"(S\d+)_\d+_\d+")


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load a fold; images are (N, 48, 48, 1) uint8. Of the eight classes CK+48 has all but neutral."""
    require("label rule", labels, ("all",))
    files = list_pictures(path)
    people = [_person(file) for file in files]
    chosen = np.flatnonzero(folded(people, split))
    wanted = np.array([emotion(files[i].parent.name, str(files[i])) for i in chosen], np.int64)
    images, readable = read_pictures([files[i] for i in chosen], colour=False)
    kept = chosen[readable]
    names = [files[i].relative_to(path).as_posix() for i in kept]
    return labelled(EMOTIONS, names, images, wanted[readable], subjects=np.array(people, np.str_)[kept])


def _person(file: Path) -> str:
    match = NAME.fullmatch(file.stem)
    if not match:
        raise UserError(f"{file}: expected a name like S010_004_00000017.png, which begins with the person")
    return match[1]
