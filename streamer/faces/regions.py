"""The seven face regions of Lian et al. and the crop that training and serving share.

Coordinates: pixel i covers [i, i + 1), boxes are xyxy. Rounding happens once: box edges go to the nearest pixel edge
(halves up) in the frame, and the edges of the part that lies in the picture to the nearest pixel edge of the crop.

What is cut out of a face that is turned is a box that is turned with it, around its own middle: `streamer.faces.roll`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Crop, EngineSpec
from engines.errors import UserError
from streamer.faces.roll import middles_of, show_upright, turned, upright_boxes
from streamer.types import Face

Eyes = Literal["both", "paper"]
Mode = Literal["pad", "centre", "mask"]
HIDDEN = 0  # grey level of masked pixels in the mode 'mask'; visible ones are 1 at least
SEEN = 0.5  # visibility from which that network is shown what lies around a landmark


def _regions(eyes: NDArray[np.int64]) -> Mapping[str, NDArray[np.int64]]:
    mouth, nose = np.arange(48, 68), np.arange(28, 36)
    parts = {
        "face": np.arange(68),
        "mouth": mouth,
        "nose": nose,
        "eyes": eyes,
        "nose_mouth": np.union1d(nose, mouth),
        "nose_eyes": np.union1d(nose, eyes),
        "mouth_eyes": np.union1d(mouth, eyes),
    }
    for indices in parts.values():
        indices.flags.writeable = False
    return parts


PARTS = ("eyes", "nose", "mouth")  # what regions are made of

# Indices into the 68 landmarks of iBUG, from 0. The paper prints brow and eye of one side only ("paper").
VARIANTS: Mapping[Eyes, Mapping[str, NDArray[np.int64]]] = {
    "both": _regions(np.r_[17:27, 36:48]),
    "paper": _regions(np.r_[17:22, 36:42]),
}
REGIONS = VARIANTS["both"]


def region_box(
    landmarks: NDArray[np.float32], region: str, margin: float = 0.1, eyes: Eyes = "both"
) -> NDArray[np.float32]:
    """Return the tight xyxy box of a region's landmarks, grown by `margin` of its longer side on every side.

    landmarks: (68, 2) or (N, 68, 2) pixels. Returns (4,) or (N, 4) float32. Raises ValueError for an unknown region or
    another number of landmarks.
    """
    if region not in REGIONS:
        raise ValueError(f"unknown face region '{region}': expected one of {', '.join(REGIONS)}")
    if landmarks.ndim not in (2, 3) or landmarks.shape[-2:] != (68, 2):
        raise ValueError(f"landmarks: expected (68, 2) or (N, 68, 2), found {landmarks.shape}")
    points = landmarks[..., VARIANTS[eyes][region], :]
    low, high = points.min(axis=-2), points.max(axis=-2)
    grown = margin * (high - low).max(axis=-1, keepdims=True)
    return np.concatenate([low - grown, high + grown], axis=-1).astype(np.float32)


def face_square(box: NDArray[np.float32], margin: float, shift_y: float) -> NDArray[np.float32]:
    """Return the square around a detector's box: the whole-face crop, for which no landmarks are needed.

    box: (4,) or (N, 4) xyxy. Its side is the longer side of the box times 1 + 2 margin; its centre lies `shift_y` of
    that side below the centre of the box.
    """
    low, high = box[..., :2], box[..., 2:]
    side = (high - low).max(axis=-1, keepdims=True) * (1 + 2 * margin)
    centre = (low + high) / 2 + side * np.array([0, shift_y], np.float32)
    return np.concatenate([centre - side / 2, centre + side / 2], axis=-1).astype(np.float32)


def input_boxes(
    boxes: NDArray[np.float32],
    landmarks: NDArray[np.float32] | None,
    recipe: Crop,
    views: Sequence[str] | None = None,
    rolls: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the (N, 4) boxes that a recipe cuts out for N faces with (N, 4) boxes and (N, 68, 2) landmarks.

    views: the region of each face, the recipe's own unless said. 'face', and everything in the mode 'mask', comes from
    the box alone, every other region from the landmarks. rolls: (N,) of the faces, by which what is cut out is turned
    around its own middle. Raises ValueError where landmarks are missing.
    """
    rolls = np.zeros(len(boxes), np.float32) if rolls is None else rolls
    pivots = middles_of(boxes)
    level = None if landmarks is None else turned(landmarks, pivots, -rolls)
    found = face_square(upright_boxes(boxes, rolls), recipe.margin, recipe.shift_y)
    for region in {*(views or [recipe.region])} - {"face"} if recipe.mode != "mask" else ():
        if level is None:
            raise ValueError(f"the region '{region}' is cut out by landmarks: expected (N, 68, 2), found none")
        rows = np.array([view == region for view in views]) if views else slice(None)
        found[rows] = region_box(level[rows], region, recipe.margin, recipe.eyes)
    return moved_with(found, pivots, rolls)


