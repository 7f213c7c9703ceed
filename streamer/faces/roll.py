"""How far faces are turned in the picture's plane, and how they are turned back: networks are shown them upright.

Rolls are radians, clockwise as one looks at the picture. A turned box is an upright one and a roll: it is turned around
its own middle. So a square of a turned face is where it would be of the same face upright.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

LEVEL = float(np.radians(8))  # networks lose nothing by so much; from twice that on a face is turned back altogether
ASPECT = 0.75  # width of a canonical box by its height, in the median
FINEST = 8  # times the pixels of a crop at which a turned box is sampled, along either side, where it is larger


def eye_line(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N,) rolls of (N, 68, 2) landmarks or the (N, 5, 2) points of a detector, NaN where these are.

    They are those of the line from the outer corner of the person's right eye to that of the left one.
    """
    right, left = (36, 45) if points.shape[1] == 68 else (0, 1)
    across = points[:, left] - points[:, right]
    return np.asarray(np.arctan2(across[:, 1], across[:, 0]), np.float32)


def roll_of(points: NDArray[np.float32] | None, count: int = 1) -> NDArray[np.float32]:
    """Return by how much (N, K, 2) points ask for their faces to be turned back, see `eye_line`; 0 for points of NaN.

    Nothing below `LEVEL`, and more from there on, without a step at which a face that sways would jump. Without points
    it is nothing for `count` faces.
    """
    if points is None:
        return np.zeros(count, np.float32)
    rolls = np.nan_to_num(eye_line(points))
    return np.asarray(np.sign(rolls) * np.clip(2 * (np.abs(rolls) - LEVEL), 0, np.abs(rolls)), np.float32)


def between(rolls: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the angles between (N,) rolls, 0 to pi."""
    return np.asarray(np.abs((rolls - others + np.pi) % (2 * np.pi) - np.pi), np.float32)


def turned(
    points: NDArray[np.float32], middles: NDArray[np.float32], rolls: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Turn (N, K, 2) points by (N,) rolls around (N, 2) middles; what is not turned stays as it is, to the bit."""
    rows = np.flatnonzero(rolls)
    if not len(rows):
        return points
    found = points.copy()
    cos, sin = np.cos(rolls[rows]), np.sin(rolls[rows])
    back = np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2)  # of row vectors, with y down
    centre = middles[rows, None]
    found[rows] = (points[rows] - centre) @ back + centre
    return found


def middles_of(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N, 2) middles of (N, 4) boxes."""
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2, np.float32)


def corners_of(box: NDArray[np.float32], roll: float) -> NDArray[np.float32]:
    """Return the (4, 2) corners of a (4,) box that is turned around its middle, its own top left one first."""
    corners = box[[[0, 1], [2, 1], [2, 3], [0, 3]]]
    return np.asarray(turned(corners[None], middles_of(box[None]), np.array([roll], np.float32))[0], np.float32)


def upright_boxes(boxes: NDArray[np.float32], rolls: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N, 4) boxes that faces would have if they were not turned, around the same middles.

    boxes: (N, 4) canonical ones of faces as they are: detectors draw them around the ellipse of the face, so the sum of
    the squares of their sides stays the same however it is turned. The difference of these squares shrinks with the
    cosine of twice the roll, to nothing at 45 degrees: as far as it is lost, the usual shape takes its place.
    """
    rows = np.flatnonzero(rolls)
    if not len(rows):
        return boxes
    found = boxes.copy()
    width, height = (boxes[rows, 2:] - boxes[rows, :2]).T ** 2
    lost, both = np.sin(2 * rolls[rows]) ** 2, width + height
    usual = both * (1 - ASPECT**2) / (1 + ASPECT**2)
    apart = np.cos(2 * rolls[rows]) * (height - width) + lost * usual
    half = np.sqrt(np.stack([both - apart, both + apart], axis=1).clip(0) / 2) / 2
    middle = middles_of(boxes[rows])
    found[rows] = np.concatenate([middle - half, middle + half], axis=1)
    return found


def show_upright(
    image: NDArray[np.uint8],
    box: tuple[int, int, int, int],
    roll: float,
    target: NDArray[np.uint8],
    padding: int = 0,
    least: int = 0,
) -> None:
    """Draw what a turned box of a (H, W), (H, W, 1) or (H, W, 3) picture holds into the whole of an (h, w, C) target.

    padding: grey level of what lies outside the picture. least: to which what lies in it is lifted. What is shrunk is
    sampled more finely first and then averaged, as it would be if it were cut out upright.
    """
    (left, top, right, bottom), (height, width, channels) = box, target.shape
    if not target.size:
        return
    finer = min(max(math.ceil((right - left) / width - 0.25), 1), FINEST)
    size = finer * width, finer * height
    cos, sin = math.cos(roll), math.sin(roll)
    turn = np.array([[cos, -sin], [sin, cos]]) * ((right - left) / size[0], (bottom - top) / size[1])
    start = np.array([left + right, top + bottom]) / 2 - turn @ size / 2
    part, corner = _around(image, turn, start, size)
    if not part.size:
        target[:] = padding
        return
    if part.ndim == 3 and part.shape[2] > channels:
        part = np.asarray(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), np.uint8)
    # From the target to the picture; OpenCV counts from the middles of pixels.
    matrix = np.column_stack([turn, start - corner + turn @ (0.5, 0.5) - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = cv2.warpAffine(np.maximum(part, np.uint8(least)), matrix, size, flags=flags, borderValue=[padding] * 3)
    if finer > 1:
        shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA)
    target[:] = np.asarray(shown, np.uint8).reshape(height, width, -1)


def _around(
    image: NDArray[np.uint8], turn: NDArray[np.float64], start: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the upright part of a picture that a map from pictures of a size can reach, and its corner."""
    corners = np.array([(0, 0), (size[0], 0), (0, size[1]), size]) @ turn.T + start
    low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, image.shape[1::-1]).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, image.shape[1::-1]).astype(int)
    return image[low[1] : high[1], low[0] : high[0]], low.astype(np.float64)
