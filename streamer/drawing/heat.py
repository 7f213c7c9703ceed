"""The colours of maps, and how a map is laid over a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MAP_SHARE, PICTURE_SHARE = 0.4, 0.5  # Lian et al., Eq. 3
FINE = 64  # side to which a coarser map is smoothed before it is spread over a face
JET = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_JET)  # as a table: ten times as fast


def lay_heat(picture: NDArray[np.uint8], values: NDArray[np.float32], box: NDArray[np.float32] | None = None) -> None:
    """Lay a (h, w) map over a box of a (H, W, 3) BGR picture, in place: 0.4 map in JET + 0.5 picture (Lian, Eq. 3).

    values are scaled to their own range. box: (4,) xyxy that the map covers, the whole picture unless given; only what
    lies in the picture is drawn.
    """
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = (0.0, 0.0, width, height) if box is None else (float(edge) for edge in box)
    if not np.isfinite((x1, y1, x2, y2)).all() or x2 - x1 < 1 or y2 - y1 < 1:
        return
    left, top = max(0, round(x1)), max(0, round(y1))
    right, bottom = min(width, round(x2)), min(height, round(y2))
    if right <= left or bottom <= top:
        return
    wide, high = max(FINE, values.shape[1]), max(FINE, values.shape[0])
    scale_x, scale_y = wide / (x2 - x1), high / (y2 - y1)
    # From pixel centres of the picture to those of the map.
    inverse = np.array(
        [[scale_x, 0, (left + 0.5 - x1) * scale_x - 0.5], [0, scale_y, (top + 0.5 - y1) * scale_y - 0.5]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # Cubic where it is small, linear where it is large: a fifth of the time, and no edges to be seen.
    fine = cv2.resize(levels(values), (wide, high), interpolation=cv2.INTER_CUBIC)
    size = (right - left, bottom - top)
    level = cv2.warpAffine(fine, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    region = picture[top:bottom, left:right]
    cv2.addWeighted(cv2.applyColorMap(level, JET), MAP_SHARE, region, PICTURE_SHARE, 0, dst=region)


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
