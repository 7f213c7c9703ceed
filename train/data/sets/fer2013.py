"""FER2013 as the challenge published it: `fer2013.csv` (emotion, pixels, Usage) or `icml_face_data.csv`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import BASIC, FaceSet, labelled
from train.data.sets.fer import FER2013_TO_EMOTIONS, SPLITS
from train.data.splits import require
from train.data.tables import first_existing, read_rows, whole_number

FILES = ("fer2013.csv", "icml_face_data.csv")
USAGES = {"Training": "train", "PublicTest": "public", "PrivateTest": "private"}
SIDE = 48


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load one split with the seven labels of the challenge; images are (N, 48, 48, 1) uint8."""
    require("split", split, SPLITS)
    require("label rule", labels, ("fer2013",))
    file = first_existing(path, FILES)
    names, images, wanted, texts = [], [], [], []
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    for number, (line, row) in enumerate(read_rows(file, ("emotion", "pixels", "Usage"))):
        source = f"{file}, line {line}"
        usage = split_of(row["Usage"], source)
        splits_of[row["pixels"]].add(usage)
        if usage == split:
            names.append(picture_name(number))
            images.append(parse_pixels(row["pixels"], source))
            wanted.append(int(FER2013_TO_EMOTIONS[whole_number(row["emotion"], 0, 6, f"{source}, emotion")]))
            texts.append(row["pixels"])
    leaked = np.array([len(splits_of[text]) > 1 for text in texts], bool)
    pictures = np.stack(images) if images else np.zeros((0, SIDE, SIDE, 1), np.uint8)
    return labelled(BASIC, names, pictures, wanted, leaked=leaked)


def picture_name(number: int) -> str:
    """Name the row of this number, from 0, as FER+ does."""
    return f"fer{number:07d}.png"


def split_of(usage: str, source: str) -> str:
    """Return our name of a Usage cell. Raises UserError for an unknown one."""
    if usage not in USAGES:
        raise UserError(f"{source}, Usage: expected one of {', '.join(USAGES)}, found '{usage}'")
    return USAGES[usage]


def parse_pixels(text: str, source: str) -> NDArray[np.uint8]:
    """Read 48 x 48 grey values separated by spaces as (48, 48, 1)."""
    try:
        values = bytes(map(int, text.split()))
    except ValueError as error:
        raise UserError(f"{source}, pixels: expected numbers in 0-255: {error}") from error
    if len(values) != SIDE * SIDE:
        raise UserError(f"{source}, pixels: expected {SIDE * SIDE} numbers, found {len(values)}")
    return np.frombuffer(values, np.uint8).reshape(SIDE, SIDE, 1)
