"""ExpW: `label/label.lst` and the photos of `image/origin/`; a row is one face of a photo.

A line holds name, face id, top, left, right, bottom, confidence, label. Rules: `confident` keeps faces with a
confidence above 60, as Lian et al. do, `all` keeps every face.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.data import BASIC, FaceSet, labelled
from train.data.pictures import Picture, at_most, pack, read_picture, report_unreadable
from train.data.sets.fer import FER2013_TO_EMOTIONS  # ExpW numbers the classes in the same order
from train.data.splits import require, stratified_fifth
from train.data.tables import first_existing, whole_number

CONFIDENCE = {"confident": 60.0, "all": -np.inf}
AROUND = 0.5  # of the face box's longer side, kept on every side of it
LONGEST = 256  # pixels of a kept cut-out


@dataclass(frozen=True)
class Row:
    """Hold one line of the list; box: xyxy in pixels of the photo."""

    photo: str
    face: str
    box: tuple[int, int, int, int]
    confidence: float
    label: int


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load `train` or `test`, 4:1 of each class; images are BGR cut-outs around each face, boxes lie in them."""
    require("split", split, ("train", "test"))
    require("label rule", labels, tuple(CONFIDENCE))
    listed = read_list(first_existing(path, ("label/label.lst", "label.lst")))
    rows = [row for row in listed if row.confidence > CONFIDENCE[labels]]
    names = [f"{row.photo}#{row.face}" for row in rows]
    test = stratified_fifth(np.array([row.label for row in rows], np.int64), names)
    chosen = np.flatnonzero(test if split == "test" else ~test)
    folder = first_existing(path, ("image/origin", "origin", "image"))
    found = list(zip(chosen, _cut_out(folder, [rows[i] for i in chosen]), strict=True))
    report_unreadable([rows[i].photo for i, part in found if part is None], len(chosen))
    parts = [(i, *part) for i, part in found if part is not None]
    boxes = np.array([box for _, _, box in parts], np.float32).reshape(-1, 4)
    images = pack([picture for _, picture, _ in parts])
    return labelled(BASIC, [names[i] for i, *_ in parts], images, [rows[i].label for i, *_ in parts], boxes=boxes)


def read_list(file: Path) -> Iterator[Row]:
    """Yield the rows of `label.lst`. Raises UserError that names the line of a wrong one."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        source, parts = f"{file}, line {number}", line.split()
        if not parts:
            continue
        if len(parts) != 8:
            raise UserError(f"{source}: expected 8 columns (name, id, box, confidence, label), found {len(parts)}")
        top, left, right, bottom = (whole_number(part, -(10**6), 10**6, source) for part in parts[2:6])
        if right <= left or bottom <= top:
            raise UserError(f"{source}: expected top < bottom and left < right, found {' '.join(parts[2:6])}")
        try:
            confidence = float(parts[6])
        except ValueError as error:
            raise UserError(f"{source}: expected a confidence, found '{parts[6]}'") from error
        label = int(FER2013_TO_EMOTIONS[whole_number(parts[7], 0, 6, f"{source}, label")])
        yield Row(parts[0], parts[1], (left, top, right, bottom), confidence, label)


def _cut_out(folder: Path, rows: list[Row]) -> list[tuple[Picture, NDArray[np.float32]] | None]:
    """Cut each face with its surroundings; a photo is read once for its faces, which follow each other in the list."""
    found: list[tuple[Picture, NDArray[np.float32]] | None] = []
    name, photo = "", None
    for row in rows:
        if row.photo != name:
            name, photo = row.photo, read_picture(folder / row.photo, colour=True)
        found.append(None if photo is None else around_box(photo, np.array(row.box, np.float32)))
    return found


def around_box(photo: Picture, box: NDArray[np.float32]) -> tuple[Picture, NDArray[np.float32]] | None:
    """Cut a box and its surroundings out of a photo, at most 256 pixels long; return it and the box within."""
    height, width = photo.shape[:2]
    reach = AROUND * float(max(box[2:] - box[:2]))
    left, top = np.floor(np.maximum(box[:2] - reach, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(box[2:] + reach, (width, height))).astype(int)
    if right <= left or bottom <= top:
        return None
    part = photo[top:bottom, left:right]
    small = at_most(LONGEST)(part).copy()
    scale = np.array([small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]], np.float32)
    return small, ((box.reshape(2, 2) - (left, top)) * scale).reshape(4).astype(np.float32)
