"""Rows as a network sees them: the region cut out of each picture by the code that serves, `streamer.faces.regions`."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Crop, load_engine
from engines.errors import UserError
from streamer.build import in_zoo
from streamer.faces.landmarks import DlibLandmarker, ZooLandmarker
from streamer.faces.regions import HIDDEN, crop, face_square, hidden_boxes, hide, in_crop, region_box, unseen
from train.data import FaceSet
from train.data.locate import locate
from train.data.pictures import at_most
from train.expression.config import Data, Input

log = logging.getLogger(__name__)

# An aligned face: the eyes' distance in shares of the width of a 7:9 frame, their height in shares of the frame's.
EYES_APART, EYES_DOWN, FRAME = 0.4, 0.36, 7 / 9
FINEST = 2  # a whole face in which regions are drawn has at most so many times the pixels of the input
FINER = 2  # an aligned picture has this many times the pixels of the input, so that a region is not cut out of a blur

Needs = Literal["nothing", "box", "landmarks"]


def needs(seen: Input) -> Needs:
    """Say what has to be found in a picture before it can be cut."""
    if seen.region != "face" or seen.align or seen.face_box == "landmarks" or seen.mode == "mask" or seen.regions:
        return "landmarks"
    return "box" if seen.face_box == "detector" else "nothing"


def located(rows: FaceSet, needed: Needs, data: Data) -> FaceSet:
    """Find in the rows what `as_seen` needs; `data` says by what, and where it is kept.

    Raises MissingPackage or OSError where landmarks are needed and the landmarker is not there.
    """
    if needed == "nothing" or (needed == "landmarks" and rows.landmarks is not None):
        return rows
    if needed == "box":
        return locate(rows, data.cache, None, data.finder)
    if data.landmarks == Path("dlib"):
        return locate(rows, data.cache, DlibLandmarker())
    rows = _with_boxes(rows, data)
    landmarker = landmarker_of(data)
    try:
        boxes = [whole(picture) for picture in rows.images] if rows.boxes is None else rows.boxes
        found = landmarker.look(list(rows.images), [np.asarray(box)[None] for box in boxes])
    finally:
        landmarker.close()
    points = np.concatenate([one.points for one in found])
    log.info("%d pictures; %d without landmarks", len(rows), (~np.isfinite(points).all(axis=(1, 2))).sum())
    return replace(rows, landmarks=points)


def _with_boxes(rows: FaceSet, data: Data) -> FaceSet:
    """Find the faces of the rows whose box is not known; boxes that a set gives stay."""
    if rows.boxes is None or np.isfinite(rows.boxes).all():
        return rows
    boxes = rows.boxes.copy()
    unknown = np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    boxes[unknown] = locate(rows[unknown], data.cache, None, data.finder).boxes
    return replace(rows, boxes=boxes)


def landmarker_of(data: Data) -> ZooLandmarker:
    """Open the landmark network that `data` names, in f32: what a run sees is the same on every machine."""
    return ZooLandmarker(load_engine(in_zoo(data.landmarks), "landmarks", precision="f32"))


def recipe(seen: Input) -> Crop:
    """Return what an artefact says of its crop.

    Raises UserError for an input that serving cannot cut: an aligned one, or a face by its landmarks.
    """
    if seen.align or (seen.region == "face" and seen.face_box == "landmarks"):
        raise UserError("input.align and input.face_box=landmarks are for comparison with the papers and cannot serve")
    keys = ("region", "margin", "shift_y", "padding", "mode", "view_margin", "eyes")
    return Crop(**{key: getattr(seen, key) for key in keys})


def as_seen(
    rows: FaceSet,
    seen: Input,
    larger: float = 0.0,
    rng: np.random.Generator | None = None,
    visibility: NDArray[np.float32] | None = None,
) -> FaceSet:
    """Cut the region out of every row's picture: images become (N, height, width, channels) uint8.

    larger: cut so much more, as a share of the side, for random windows in training (`augment.crop`). rng: with the
    mode 'centre' the piece lies at a random place of the region, for training. visibility: (N, 68) of the
    landmarks, by which the mode 'mask' hides what cannot be seen. Rows must be `located`; where nothing was found the
    whole picture is cut. Raises UserError where landmarks are needed and were never looked for.
    """
    if needs(seen) == "landmarks" and rows.landmarks is None:
        raise UserError(f"the region '{seen.region}' is cut by landmarks, and the rows have none: call `located` first")
    shape = larger_shape(seen.shape, larger)
    offsets = np.full(len(rows), 0.5) if rng is None else rng.random(len(rows))
    cut = np.empty((len(rows), *shape, seen.channels), np.uint8)
    frames = np.empty((len(rows), 4), np.float32)
    for row, offset in enumerate(offsets):
        picture, points, frame = rows.images[row], _found(rows.landmarks, row), None
        if seen.align and points is not None:
            picture, points, frame = align(picture, points, seen.shape, larger)
        box = _box(seen, points, _found(rows.boxes, row), whole(picture) if frame is None else frame)
        cut[row] = _cut(picture, box, seen, larger, offset)
        frames[row] = grown(box, larger)
    if seen.mode != "mask":
        return replace(rows, images=cut, boxes=None, landmarks=None)
    points = in_crop(_points(rows), frames, *shape)
    views = [seen.region] * len(rows)
    hide(cut, hidden_boxes(points, views, recipe(seen)).reshape(len(rows), -1, 2))
    if visibility is not None:
        cut[unseen(points, visibility, views, *shape)] = HIDDEN
    return replace(rows, images=cut, boxes=None, landmarks=None)


def larger_shape(shape: tuple[int, int], larger: float) -> tuple[int, int]:
    """Return height and width grown by a share."""
    return round(shape[0] * (1 + larger)), round(shape[1] * (1 + larger))


def whole_faces(rows: FaceSet, seen: Input) -> FaceSet:
    """Cut the whole face out of every row's picture, in which a region is drawn later: rows keep their landmarks.

    images become (N, side, side, channels) uint8, as fine as the largest picture but at most FINEST times the input;
    landmarks (N, 68, 2) are in their pixels.
    """
    side = min(max(max(picture.shape[:2]) for picture in rows.images), FINEST * seen.size)
    side = max(side, seen.size)
    cut = np.empty((len(rows), side, side, seen.channels), np.uint8)
    frames = np.empty((len(rows), 4), np.float32)
    for row, picture in enumerate(rows.images):
        box = _found(rows.boxes, row) if seen.face_box == "detector" else None
        frames[row] = whole(picture) if box is None else face_square(box, seen.margin, seen.shift_y)
        cut[row] = crop(picture, frames[row], side, side, seen.channels, seen.padding)
    return replace(rows, images=cut, boxes=None, landmarks=in_crop(_points(rows), frames, side, side))


def grown(box: NDArray[np.float32], larger: float) -> NDArray[np.float32]:
    """Return a box with its sides grown by a share."""
    more = (box[2:] - box[:2]) * larger / 2
    return np.concatenate([box[:2] - more, box[2:] + more])


def _points(rows: FaceSet) -> NDArray[np.float32]:
    assert rows.landmarks is not None
    return rows.landmarks


def _found(column: NDArray[np.float32] | None, row: int) -> NDArray[np.float32] | None:
    """Return a row's box or landmarks, None where they were not found."""
    return None if column is None or not np.isfinite(column[row]).all() else column[row]


