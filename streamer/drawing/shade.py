"""What can be seen of a face, drawn: hidden parts are dimmed, the judged region is framed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.drawing.stencils import bends
from streamer.drawing.turned import window
from streamer.emotions import Colour
from streamer.faces.regions import PARTS, REGIONS, region_of
from streamer.faces.roll import middles_of, turned
from streamer.faces.visibility import VisibilitySettings, part_visibility
from streamer.types import Face

MARGIN = 0.12  # around a part, as a share of its longer side
LEFT = 0.4  # of the light of a hidden part


def dim_hidden(picture: NDArray[np.uint8], face: Face) -> None:
    """Darken eyes, nose and mouth where they cannot be seen, in a (H, W, 3) picture."""
    if face.landmarks is None:
        return
    for part in hidden_parts(face):
        under = window(picture, region_of(face, part, MARGIN), face.roll)
        under.put((under.view * LEFT).astype(np.uint8))


def hidden_parts(face: Face) -> list[str]:
    """Return the parts outside of the judged region; where nothing was judged, the parts below the usual threshold."""
    if face.visibility is None:
        return []
    if face.expression and face.expression.judged:
        region = face.expression.region
        return [part for part in PARTS if region != "face" and part not in region.split("_")]
    return [part for part, seen in part_visibility(face.visibility).items() if seen < VisibilitySettings.seen]


def frame_region(picture: NDArray[np.uint8], face: Face, colour: Colour) -> None:
    """Draw a thin line around the judged region, where that is not the whole face."""
    region = face.expression.region if face.expression else "face"
    if face.landmarks is None or region == "face" or region not in REGIONS:
        return
    box = region_of(face, region, MARGIN)
    left, top, right, bottom = _clipped(box, picture) if not face.roll else np.rint(box).astype(int).tolist()
    side = min(right - left, bottom - top)
    if side > 8:
        rect = (left, top, right - 1, bottom - 1)
        middles, rolls = np.tile(middles_of(box[None]), (4, 1)), np.full(4, face.roll, np.float32)
        outline = turned(bends(rect, 0.2 * side).astype(np.float32), middles, rolls)
        cv2.polylines(
            picture, [np.rint(16 * path).astype(np.int32) for path in outline], False, colour, 1, cv2.LINE_AA, 4
        )


def _clipped(box: NDArray[np.float32], picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return the part of a box that lies in the picture, in whole pixels; empty where there is none."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = np.rint(box).astype(int).clip(0, [width, height, width, height]).tolist()
    return x0, y0, x1, y1
