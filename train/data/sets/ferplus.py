"""FER+ as published: the votes of `fer2013new.csv` (Barsoum et al. 2016) joined row by row with `fer2013.csv`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet
from train.data.labels import label_distribution, majority_labels, seed_labels
from train.data.sets.fer import SPLITS
from train.data.sets.fer2013 import FILES, SIDE, parse_pixels, split_of
from train.data.splits import require
from train.data.tables import first_existing, read_rows, whole_number

VOTES = (*EMOTIONS, "unknown", "NF")
RULES = {"ferplus_seed": seed_labels, "ferplus_majority": majority_labels}


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load one split; images are (N, 48, 48, 1) uint8. Rows that FER+ removed, without a name, are left out."""
    require("split", split, SPLITS)
    require("label rule", labels, tuple(RULES))
    names, images, votes, texts = [], [], [], []
    splits_of: defaultdict[str, set[str]] = defaultdict(set)
    for source, row in _joined(path):
        usage = split_of(row["Usage"], source)
        if not row["Image name"]:
            continue
        splits_of[row["pixels"]].add(usage)
        if usage == split:
            names.append(row["Image name"])
            images.append(parse_pixels(row["pixels"], source))
            votes.append([whole_number(row[name], 0, 10, f"{source}, {name}") for name in VOTES])
            texts.append(row["pixels"])
    counts = np.array(votes, np.int64).reshape(-1, len(VOTES))
    pictures = np.stack(images) if images else np.zeros((0, SIDE, SIDE, 1), np.uint8)
    leaked = np.array([len(splits_of[text]) > 1 for text in texts], bool)
    distribution = label_distribution(counts.astype(np.float32))
    return FaceSet(EMOTIONS, np.array(names, np.str_), pictures, RULES[labels](counts), distribution, leaked)


def _joined(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of both files side by side. Raises UserError where they do not belong together."""
    votes_file, pixels_file = path / "fer2013new.csv", first_existing(path, FILES)
    votes = read_rows(votes_file, ("Usage", "Image name", *VOTES))
    pixels = read_rows(pixels_file, ("pixels", "Usage"))
    for left, right in zip_longest(votes, pixels):
        if left is None or right is None:
            raise UserError(f"{votes_file} and {pixels_file}: expected equally many rows, found more in one of them")
        (line, row), (_, picture) = left, right
        source = f"{votes_file}, line {line}"
        if row["Usage"] != picture["Usage"]:
            raise UserError(f"{source}: Usage is {row['Usage']}, but {picture['Usage']} in {pixels_file.name}")
        yield source, {**row, "pixels": picture["pixels"]}
