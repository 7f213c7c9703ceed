"""The colours of maps, and how a map is laid over a picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.drawing.turned import window

MAP_SHARE, PICTURE_SHARE = 0.4, 0.5  # Lian et al., Eq. 3
FINE = 64  # side to which a coarser map is smoothed before it is spread over a face
JET = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)  # as a table: ten times as fast


def lay_heat(
    picture: NDArray[np.uint8],
    values: NDArray[np.float32],
    box: NDArray[np.float32] | None = None,
    roll: float = 0.0,
) -> None:
    """Lay a (h, w) map over a box of a (H, W, 3) BGR picture, in place: 0.4 map in JET + 0.5 picture (Lian, Eq. 3).

    values are scaled to their own range. box: (4,) xyxy that the map covers, the whole picture unless given, turned
    around its middle by `roll`; only what lies in the picture is drawn.
    """
    box = np.array([0, 0, *picture.shape[1::-1]], np.float32) if box is None else box
    low, side = box[:2].astype(np.float64), (box[2:] - box[:2]).astype(np.float64)
    seen = window(picture, box, roll)
    if not (side >= 1).all() or not seen.view.size:
        return
    wide, high = max(FINE, values.shape[1]), max(FINE, values.shape[0])
    cos, sin = math.cos(roll), math.sin(roll)
    # From pixel centres of the picture to those of the map.
    turn = np.array([[cos, sin], [-sin, cos]]) * (np.array([wide, high]) / side)[:, None]
    start = np.array([wide, high]) / 2 - turn @ (low + side / 2 - (seen.left + 0.5, seen.top + 0.5)) - 0.5
    inverse = np.column_stack([turn, start])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # Cubic where it is small, linear where it is large: a fifth of the time, and no edges to be seen.
    fine = cv2.resize(levels(values), (wide, high), interpolation=cv2.INTER_CUBIC)
    size = seen.view.shape[1::-1]
    level = cv2.warpAffine(fine, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    laid = cv2.addWeighted(cv2.applyColorMap(level, JET), MAP_SHARE, seen.view, PICTURE_SHARE, 0)
    seen.put(np.asarray(laid, np.uint8))


def heated(
    picture: NDArray[np.uint8], values: NDArray[np.float32], box: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Return a (H, W, C) grey or BGR picture with a (h, w) map over a box of it, or all of it, as (H, W, 3) BGR."""
    copy = colour(picture).copy()
    lay_heat(copy, values, box)
    return copy


def colour(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a (H, W, 1) or (H, W, 3) picture as (H, W, 3) BGR."""
    grey = picture.shape[2] == 1
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if grey else picture, np.uint8)


def levels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Scale a map to its own range, 0-255; a flat one is 0."""
    low, spread = float(values.min()), float(np.ptp(values))
    return np.asarray(255 * (values - low) / spread if spread > 0 else np.zeros_like(values)).astype(np.uint8)