def _box(
    seen: Input, points: NDArray[np.float32] | None, box: NDArray[np.float32] | None, frame: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Choose what to cut: the region by the landmarks, the face by its box, or the frame, the whole picture."""
    by_face = seen.region == "face" or seen.mode == "mask"
    if by_face and (seen.align or seen.face_box == "picture"):
        return frame
    if by_face and seen.face_box == "detector":
        return frame if box is None else face_square(box, seen.margin, seen.shift_y)
    return frame if points is None else region_box(points, seen.region, seen.margin, seen.eyes)


def _cut(
    picture: NDArray[np.uint8], box: NDArray[np.float32], seen: Input, larger: float, offset: float
) -> NDArray[np.uint8]:
    """Cut one picture; a larger cut shows the surroundings of a face, and padding around the region of landmarks."""
    shape = larger_shape(seen.shape, larger)
    by_face = seen.region == "face" or seen.mode == "mask"
    if shape == seen.shape or (by_face and seen.face_box != "landmarks"):
        return crop(picture, grown(box, larger), *shape, seen.channels, seen.padding, seen.mode, offset)
    cut = np.full((*shape, seen.channels), seen.padding, np.uint8)
    top, left = ((outside - inside) // 2 for outside, inside in zip(shape, seen.shape, strict=True))
    inner = crop(picture, box, *seen.shape, seen.channels, seen.padding, seen.mode, offset)
    cut[top : top + seen.shape[0], left : left + seen.shape[1]] = inner
    return cut


def whole(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the box of the whole picture."""
    return np.array([0, 0, picture.shape[1], picture.shape[0]], np.float32)


def align(
    picture: NDArray[np.uint8], points: NDArray[np.float32], shape: tuple[int, int], larger: float = 0.0
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Turn, scale and shift a picture so that the eyes lie in fixed places of a frame twice `shape` (height, width).

    larger: show so much more around the frame, as a share of its sides. Returns the picture (H, W, C), the (68, 2)
    points and the box of the frame in it.
    """
    height, width = FINER * shape[0], FINER * shape[1]
    down, across = (
        side - inner for side, inner in zip(larger_shape((height, width), larger), (height, width), strict=True)
    )
    apart = EYES_APART * min(width, FRAME * height)
    first_wanted = (width - apart + across) / 2 + 1j * (EYES_DOWN * height + down / 2)
    # As complex numbers a similarity is z -> a z + b.
    first, second = (complex(*points[eye].mean(axis=0)) for eye in (slice(36, 42), slice(42, 48)))
    a = apart / (second - first)
    b = first_wanted - a * first
    turn = np.array([[a.real, -a.imag], [a.imag, a.real]])
    moved = np.asarray(points @ turn.T + (b.real, b.imag), np.float32)
    small = at_most(max(1, round(abs(a) * max(picture.shape[:2]))))(picture)  # averaged first: warping does not
    matrix = np.column_stack([turn * max(picture.shape[:2]) / max(small.shape[:2]), (b.real, b.imag)])
    turned = cv2.warpAffine(small, matrix, (width + across, height + down), flags=cv2.INTER_LINEAR)
    frame = np.array([across / 2, down / 2, across / 2 + width, down / 2 + height], np.float32)
    return np.asarray(turned, np.uint8).reshape(height + down, width + across, -1), moved, frame
