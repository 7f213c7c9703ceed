"""HAPPEI (Dhall et al. 2015): group photos with the intensity of their happiness, 0 to 5.

`labels.csv` (image, intensity) stands beside the folder `images`. Photos are read whole and in colour, for the fully
convolutional networks; the classes are the six intensities.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.data import FaceSet, labelled
from train.data.pictures import at_most, read_pictures
from train.data.splits import DRAWN, drawn, require
from train.data.tables import read_rows, whole_number

INTENSITIES = ("neutral", "small smile", "large smile", "small laugh", "large laugh", "thrilled")
LONGEST = 1024  # pixels of a kept photo


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load `all`, or train, validation or test, 8:1:1; images are BGR photos of their own sizes."""
    require("split", split, ("all", *DRAWN))
    require("label rule", labels, ("intensity",))
    table = path / "labels.csv"
    rows = [
        (row["image"], whole_number(row["intensity"], 0, 5, f"{table}, line {line}, intensity"))
        for line, row in read_rows(table, ("image", "intensity"))
    ]
    if split != "all":
        chosen = drawn([name for name, _ in rows], split)
        rows = [row for row, inside in zip(rows, chosen, strict=True) if inside]
    images, readable = read_pictures([path / "images" / name for name, _ in rows], colour=True, change=at_most(LONGEST))
    kept = [rows[i] for i in np.flatnonzero(readable)]
    return labelled(INTENSITIES, [name for name, _ in kept], images, [intensity for _, intensity in kept])