def moved_with(
    boxes: NDArray[np.float32], pivots: NDArray[np.float32], rolls: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Move (N, 4) boxes of faces that were turned back by (N,) rolls around (N, 2) pivots to where they are."""
    middles = middles_of(boxes)
    return np.asarray(boxes + np.tile(turned(middles[:, None], pivots, rolls)[:, 0] - middles, 2), np.float32)


def part_boxes(faces: Sequence[Face], spec: EngineSpec, views: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return the (N, 4) boxes, xyxy in pixels, of what a network is shown of each face, to be turned by its roll."""
    boxes, landmarks, _ = _stacked(faces)
    return input_boxes(boxes, landmarks, spec.crop, views, rolls_of(faces))


def region_of(face: Face, region: str, margin: float = 0.1) -> NDArray[np.float32]:
    """Return the tight (4,) box of a part of a face that has landmarks, to be turned by the face's roll."""
    points = None if face.landmarks is None else face.landmarks[None]
    found = input_boxes(face.box[None], points, Crop(region=region, margin=margin), rolls=rolls_of([face]))
    return np.asarray(found[0], np.float32)


def rolls_of(faces: Sequence[Face]) -> NDArray[np.float32]:
    """Return the (N,) rolls of faces."""
    return np.array([face.roll for face in faces], np.float32)


def seen_boxes(faces: Sequence[Face], spec: EngineSpec, views: Sequence[str] | None = None) -> NDArray[np.float32]:
    """Return the (N, 4) boxes, xyxy in pixels, that a network's picture of each face covers, padding included.

    They are to be turned by the face's roll.
    """
    recipe, shape = spec.crop, (spec.width or 1) / (spec.height or 1)
    boxes = part_boxes(faces, spec, views)
    middle, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    choose = np.minimum if recipe.mode == "centre" else np.maximum
    height = choose(side[:, 1], side[:, 0] / shape)
    half = np.stack([height * shape, height], axis=1) / 2
    return np.concatenate([middle - half, middle + half], axis=1).astype(np.float32)


def crops_of(
    image: NDArray[np.uint8], faces: Sequence[Face], spec: EngineSpec, views: Sequence[str] | None = None
) -> NDArray[np.uint8]:
    """Cut faces out of their (H, W, 3) picture as a network wants them; see `crops`."""
    boxes, landmarks, visibility = _stacked(faces)
    return crops(image, boxes, spec, landmarks, views, visibility, rolls_of(faces))


def _stacked(
    faces: Sequence[Face],
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.float32]]:
    """Stack boxes (N, 4), landmarks (N, 68, 2), NaN where a face has none or None where no face has any, and their
    visibility (N, 68), 1 where nobody looked.
    """
    unknown, seen = np.full((68, 2), np.nan, np.float32), np.ones(68, np.float32)
    points = [unknown if face.landmarks is None else face.landmarks for face in faces]
    known = any(face.landmarks is not None for face in faces)
    visibility = np.stack([seen if face.visibility is None else face.visibility for face in faces])
    return np.stack([face.box for face in faces]), np.stack(points) if known else None, visibility


