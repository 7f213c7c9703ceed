"""YouTube-Faces frames with 68 landmarks: `*.parquet` with name, jpg and points columns, or one such file.

Names are `<person>_<frame>.jpg`. Splits: `all`, or train, validation and test, 8:1:1 by person; the split column of the
published table shares people and is not used.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet, labelled
from train.data.pictures import decode, pack, report_unreadable
from train.data.splits import DRAWN, drawn, require

COLUMNS = ["name", "jpg", "points"]


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load grey frames of one face each with its landmarks; every expression label is -1."""
    import pyarrow.parquet as parquet

    require("split", split, ("all", *DRAWN))
    require("label rule", labels, ("none",))
    names, pictures, points, unreadable = [], [], [], []
    tables = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    for table in tables:
        if not table.is_file():
            raise FileNotFoundError(f"{table}: expected a parquet file of frames with landmarks, found none")
        missing = set(COLUMNS) - set(parquet.read_schema(table).names)
        if missing:
            raise UserError(f"{table}: missing column {', '.join(sorted(missing))}")
        rows = parquet.read_table(table, columns=COLUMNS).to_pydict()
        for name, content, given in zip(*(rows[column] for column in COLUMNS), strict=True):
            if split != "all" and not drawn([person(name)], split)[0]:
                continue
            picture = decode(content, colour=False)
            if picture is None or len(given) != 136:
                unreadable.append(name)
            else:
                names.append(name)
                pictures.append(picture)
                points.append(np.array(given, np.float32).reshape(68, 2))
    report_unreadable(unreadable, len(names) + len(unreadable))
    landmarks = np.stack(points) if points else np.zeros((0, 68, 2), np.float32)
    people = np.array([person(name) for name in names], np.str_)
    return labelled(EMOTIONS, names, pack(pictures), [-1] * len(names), subjects=people, landmarks=landmarks)


def person(name: str) -> str:
    """Return whom a frame or photo shows: its name without number and suffix."""
    return re.sub(r"_\d+\.\w+$", "", name)
