"""Synthetic occluders: families of things that hide parts of a face, drawn by code over whole batches.

worn: masks and dark glasses. before: hands, hair, things, scraps. picture: bars of text, edges, blur, darkness. All are
drawn on a `canvas` that notes what is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from train.occluders.before import blot, hair, hand, hand_over_eyes, scrap, thing
from train.occluders.canvas import Canvas
from train.occluders.picture import bar, blur, darkness, edge
from train.occluders.worn import plain_mask, sunglasses, surgical_mask, textured_mask, textured_mask_low

__all__ = ["EVALUATION_ONLY", "FAMILIES", "NONE", "TRAINING", "occlude"]

FAMILIES: Mapping[str, Callable[[Canvas], None]] = {
    "surgical_mask": surgical_mask,
    "plain_mask": plain_mask,
    "sunglasses": sunglasses,
    "thing": thing,
    "blot": blot,
    "bar": bar,
    "edge": edge,
    "blur": blur,
    "darkness": darkness,
    "textured_mask": textured_mask,
    "textured_mask_low": textured_mask_low,
    "hand": hand,
    "hand_over_eyes": hand_over_eyes,
    "hair": hair,
    "scrap": scrap,
}
# No network is trained on these: what occlusion costs is reported on them.
EVALUATION_ONLY = ("textured_mask", "textured_mask_low", "hand", "hand_over_eyes", "hair")
TRAINING = tuple(name for name in FAMILIES if name not in EVALUATION_ONLY)
NONE = ""  # in place of a family: nothing is drawn


def occlude(
    pictures: NDArray[np.uint8],
    points: NDArray[np.float32],
    families: Sequence[str],
    random: np.random.Generator,
    cover: float | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw an occluder of the named family over each face.

    pictures: (N, H, W) uint8 grey. points: (N, 68, 2) float32 pixels, the landmarks of the faces. families: N names of
    `FAMILIES`, or `NONE`. cover: how much of what it can hide an occluder hides, 0-1 (1: all of the mouth for 'hand'
    and 'textured_mask_low', mouth and nose up to landmark 29 for 'textured_mask' and 'surgical_mask', the eyes for
    'hair'); drawn for each picture where it is not given.
    Returns new (N, H, W) uint8 pictures and the (N, 68) float32 visibility of the landmarks in 0-1, which is 0 outside
    the picture as well. A face whose landmarks are not finite is left as it is, with a visibility of NaN.
    Raises ValueError for an unknown family or where the lengths differ.
    """
    if not len(pictures) == len(points) == len(families):
        raise ValueError(f"expected one length, found {len(pictures)}, {len(points)} and {len(families)}")
    if unknown := set(families) - {*FAMILIES, NONE}:
        raise UserError(f"unknown occluder {sorted(unknown)}: expected one of {', '.join(FAMILIES)}")
    changed, visibility = pictures.copy(), np.full((len(pictures), 68), np.nan, np.float32)
    for row, family in enumerate(families):
        if not np.isfinite(points[row]).all():
            continue
        hidden = np.zeros(pictures[row].shape, np.float32)
        if family != NONE:
            canvas = Canvas(pictures[row], points[row], random.random() if cover is None else cover, random)
            FAMILIES[family](canvas)
            changed[row] = (canvas.picture + 0.5).clip(0, 255)
            hidden = canvas.hidden
        visibility[row] = _seen(hidden, points[row])
    return changed, visibility


def _seen(hidden: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the visibility at (68, 2) points: what is not hidden there, 0 outside the picture."""
    x, y = (points - 0.5).astype(np.float32).T
    found = np.asarray(cv2.remap(hidden, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
    inside = ((points >= 0) & (points <= hidden.shape[::-1])).all(axis=1)
    return np.asarray(np.where(inside, 1 - found[0].clip(0, 1), 0), np.float32)
