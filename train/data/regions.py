"""Rows as a network sees them: the region cut out of each picture by the code that serves, `streamer.faces.regions`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Crop
from streamer.faces.regions import crop, face_square, region_box
from train.config import Input
from train.data import FaceSet
from train.data.landmarks import locate
from train.data.pictures import at_most

# An aligned face: the eyes' distance in shares of the width of a 7:9 frame, their height in shares of the frame's.
EYES_APART, EYES_DOWN, FRAME = 0.4, 0.36, 7 / 9
FINER = 2  # an aligned picture has this many times the pixels of the input, so that a region is not cut out of a blur

Needs = Literal["nothing", "box", "landmarks"]


def needs(seen: Input) -> Needs:
    """Say what has to be found in a picture before it can be cut."""
    if seen.region != "face" or seen.align or seen.face_box == "landmarks":
        return "landmarks"
    return "box" if seen.face_box == "detector" else "nothing"


def located(rows: FaceSet, seen: Input, cache: Path) -> FaceSet:
    """Find in the rows what `as_seen` needs; a folder `cache` keeps it.

    Raises ImportError or OSError where landmarks are needed and the landmarker is not installed.
    """
    if needs(seen) == "nothing" or (needs(seen) == "landmarks" and rows.landmarks is not None):
        return rows
    if needs(seen) == "box":
        return locate(rows, cache, None)
    from streamer.faces.landmarks import DlibLandmarker

    return locate(rows, cache, DlibLandmarker())


def recipe(seen: Input) -> Crop:
    """Return what an artefact says of its crop.

    Raises ValueError for an input that serving cannot cut: an aligned one, or a face by its landmarks.
    """
    if seen.align or (seen.region == "face" and seen.face_box == "landmarks"):
        raise ValueError("input.align and input.face_box=landmarks are for comparison with the papers and cannot serve")
    keys = ("region", "margin", "shift_y", "padding", "mode", "eyes")
    return Crop(**{key: getattr(seen, key) for key in keys})


def as_seen(rows: FaceSet, seen: Input, larger: float = 0.0, rng: np.random.Generator | None = None) -> FaceSet:
    """Cut the region out of every row's picture: images become (N, height, width, channels) uint8.

    larger: cut so much more, as a share of the side, for random windows in training (`augment.crop`). rng: with the
    mode 'centre' the piece lies at a random place of the region, for training. Rows must be `located`; where nothing
    was found the whole picture is cut. Raises ValueError where landmarks are needed and were never looked for.
    """
    if needs(seen) == "landmarks" and rows.landmarks is None:
        raise ValueError(
            f"the region '{seen.region}' is cut by landmarks, and the rows have none: call `located` first"
        )
    height, width = (round(side * (1 + larger)) for side in seen.shape)
    offsets = np.full(len(rows), 0.5) if rng is None else rng.random(len(rows))
    cut = np.empty((len(rows), height, width, seen.channels), np.uint8)
    for row in range(len(rows)):
        cut[row] = _cut(*_picture_and_box(rows, row, seen), seen, larger, (height, width), offsets[row])
    return replace(rows, images=cut, boxes=None, landmarks=None)


def _picture_and_box(rows: FaceSet, row: int, seen: Input) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a row's picture, aligned if asked, and the box to cut; NaN falls back on the whole picture."""
    picture = rows.images[row]
    points = None if rows.landmarks is None else rows.landmarks[row]
    box = None if rows.boxes is None else rows.boxes[row]
    if points is not None and not np.isfinite(points).all():
        points = None
    if seen.align and points is not None:
        picture, points = align(picture, points, seen.shape)
        box = None
    if seen.region != "face" or seen.face_box == "landmarks":
        box = (
            None
            if points is None or _is_aligned_face(seen)
            else region_box(points, seen.region, seen.margin, seen.eyes)
        )
    elif seen.face_box == "detector" and box is not None and np.isfinite(box).all():
        box = face_square(box, seen.margin, seen.shift_y)
    else:
        box = None
    return picture, whole(picture) if box is None else box


def _is_aligned_face(seen: Input) -> bool:
    return seen.align and seen.region == "face"


def _cut(
    picture: NDArray[np.uint8],
    box: NDArray[np.float32],
    seen: Input,
    larger: float,
    shape: tuple[int, int],
    offset: float,
) -> NDArray[np.uint8]:
    """Cut one picture; a larger cut shows more of the picture around a face, and padding around another region."""
    if larger and seen.region == "face":
        grown = (box[2:] - box[:2]) * larger / 2
        box = np.concatenate([box[:2] - grown, box[2:] + grown])
    elif larger:
        inner = crop(picture, box, *seen.shape, seen.channels, seen.padding, seen.mode, offset)
        cut = np.full((*shape, seen.channels), seen.padding, np.uint8)
        top, left = ((outside - inside) // 2 for outside, inside in zip(shape, seen.shape, strict=True))
        cut[top : top + seen.shape[0], left : left + seen.shape[1]] = inner
        return cut
    return crop(picture, box, *shape, seen.channels, seen.padding, seen.mode, offset)


def whole(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the box of the whole picture."""
    return np.array([0, 0, picture.shape[1], picture.shape[0]], np.float32)


def align(
    picture: NDArray[np.uint8], points: NDArray[np.float32], shape: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Turn, scale and shift a picture so that the eyes lie in fixed places of a frame twice `shape` (height, width).

    Returns the (2 height, 2 width, C) picture and the (68, 2) points in it.
    """
    height, width = FINER * shape[0], FINER * shape[1]
    apart = EYES_APART * min(width, FRAME * height)
    wanted = np.array([[(width - apart) / 2, EYES_DOWN * height], [(width + apart) / 2, EYES_DOWN * height]])
    eyes = np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0)]).astype(np.float64)
    # As complex numbers a similarity is z -> a z + b.
    (first, second), (to_first, to_second) = eyes @ (1, 1j), wanted @ (1, 1j)
    a = (to_second - to_first) / (second - first)
    b = to_first - a * first
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    moved = points @ matrix[:, :2].T + matrix[:, 2]
    small = at_most(max(1, round(abs(a) * max(picture.shape[:2]))))(picture)  # averaged first: warping does not
    matrix[:, :2] *= max(picture.shape[:2]) / max(small.shape[:2])
    turned = cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(turned, np.uint8).reshape(height, width, -1), moved.astype(np.float32)
