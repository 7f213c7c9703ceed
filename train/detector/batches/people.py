"""Pictures whose faces people marked, and pictures that people called empty: a folder with `boxes.csv`.

Columns: picture, labels (human, yunet, none), class, x, y, w, h. Every fifth picture by the hash of its name is for
judging and is not read here.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import areas, iou, shared
from streamer.types import Detections

Boxes = NDArray[np.float32]

# From what people drew to the canonical box: shift of the centre in shares of the sides, gain of the sides (x, y).
# Medians against YuNet's boxes of 542 and 102 faces; the second set's vary by a fifth.
TO_FACE = {"facemask853": (0.02, -0.11, 0.955, 1.115), "maskwear_gray": (0.01, 0.05, 0.83, 0.70)}
SAME = 0.4  # IoU from which a teacher's box and a person's are of one face
# So they are where this share of the smaller one lies in the other, which is so many times larger at most: people's
# boxes are loose.
WITHIN, LOOSE = 0.8, 4.0
DOUBTED = 0.5  # score of a teacher from which a face that people did not mark is disputed
JUDGED, HELD = 5, 10  # one picture of so many is for judging; one of so many of the rest for validation


def marked(folder: Path, labels: tuple[str, ...], sets: tuple[str, ...] = ()) -> Iterator[tuple[str, Boxes]]:
    """Yield the names of pictures of the given kinds of labels, not for judging, with the (N, 4) boxes as drawn.

    sets: the first parts of their names; all of them unless said. Raises FileNotFoundError where there is no table.
    """
    table = folder / "boxes.csv"
    if not table.is_file():
        raise FileNotFoundError(f"{table}: expected the table of marked faces; is data.root right?")
    found: dict[str, list[list[float]]] = {}
    with table.open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            if row["labels"] in labels and (not sets or row["picture"].split("/")[0] in sets):
                boxes = found.setdefault(row["picture"], [])
                if row["x"]:
                    x, y, width, height = (float(row[key]) for key in ("x", "y", "w", "h"))
                    boxes.append([x, y, x + width, y + height])
    for name in sorted(found):
        if number_of(name) % JUDGED:
            yield name, np.array(found[name], np.float32).reshape(-1, 4)


def number_of(name: str) -> int:
    """Return the number that says what a picture is for."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16)


def is_held(name: str) -> bool:
    """Keep every tenth of the pictures that may be trained on for validation."""
    return number_of(name) // JUDGED % HELD == 0


def canonical(boxes: Boxes, name: str) -> Boxes:
    """Turn (N, 4) boxes as people drew them in the set of a picture into canonical ones."""
    shift_x, shift_y, wide, high = TO_FACE[name.split("/", maxsplit=1)[0]]
    sides = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 + sides * np.array([shift_x, shift_y], np.float32)
    half = sides * np.array([wide, high], np.float32) / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def settle(people: Boxes, faces: Detections, agreed: NDArray[np.bool_]) -> tuple[Boxes, Boxes, NDArray[np.bool_]]:
    """Put what people marked, as canonical boxes, and what teachers see together: boxes, points and (N,) sure.

    A marked face is sure; it takes box and points of the teachers' where they see it, else its points are NaN. What
    only teachers see is as sure as they agree, and nothing where they themselves are in doubt.
    """
    assert faces.landmarks is not None
    fits = _fits(people, faces.boxes)
    boxes, points = people.copy(), np.full((len(people), 5, 2), np.nan, np.float32)
    free = np.ones(len(faces), bool)
    for row in range(len(people)):
        best = int(np.argmax(np.where(free, fits[row], 0))) if free.any() else 0
        if free.any() and fits[row, best] >= SAME:
            boxes[row], points[row], free[best] = faces.boxes[best], faces.landmarks[best], False
    free &= ~(fits >= SAME).any(axis=0)  # a second answer to a marked face is none
    free &= agreed | (faces.scores >= DOUBTED)
    sure = np.concatenate([np.ones(len(people), bool), agreed[free]])
    return np.concatenate([boxes, faces.boxes[free]]), np.concatenate([points, faces.landmarks[free]]), sure


def _fits(people: Boxes, faces: Boxes) -> NDArray[np.float32]:
    """Return the (N, M) IoU of boxes, at least `SAME` where one lies within the other."""
    small = np.minimum(areas(people)[:, None], areas(faces))
    large = np.maximum(areas(people)[:, None], areas(faces))
    within = (shared(people, faces) >= WITHIN * small) & (large <= LOOSE * small)
    return np.where(within, np.maximum(iou(people, faces), SAME), iou(people, faces)).astype(np.float32)
