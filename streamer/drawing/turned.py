"""The part of a picture that lies in a box which is turned with a face."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.roll import corners_of


class Window(NamedTuple):
    """Hold a view of a picture and where its corner lies; inside: (h, w, 1), its pixels in the box, None for all."""

    view: NDArray[np.uint8]
    left: int
    top: int
    inside: NDArray[np.bool_] | None

    def put(self, pixels: NDArray[np.uint8]) -> None:
        """Draw (h, w, 3) pixels into the picture where the box is."""
        np.copyto(self.view, pixels, where=True if self.inside is None else self.inside)


def window(picture: NDArray[np.uint8], box: NDArray[np.float32], roll: float) -> Window:
    """Return what lies in a box, turned around its middle by `roll`, of a (H, W, 3) picture, to the nearest pixel edge.

    Where the box is not finite or lies outside there is nothing.
    """
    if not np.isfinite(box).all():
        box = np.zeros(4, np.float32)
    corners = corners_of(box, roll)
    limits = np.array(picture.shape[1::-1])
    (left, top), (right, bottom) = (
        np.rint(edges).astype(int).clip(0, limits).tolist() for edges in (corners.min(axis=0), corners.max(axis=0))
    )
    view = picture[top:bottom, left:right]
    if not roll or not view.size:
        return Window(view, left, top, None)
    places = np.rint(16 * (corners - (left + 0.5, top + 0.5))).astype(np.int32)  # 4 bits of fraction
    filled = cv2.fillConvexPoly(np.zeros(view.shape[:2], np.uint8), places, 1, cv2.LINE_8, 4)
    return Window(view, left, top, np.asarray(filled, np.bool_)[..., None])