def crops(
    image: NDArray[np.uint8],
    boxes: NDArray[np.float32],
    spec: EngineSpec,
    landmarks: NDArray[np.float32] | None = None,
    views: Sequence[str] | None = None,
    visibility: NDArray[np.float32] | None = None,
    rolls: NDArray[np.float32] | None = None,
) -> NDArray[np.uint8]:
    """Cut N faces out of a (H, W, 3) picture as a network wants them: (N, height, width, channels) uint8.

    boxes: (N, 4) face boxes as the detector or the tracker gives them; the recipe in the spec turns them, or the
    (N, 68, 2) landmarks, into what is cut. views: for a network of several regions, the one that is shown of each
    face, the spec's own unless said. visibility: (N, 68) of the landmarks in 0-1, for the mode 'mask'; see
    `unseen`. rolls: (N,) by which the faces are turned; they are shown upright. Raises UserError where the spec leaves
    the input size open, and ValueError where landmarks are missing.
    """
    if spec.height is None or spec.width is None:
        raise UserError(f"{spec.name}: expected a network with a fixed input size, found none in its spec")
    cut = np.empty((len(boxes), spec.height, spec.width, spec.channels), np.uint8)
    recipe = spec.crop
    rolls = np.zeros(len(boxes), np.float32) if rolls is None else rolls
    wanted = input_boxes(boxes, landmarks, recipe, views, rolls)
    for row, (box, roll) in enumerate(zip(wanted, rolls.tolist(), strict=True)):
        cut[row] = crop(image, box, spec.height, spec.width, spec.channels, recipe.padding, recipe.mode, roll=roll)
    if recipe.mode == "mask":
        landmarks = None if landmarks is None else turned(landmarks, middles_of(rounded(wanted)), -rolls)
        views = views or [recipe.region] * len(boxes)
        hidden = hidden_boxes(landmarks, views, recipe)
        hide(cut, in_crop(hidden.reshape(len(cut), -1, 2), wanted, spec.height, spec.width))
        if landmarks is not None and visibility is not None:
            points = in_crop(landmarks, wanted, spec.height, spec.width)
            cut[unseen(points, visibility, views, spec.height, spec.width)] = HIDDEN
    return cut


def hidden_boxes(landmarks: NDArray[np.float32] | None, views: Sequence[str], recipe: Crop) -> NDArray[np.float32]:
    """Return the (N, 3, 4) boxes of eyes, nose and mouth that N views hide in the mode 'mask', NaN for what they show.

    views: the region of each face that is shown: the parts that it lacks are hidden; 'face' hides none. landmarks: (N,
    68, 2) pixels of the frame. Raises ValueError where a part is to be hidden and there are no landmarks.
    """
    boxes = np.full((len(views), len(PARTS), 4), np.nan, np.float32)
    for row, view in enumerate(views):
        for number, part in enumerate(PARTS):
            if view != "face" and part not in view.split("_"):
                if landmarks is None:
                    raise ValueError(f"the view '{view}' is found by landmarks: expected (N, 68, 2), found none")
                boxes[row, number] = region_box(landmarks[row], part, recipe.view_margin, recipe.eyes)
    return boxes


