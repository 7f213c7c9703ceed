"""RAF-DB, basic emotions: `{train,test}_labels.csv` (image, label) and 100x100 pictures in `{train,test}/<label>/`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.data import BASIC, FaceSet, labelled
from train.data.pictures import read_pictures
from train.data.splits import require
from train.data.tables import first_existing, read_rows, whole_number

# The set numbers its classes from 1: surprise, fear, disgust, happiness, sadness, anger, neutral.
RAFDB_TO_EMOTIONS = np.array([2, 6, 5, 1, 3, 4, 0])


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load `train` or `test`; images are (N, 100, 100, 3) uint8 BGR, aligned by the set's authors."""
    require("split", split, ("train", "test"))
    require("label rule", labels, ("basic",))
    table = path / f"{split}_labels.csv"
    names, files, wanted = [], [], []
    for line, row in read_rows(table, ("image", "label")):
        number = whole_number(row["label"], 1, len(BASIC), f"{table}, line {line}, label")
        names.append(row["image"])
        files.append((number, row["image"]))
        wanted.append(int(RAFDB_TO_EMOTIONS[number - 1]))
    folder = first_existing(path, (split, f"DATASET/{split}"))
    images, readable = read_pictures([folder / str(number) / name for number, name in files], colour=True)
    kept = np.flatnonzero(readable)
    return labelled(BASIC, [names[i] for i in kept], images, np.array(wanted, np.int64)[kept])
