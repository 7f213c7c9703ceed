"""Data sets, one file each; every loader returns a `FaceSet` with the emotions in one order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


@dataclass(frozen=True)
class FaceSet:
    """Hold N faces as a struct of arrays.

    images: (N, H, W, C) uint8, grey (C = 1) or BGR (C = 3). labels: (N,) int64 index into `classes`, -1 where the
    label rule dropped the row. distribution: (N, C) float32 label distribution, rows sum to 1 (all zero where there is
    none). leaked: (N,) bool, True where a pixel-identical picture stands in another split.
    """

    classes: tuple[str, ...]
    names: NDArray[np.str_]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    distribution: NDArray[np.float32]
    leaked: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.images)
        for field in fields(self)[1:]:
            if len(getattr(self, field.name)) != n:
                found = len(getattr(self, field.name))
                raise ValueError(f"FaceSet.{field.name}: expected {n} rows as in images, found {found}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> FaceSet:
        return FaceSet(self.classes, *(getattr(self, field.name)[rows] for field in fields(self)[1:]))


Loader = Callable[[Path, str, str], FaceSet]
LOADERS = {"fer": "train.data.fer:load"}


def load(name: str, path: Path, split: str, labels: str) -> FaceSet:
    """Load one split of a data set laid out as its loader documents.

    Raises ValueError for an unknown set, split, label rule or row, OSError where a file is missing.
    """
    if name not in LOADERS:
        raise ValueError(f"unknown data set '{name}': expected one of {', '.join(sorted(LOADERS))}")
    module, function = LOADERS[name].split(":")
    loader: Loader = getattr(import_module(module), function)
    found = loader(path, split, labels)
    if not len(found):
        raise ValueError(f"{path}: split '{split}' of '{name}' is empty")
    return found