def in_crop(points: NDArray[np.float32], squares: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Move (N, K, 2) points from the frame into the pixels of the crops of (N, 4) squares, as `crop` places these."""
    edges = rounded(squares)
    scale = np.array([width, height], np.float32) / np.maximum(edges[:, 2:] - edges[:, :2], 1)
    return np.asarray((points - edges[:, None, :2]) * scale[:, None], np.float32)


def rounded(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move the edges of boxes to the nearest pixel edge, halves up, as `crop` does."""
    return np.asarray(np.floor(boxes + 0.5), np.float32)


def inside(corners: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    """Say which pixels lie in any of the K boxes of N pictures, (N, 2 K, 2) corners: (N, height, width).

    Edges go to the nearest pixel edge, halves up; a box of NaN holds nothing.
    """
    edges = rounded(corners.reshape(len(corners), -1, 4))
    left, top, right, bottom = np.moveaxis(edges, 2, 0)[..., None, None]
    x, y = np.arange(width), np.arange(height)[:, None]
    found: NDArray[np.bool_] = ((x >= left) & (x < right) & (y >= top) & (y < bottom)).any(axis=1)
    return found


def hide(pictures: NDArray[np.uint8], corners: NDArray[np.float32]) -> None:
    """Hide boxes of (N, H, W, C) pictures, (N, 2 K, 2) corners in their pixels; NaN hides nothing."""
    pictures[inside(corners, *pictures.shape[1:3])] = HIDDEN


def unseen(
    points: NDArray[np.float32],
    visibility: NDArray[np.float32],
    views: Sequence[str],
    height: int,
    width: int,
) -> NDArray[np.bool_]:
    """Say which pixels of N pictures lie nearest to a landmark that cannot be seen, where one part alone is shown.

    So much covers such a face that the network would judge the occluder. points: (N, 68, 2) landmarks in
    pixels; where they are NaN no pixel does. visibility: (N, 68) in 0-1, NaN where nobody looked. Returns (N, height,
    width).
    """
    found = np.zeros((len(points), height, width), bool)
    for row, (own, hidden, view) in enumerate(zip(points, visibility < SEEN, views, strict=True)):
        if view in PARTS and hidden.any() and np.isfinite(own).all():
            found[row] = _distance(own[hidden], height, width) < _distance(own[~hidden], height, width)
    return found


def _distance(points: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return how far each pixel lies from the nearest of (K, 2) points, to the pixel: (height, width)."""
    if not len(points):
        return np.full((height, width), np.inf, np.float32)
    free = np.full((height, width), 255, np.uint8)
    x, y = np.floor(points).astype(int).T
    free[y.clip(0, height - 1), x.clip(0, width - 1)] = 0
    return np.asarray(cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_5), np.float32)


def crop(
    image: NDArray[np.uint8],
    box: NDArray[np.float32],
    height: int,
    width: int,
    channels: Literal[1, 3],
    padding: int = 0,
    mode: Mode = "pad",
    offset: float = 0.5,
    roll: float = 0.0,
) -> NDArray[np.uint8]:
    """Cut a box out of a (H, W), (H, W, 1) or (H, W, 3) picture and resize it to (height, width, channels) uint8.

    mode: 'pad' adds the constant grey level `padding` until the box has the shape of the output; 'mask' does so too,
    and lifts what is seen to 1 at least, so that 0 means hidden; 'centre' cuts the largest piece of that shape out of
    the box. offset: where the box lies in its padding, or the piece in the box,
    0-1 from left or top to right or bottom. roll: radians, clockwise, by which the box is turned around its middle;
    what it holds is shown upright, smoothed at its edges with the pixels next to them. Else nothing outside the box is
    ever seen, and what lies outside the picture is padding. A box without area, or not finite, gives padding alone.
    """
    cut = np.full((height, width, channels), padding, np.uint8)
    if not np.isfinite(box).all():
        return cut
    left, top, right, bottom = (math.floor(edge + 0.5) for edge in box.tolist())
    if right <= left or bottom <= top:
        return cut
    if mode == "centre":
        left, top, right, bottom = _piece(left, top, right, bottom, width / height, offset)
    scale_x, scale_y = width / (right - left), height / (bottom - top)
    if mode != "centre":
        scale_x = scale_y = min(scale_x, scale_y)
    if roll:
        (_, columns), (_, rows) = (
            _span(0, length, length, room, scale, offset)
            for length, room, scale in ((right - left, width, scale_x), (bottom - top, height, scale_y))
        )
        least = HIDDEN + 1 if mode == "mask" else 0
        show_upright(image, (left, top, right, bottom), roll, cut[rows, columns], padding, least)
        return cut
    columns, to_columns = _span(left, right, image.shape[1], width, scale_x, offset)
    rows, to_rows = _span(top, bottom, image.shape[0], height, scale_y, offset)
    source, target = image[rows, columns], cut[to_rows, to_columns]
    if source.size and target.size:
        target[:] = _resize(source, target.shape[0], target.shape[1], channels)
        if mode == "mask":
            np.maximum(target, HIDDEN + 1, out=target)
    return cut


def _piece(left: int, top: int, right: int, bottom: int, shape: float, offset: float) -> tuple[int, int, int, int]:
    """Return the largest box of `shape` (width / height) inside a box, in whole pixels."""
    width = max(min(right - left, math.floor((bottom - top) * shape + 0.5)), 1)
    height = max(min(bottom - top, math.floor((right - left) / shape + 0.5)), 1)
    left += math.floor((right - left - width) * offset + 0.5)
    top += math.floor((bottom - top - height) * offset + 0.5)
    return left, top, left + width, top + height


def _span(low: int, high: int, limit: int, length: int, scale: float, offset: float) -> tuple[slice, slice]:
    """Return the visible part of low..high in the picture's 0..limit, and its place in the crop's 0..length."""
    start = (length - (high - low) * scale) * offset
    first, last = max(low, 0), max(min(high, limit), 0)
    to_first, to_last = (math.floor(start + (edge - low) * scale + 0.5) for edge in (first, last))
    return slice(first, last), slice(max(to_first, 0), max(to_last, 0))


def _resize(source: NDArray[np.uint8], height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Resize to (height, width, channels), by area where it shrinks and linearly where it grows; weigh BGR to grey."""
    colours = source.shape[2] if source.ndim == 3 else 1
    values = cv2.cvtColor(source, cv2.COLOR_BGR2GRAY) if colours > channels else source
    shrinks = values.shape[0] * values.shape[1] > height * width
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(values, np.uint8).reshape(height, width, -1)
