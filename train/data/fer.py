"""FER2013 pictures with FER+ votes: `fer-*.parquet` with name, split, png, votes and label columns.

Votes count ten taggers over eight emotions, 'unknown' and 'not a face' (Barsoum et al. 2016). Label rules:
`ferplus_seed` reproduces the rows of Lian et al. Table 1, `ferplus_majority` keeps rows with a strict majority,
`fer2013` holds the seven classes of the original challenge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data import EMOTIONS, FaceSet

SPLITS = ("train", "public", "private")
RULES = ("ferplus_seed", "ferplus_majority", "fer2013")
# The challenge numbers its classes angry, disgust, fear, happy, sad, surprise, neutral.
FER2013_TO_EMOTIONS = np.array([4, 5, 6, 1, 3, 2, 0])


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load one split; images are (N, 48, 48, 1) uint8."""
    import pyarrow.parquet as parquet

    if split not in SPLITS:
        raise ValueError(f"unknown split '{split}': expected one of {', '.join(SPLITS)}")
    if labels not in RULES:
        raise ValueError(f"unknown label rule '{labels}': expected one of {', '.join(RULES)}")
    files = sorted(path.glob("fer-*.parquet"))
    if not files:
        raise FileNotFoundError(f"{path}: expected fer-*.parquet, found none; set data.path to their folder")
    columns = ["name", "split", "png", "votes", labels, "dup_in_training", "private_dup_elsewhere"]
    tables = []
    for file in files:
        missing = set(columns) - set(parquet.read_schema(file).names)
        if missing:
            raise ValueError(f"{file}: missing column {', '.join(sorted(missing))}")
        tables.append(parquet.read_table(file, columns=columns, filters=[("split", "=", split)]).to_pydict())
    rows: dict[str, list[Any]] = {column: sum((table[column] for table in tables), []) for column in columns}
    votes = np.array(rows["votes"], np.float32).reshape(-1, 10)
    wanted = np.array(rows[labels], np.int64)
    if labels == "fer2013":
        wanted = FER2013_TO_EMOTIONS[wanted]
        distribution = np.eye(len(EMOTIONS), dtype=np.float32)[wanted]
    else:
        distribution = label_distribution(votes)
    return FaceSet(
        classes=EMOTIONS,
        names=np.array(rows["name"]),
        images=np.stack([_decode(png, name) for png, name in zip(rows["png"], rows["name"], strict=True)]),
        labels=wanted,
        distribution=distribution,
        leaked=np.array(rows["private_dup_elsewhere"], bool),
    )


def label_distribution(votes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (N, 10) votes into (N, 8) distributions; all zero where 'unknown' or 'not a face' leads.

    Single votes are taken for slips and zeroed, as in Barsoum et al. (2016).
    """
    kept = np.where(votes > 1, votes, 0)
    emotions = kept[:, :8]
    usable = emotions.max(axis=1) > kept[:, 8:].max(axis=1)
    return np.where(usable[:, None], emotions / np.maximum(emotions.sum(axis=1, keepdims=True), 1), 0).astype(np.float32)


def _decode(png: bytes, name: str) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise ValueError(f"row '{name}': not a readable picture")
    return np.asarray(image, np.uint8)[..., None]
