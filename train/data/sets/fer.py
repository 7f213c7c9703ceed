"""FER2013 pictures with FER+ votes: `fer-*.parquet` with name, split, png, votes and label columns.

Votes count ten taggers over eight emotions, 'unknown' and 'not a face' (Barsoum et al. 2016). Label rules:
`ferplus_seed` reproduces the rows of Lian et al. Table 1, `ferplus_majority` keeps rows with a strict majority,
`fer2013` holds the seven classes of the original challenge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import BASIC, EMOTIONS, FaceSet, labelled
from train.data.labels import label_distribution
from train.data.pictures import decode, pack, report_unreadable
from train.data.splits import require

SPLITS = ("train", "public", "private")
RULES = ("ferplus_seed", "ferplus_majority", "fer2013")
# The challenge numbers its classes angry, disgust, fear, happy, sad, surprise, neutral.
FER2013_TO_EMOTIONS = np.array([4, 5, 6, 1, 3, 2, 0])


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load one split; images are (N, 48, 48, 1) uint8."""
    require("split", split, SPLITS)
    require("label rule", labels, RULES)
    rows = _read(path, split, labels)
    pictures = [decode(png, colour=False) for png in rows["png"]]
    readable = np.array([picture is not None for picture in pictures], bool)
    report_unreadable([name for name, good in zip(rows["name"], readable, strict=True) if not good], len(readable))
    images = pack([picture for picture in pictures if picture is not None])
    names = [name for name, good in zip(rows["name"], readable, strict=True) if good]
    wanted = np.array(rows[labels], np.int64)[readable]
    leaked = np.array(rows["private_dup_elsewhere"], bool)[readable]
    if labels == "fer2013":
        return labelled(BASIC, names, images, FER2013_TO_EMOTIONS[wanted], leaked=leaked)
    votes: NDArray[np.float32] = np.array(rows["votes"], np.float32).reshape(-1, 10)[readable]
    return FaceSet(EMOTIONS, np.array(names, np.str_), images, wanted, label_distribution(votes), leaked)


def _read(path: Path, split: str, labels: str) -> dict[str, list[Any]]:
    import pyarrow.parquet as parquet

    files = sorted(path.glob("fer-*.parquet"))
    if not files:
        raise FileNotFoundError(f"{path}: expected fer-*.parquet, found none; set data.path to their folder")
    columns = ["name", "split", "png", "votes", labels, "private_dup_elsewhere"]
    tables = []
    for file in files:
        missing = set(columns) - set(parquet.read_schema(file).names)
        if missing:
            raise UserError(f"{file}: missing column {', '.join(sorted(missing))}")
        tables.append(parquet.read_table(file, columns=columns, filters=[("split", "=", split)]).to_pydict())
    return {column: [value for table in tables for value in table[column]] for column in columns}
