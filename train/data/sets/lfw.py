"""LFW (Huang et al. 2007), without labels: `<Person>/<Person>_0001.jpg`, or `*.parquet` with name and jpg columns.

Splits: `all`, or train, validation and test, 8:1:1 by person.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet, labelled
from train.data.pictures import decode, list_pictures, pack, read_pictures, report_unreadable
from train.data.splits import DRAWN, drawn, require


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load photos of one face each, whose place has to be found; every label is -1. Files are BGR, parquet is grey."""
    require("split", split, ("all", *DRAWN))
    require("label rule", labels, ("none",))
    tables = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    return _read_tables(tables, split) if tables else _read_folder(path, split)


def _read_folder(path: Path, split: str) -> FaceSet:
    files = [file for file in list_pictures(path) if split == "all" or drawn([file.parent.name], split)[0]]
    images, readable = read_pictures(files, colour=True)
    kept = [files[i] for i in np.flatnonzero(readable)]
    return _unlabelled([file.name for file in kept], [file.parent.name for file in kept], images)


def _read_tables(tables: list[Path], split: str) -> FaceSet:
    import pyarrow.parquet as parquet

    names, pictures, unreadable = [], [], []
    for table in tables:
        if not table.is_file():
            raise FileNotFoundError(f"{table}: expected a folder of people or a parquet file, found neither")
        missing = {"name", "jpg"} - set(parquet.read_schema(table).names)
        if missing:
            raise UserError(f"{table}: missing column {', '.join(sorted(missing))}")
        rows = parquet.read_table(table, columns=["name", "jpg"]).to_pydict()
        for name, content in zip(rows["name"], rows["jpg"], strict=True):
            if split != "all" and not drawn([_person(name)], split)[0]:
                continue
            picture = decode(content, colour=False)
            if picture is None:
                unreadable.append(name)
            else:
                names.append(name)
                pictures.append(picture)
    report_unreadable(unreadable, len(names) + len(unreadable))
    return _unlabelled(names, [_person(name) for name in names], pack(pictures))


def _person(name: str) -> str:
    return re.sub(r"_\d+\.\w+$", "", name)


def _unlabelled(names: list[str], people: list[str], images: NDArray[Any]) -> FaceSet:
    boxes = np.full((len(names), 4), np.nan, np.float32)
    return labelled(EMOTIONS, names, images, [-1] * len(names), subjects=np.array(people, np.str_), boxes=boxes)
