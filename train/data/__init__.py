"""Data sets: every loader of `sets` returns a `FaceSet` with the emotions in one order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.emotions import EMOTIONS as EMOTIONS  # the order of all sets
from train.data.splits import portion, require, stratified_fifth

BASIC = EMOTIONS[:7]  # the classes of most sets: contempt is last, so the numbers stay the same


@dataclass(frozen=True)
class FaceSet:
    """Hold N faces as a struct of arrays.

    images: (N, H, W, C) uint8, grey (C = 1) or BGR (C = 3), or (N,) objects of (H, W, C) where sizes differ. labels:
    (N,) int64 index into `classes`, -1 where there is none or the label rule dropped the row. distribution: (N,
    classes) float32 label distribution, rows sum to 1 (all zero where there is none). leaked: (N,) bool, True where a
    pixel-identical picture stands in another split. subjects: (N,) who is seen, or None where nobody says. boxes: (N,
    4) float32 xyxy of the face in its picture, NaN where it is not known, or None where the picture is the face.
    landmarks: (N, 68, 2) float32 pixels, NaN where none were found, or None where nobody looked.
    """

    classes: tuple[str, ...]
    names: NDArray[np.str_]
    images: NDArray[Any]
    labels: NDArray[np.int64]
    distribution: NDArray[np.float32]
    leaked: NDArray[np.bool_]
    subjects: NDArray[np.str_] | None = None
    boxes: NDArray[np.float32] | None = None
    landmarks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.images)
        for name, value in self._columns().items():
            if value is not None and len(value) != n:
                raise ValueError(f"FaceSet.{name}: expected {n} rows as in images, found {len(value)}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> FaceSet:
        columns: dict[str, Any] = {name: _at(value, rows) for name, value in self._columns().items()}
        return replace(self, **columns)

    def _columns(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)[1:]}


def _at(column: Any, rows: Any) -> Any:
    return None if column is None else column[rows]


def labelled(
    classes: tuple[str, ...],
    names: list[str],
    images: NDArray[Any],
    labels: NDArray[np.int64] | list[int],
    **columns: Any,
) -> FaceSet:
    """Build a set with one hard label a row, -1 for none; `columns` are further fields of `FaceSet`."""
    wanted = np.asarray(labels, np.int64)
    distribution = np.eye(len(classes), dtype=np.float32)[wanted] * (wanted >= 0)[:, None]
    columns.setdefault("leaked", np.zeros(len(wanted), bool))
    return FaceSet(classes, np.array(names, np.str_), images, wanted, distribution, **columns)


Loader = Callable[[Path, str, str], FaceSet]
LOADERS = {
    "fer": "train.data.sets.fer:load",
    "fer2013": "train.data.sets.fer2013:load",
    "ferplus": "train.data.sets.ferplus:load",
    "rafdb": "train.data.sets.rafdb:load",
    "expw": "train.data.sets.expw:load",
    "sfew": "train.data.sets.sfew:load",
    "rafd_front": "train.data.sets.rafd:load_front",
    "rafd_pose": "train.data.sets.rafd:load_pose",
    "ckplus": "train.data.sets.ckplus:load",
    "jaffe": "train.data.sets.jaffe:load",
    "happei": "train.data.sets.happei:load",
    "lfw": "train.data.sets.lfw:load",
    "utkface": "train.data.sets.utkface:load",
    "ytf": "train.data.sets.ytf:load",
    "folder": "train.data.sets.folder:load",
}


def part_of(rows: FaceSet, part: str) -> NDArray[np.bool_]:
    """Choose the rows of `tenth` or `rest`, nobody on both sides, or of `fifth` or `others`, by class: (N,)."""
    require("part of a split", part, ("tenth", "rest", "fifth", "others"))
    if part in ("tenth", "rest"):
        return portion(rows.names if rows.subjects is None else rows.subjects, part)
    fifth = stratified_fifth(rows.labels, rows.names.tolist())
    return fifth if part == "fifth" else ~fifth


def load(name: str, path: Path, split: str, labels: str) -> FaceSet:
    """Load one split of a data set laid out as `docs/data.md` says.

    split: one that the loader knows; `SPLIT:tenth` is a tenth of it, drawn by a hash of the subjects (of the names
    where there are none), and `SPLIT:rest` the others, for sets that have no split to choose on. `SPLIT:fifth` and
    `SPLIT:others` divide it by the names, class by class, for sets that have none to report on. A part is divided like
    a split: `train:others:tenth`.
    Raises UserError for an unknown set, split, label rule or row, OSError where a file is missing.
    """
    if name not in LOADERS:
        raise UserError(f"unknown data set '{name}': expected one of {', '.join(sorted(LOADERS))}")
    module, function = LOADERS[name].split(":")
    loader: Loader = getattr(import_module(module), function)
    whole, *parts = split.split(":")
    found = loader(path, whole, labels)
    for part in parts:
        found = found[part_of(found, part)]
    if not len(found):
        raise UserError(f"{path}: split '{split}' of '{name}' is empty")
    return found
