"""Faces made unrecognisable before a result leaves the pipeline, so that nothing written or served can show them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.types import Result

Blur = Literal["none", "faces", "frame"]

MARGIN = 0.25  # share of a face's side that is hidden around it: hair and ears tell who it is too
CELLS = 6  # across a face; too few to recognise anybody, and what lies between is gone for good


class Hiding:
    """Call a stage, then replace the pictures of its results by ones that hide nothing, the faces in them, or all.

    Runs in the thread of the stage. Faces that were not found are not hidden; 'frame' does not depend on finding them.
    """

    def __init__(self, stage: Callable[[list[Result]], list[Result]], blur: Blur) -> None:
        self.stage, self.blur = stage, blur

    def __call__(self, results: list[Result]) -> list[Result]:
        """Complete the results, and hide what is not to be seen."""
        return [self._hide(result) for result in self.stage(results)]

    def _hide(self, result: Result) -> Result:
        image = result.frame.image
        if self.blur == "frame":
            hidden = mosaic(image, max(1, min(image.shape[:2]) // 24))
        elif self.blur == "faces" and result.faces:
            hidden = hide_boxes(image, [face.box for face in result.faces])
        else:
            return result
        return replace(result, frame=replace(result.frame, image=hidden))


def hide_boxes(image: NDArray[np.uint8], boxes: list[NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Return a copy of the (H, W, 3) uint8 picture with a mosaic over each xyxy box and a margin around it."""
    hidden, (height, width) = image.copy(), image.shape[:2]
    for x1, y1, x2, y2 in boxes:
        margin = MARGIN * max(x2 - x1, y2 - y1)
        left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
        right, bottom = min(width, int(x2 + margin) + 1), min(height, int(y2 + margin) + 1)
        if left < right and top < bottom:
            cell = max(1, int(max(x2 - x1, y2 - y1) / CELLS))
            hidden[top:bottom, left:right] = mosaic(image[top:bottom, left:right], cell)
    return hidden


def mosaic(image: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 picture as even squares of `cell` pixels, each the mean of what it covers."""
    height, width = image.shape[:2]
    size = max(1, width // cell), max(1, height // cell)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]
