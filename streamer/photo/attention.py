"""Where an attention network looks in a whole group photo (Sun et al. 2018, section 4.6).

The network runs over the photo itself, not over faces that were cut out of it. It has never learned what is no face, so
soft boxes around the faces that were found suppress what it marks elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine, EngineSpec
from engines.errors import UserError
from engines.finite import Finite
from streamer.faces.regions import face_square
from streamer.types import Face

MOST_PIXELS = 2_000_000  # of the photo as the network is given it
STEP = 16  # pixels a position of the map stands for: the four poolings of the network
LEAST = 2 * STEP  # pixels of a side
FINER = 4  # points that are drawn for each position, along either side
FADE = 0.35  # of a face's side, in which its soft box falls to nothing


@dataclass(frozen=True, eq=False)
class GroupAttention:
    """Hold what an attention network marks in a photo of at least one face.

    everywhere: (h, w) float32 map over the whole photo, how much each place counts, 1 in the mean. on_faces: the same
    inside soft boxes of the faces. share: of all attention that lies inside these. area: of the photo that they cover.
    """

    everywhere: NDArray[np.float32]
    on_faces: NDArray[np.float32]
    share: float
    area: float


def attend(engine: Engine, image: NDArray[np.uint8], faces: Sequence[Face]) -> GroupAttention | None:
    """Look at a whole (H, W, 3) uint8 BGR photo, at a size at which its faces are as large as those that were learned.

    faces: those that were found in it, at least one. Returns None where the network answers with no numbers.
    """
    spec = engine.spec
    width, height = fitting_size(image, faces, spec)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)[..., None] if spec.channels == 1 else small
    weights = engine.infer(np.asarray(grey, np.uint8)[None])["attention"][0]
    if not Finite()(spec.name, [weights[None]]) or weights.mean() <= 0:
        return None
    size = FINER * weights.shape[1], FINER * weights.shape[0]
    everywhere = np.asarray(cv2.resize(weights / weights.mean(), size, interpolation=cv2.INTER_CUBIC), np.float32)
    boxes = np.stack([face.box for face in faces]) * np.tile(np.divide(size, image.shape[1::-1]), 2)
    soft = soft_boxes(boxes.astype(np.float32), everywhere.shape)
    on_faces = everywhere * soft
    return GroupAttention(everywhere, on_faces, float(on_faces.sum() / everywhere.sum()), float(soft.mean()))


def fitting_size(image: NDArray[np.uint8], faces: Sequence[Face], spec: EngineSpec) -> tuple[int, int]:
    """Return width and height at which the median face is as large as the network's, as far as pixels are allowed."""
    squares = face_square(np.stack([face.box for face in faces]), spec.crop.margin, spec.crop.shift_y)
    side = float(np.median(squares[:, 2] - squares[:, 0]))
    wanted = min(spec.width or LEAST, spec.height or LEAST)
    height, width = image.shape[:2]
    scale = min(wanted / max(side, 1.0), (MOST_PIXELS / (height * width)) ** 0.5)
    across, down = (max(LEAST, STEP * round(scale * length / STEP)) for length in (width, height))
    return across, down


def soft_boxes(boxes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an (h, w) map that is 1 inside (N, 4) boxes, in its pixels, and falls smoothly to 0 around them."""
    low, high = boxes[:, :2, None], boxes[:, 2:, None]
    reach = FADE * np.maximum((high - low).max(axis=1), 1.0)
    across, down = (_fading(shape[1 - axis], low[:, axis], high[:, axis], reach) for axis in (0, 1))
    found = np.zeros(shape, np.float32)
    for row, column in zip(across, down, strict=True):
        np.maximum(found, column[:, None] * row, out=found)
    return found


def _fading(
    length: int, low: NDArray[np.float32], high: NDArray[np.float32], reach: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (N, length) rows that are 1 between (N, 1) low and high, 0 beyond reach, and half a cosine between."""
    places = np.arange(length, dtype=np.float32) + 0.5
    away = np.maximum(low - places, places - high).clip(0) / reach
    return np.asarray((1 + np.cos(np.pi * away.clip(0, 1))) / 2, np.float32)


def check_attention(spec: EngineSpec) -> None:
    """Raise UserError where a network cannot be shown whole photos, or says nothing about attention."""
    if "attention" not in spec.outputs or not spec.resizable:
        raise UserError(
            f"attention.model: '{spec.name}' gives {', '.join(spec.outputs)} for pictures of "
            f"{'any' if spec.resizable else 'one'} size: expected attention, for any size"
        )
