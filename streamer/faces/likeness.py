"""How alike two face pictures look: a coarse description of grey pattern and colour, a few microseconds a face.

It does not recognise people. It tells the face of a moment ago from another one at the same place (a crossing, a scene
cut), where position alone cannot. Measured on clips with people and on portraits: of 8x8 cells over an enlarged box
(hair, clothes and background count), grey beside shares of colour tells most; the threshold that keeps 99 % of the same
faces 0.12 s later lets 2 % of other faces pass.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import areas, enlarged, shared

CELLS = 8
ENLARGE = 1.3
BGR_TO_GREY = np.array([0.114, 0.587, 0.299], np.float32)
# Contrast, in grey levels, below which a picture counts as flat; two flat pictures are alike.
FLAT = 2.0


def describe(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Describe the faces of (N, 4) xyxy boxes in a (H, W, 3) uint8 BGR picture by (N, D) float32 unit vectors.

    The dot product of two descriptions is their likeness, 1 for the same picture; gain and offset of the light do not
    change it. The picture's edge is drawn out where a box reaches beyond it.
    """
    patches = np.empty((len(boxes), CELLS, CELLS, 3), np.float32)
    low = np.floor(enlarged(boxes, ENLARGE)[:, :2]).astype(int)
    high = np.ceil(enlarged(boxes, ENLARGE)[:, 2:]).astype(int)
    for patch, (left, top), (right, bottom) in zip(patches, low.tolist(), high.tolist(), strict=True):
        columns, before_x, after_x = _sampled(left, right, image.shape[1])
        rows, before_y, after_y = _sampled(top, bottom, image.shape[0])
        cut = cv2.copyMakeBorder(
            np.ascontiguousarray(image[rows, columns]), before_y, after_y, before_x, after_x, cv2.BORDER_REPLICATE
        )
        patch[:] = cv2.resize(cut, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    grey = patches @ BGR_TO_GREY
    colour = patches / (patches.sum(axis=3, keepdims=True) + 30)
    halves = [_unit(grey, FLAT), _unit(colour, FLAT / 255)]
    return np.concatenate(halves, axis=1) / np.float32(np.sqrt(2))


def blend(old: NDArray[np.float32], new: NDArray[np.float32], share: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move (N, D) descriptions by (N, 1) shares towards new ones: the running mean, kept at unit length."""
    mean = (1 - share) * old + share * new
    return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True).clip(1e-6), np.float32)


def hidden(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N,) share, 0-1, of each description that shows something else: another face, or no picture."""
    seen = enlarged(boxes, ENLARGE)
    others = shared(seen, boxes)
    np.fill_diagonal(others, 0)
    picture = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
    lost = np.maximum(others.max(axis=1, initial=0), areas(seen) - shared(seen, picture)[:, 0])
    return np.asarray(np.clip(lost / areas(seen), 0, 1), np.float32)


def _sampled(low: int, high: int, limit: int) -> tuple[slice, int, int]:
    """Return about 32 to 64 pixels of low..high inside 0..limit, and how many of them are missing on either side.

    Skipping pixels keeps the cost of a large face as low as that of a small one.
    """
    step = max((high - low) // 32, 1)
    first = min(max(low, 0), limit - 1)
    last = max(min(high, limit), first + 1)
    return slice(first, last, step), max(first - low, 0) // step, max(high - last, 0) // step


def _unit(cells: NDArray[np.float32], flat: float) -> NDArray[np.float32]:
    values = cells.reshape(len(cells), CELLS * CELLS * (cells.shape[3] if cells.ndim == 4 else 1))
    values = values - values.mean(axis=1, keepdims=True)
    floor = np.full((len(values), 1), flat * CELLS, np.float32)
    values = np.concatenate([values, floor], axis=1)
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)
