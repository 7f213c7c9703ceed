"""JAFFE (Lyons et al. 1998): 256x256 grey photos of ten women, `KA.AN1.39.tiff`: person, emotion and count, number.

Splits: `all`, `foldK` and `not foldK`, K in 0-4, by person.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from engines.errors import UserError
from train.data import BASIC, FaceSet, labelled
from train.data.pictures import list_pictures, read_pictures
from train.data.splits import folded, require

NAME = re.compile(r"([A-Z]{2})\.([A-Z]{2})\d?\.\d+")
CODES = {"NE": 0, "HA": 1, "SU": 2, "SA": 3, "AN": 4, "DI": 5, "FE": 6}


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load a fold; images are (N, 256, 256, 1) uint8 in which the face has to be found."""
    require("label rule", labels, ("basic",))
    files = list_pictures(path)
    matches = [_parse(file) for file in files]
    people = [match[1] for match in matches]
    chosen = np.flatnonzero(folded(people, split))
    images, readable = read_pictures([files[i] for i in chosen], colour=False)
    kept = chosen[readable]
    wanted = [CODES[matches[i][2]] for i in kept]
    boxes = np.full((len(kept), 4), np.nan, np.float32)
    names = [files[i].name for i in kept]
    return labelled(BASIC, names, images, wanted, subjects=np.array(people, np.str_)[kept], boxes=boxes)


def _parse(file: Path) -> re.Match[str]:
    match = NAME.fullmatch(file.stem)
    if not match:
        raise UserError(f"{file}: expected a name like KA.AN1.39.tiff (person, emotion, number)")
    if match[2] not in CODES:
        raise UserError(f"{file}: unknown label '{match[2]}': expected one of {', '.join(CODES)}")
    return match
