"""What the overlay is made of: cached stencils of text and panels, and the paths of rounded boxes.

Shapes are drawn four times as large and shrunk, so that Hershey's thin strokes and small corners come out even.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.emotions import Colour

Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels

OVERSAMPLING = 4
HERSHEY_CAPITAL = 21  # height of a capital at scale 1
_ANGLES = np.deg2rad(np.linspace(180, 270, 5) + 90 * np.arange(4)[:, None])
UNIT_BENDS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)  # (4, 5, 2), clockwise from the top left corner


class Stencil(NamedTuple):
    """Hold what is blended into a picture as picture * keep / 255 + ink; both are (h, w, 3) uint8."""

    keep: NDArray[np.uint8]
    ink: NDArray[np.uint8]

    @classmethod
    def painted(cls, size: tuple[int, int], paint: Callable[[NDArray[np.uint8]], None]) -> Stencil:
        """Return what `paint` does to a picture of (width, height): told by what it makes of black and of white."""
        black, white = np.zeros((size[1], size[0], 3), np.uint8), np.full((size[1], size[0], 3), 255, np.uint8)
        paint(black)
        paint(white)
        return cls(white - black, black)

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in pixels."""
        return self.ink.shape[1], self.ink.shape[0]

    def stamp(self, picture: NDArray[np.uint8], x: int, y: int) -> None:
        """Blend into a picture with the top left corner at (x, y); all of it must lie inside."""
        width, height = self.size
        region = picture[y : y + height, x : x + width]
        cv2.add(cv2.multiply(region, self.keep, scale=1 / 255), self.ink, dst=region)


def line_height(cap: int) -> int:
    """Return the height of a line of text whose capitals are `cap` pixels high."""
    return 2 * round(0.9 * cap)


@lru_cache(maxsize=512)
def lettering(text: str, cap: int, colour: Colour) -> Stencil:
    r"""Return text, capitals `cap` pixels high and centred in their line; '\n' separates lines.

    Letters lose their accents, and what ASCII cannot show is left out: OpenCV's fonts have nothing else.
    """
    lines = [unicodedata.normalize("NFKD", line).encode("ascii", "ignore").decode() for line in text.split("\n")]
    scale, stroke = cap * OVERSAMPLING / HERSHEY_CAPITAL, round(0.6 * cap)
    widths = [cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke)[0][0] for line in lines]
    height, width = line_height(cap), max(1, -(-max(widths) // OVERSAMPLING))
    large = np.zeros((len(lines) * height * OVERSAMPLING, width * OVERSAMPLING), np.uint8)
    for row, line in enumerate(lines):
        baseline = (row * height + (height + cap) // 2) * OVERSAMPLING
        cv2.putText(large, line, (0, baseline), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, stroke, cv2.LINE_AA)
    return _shrink(large, colour)


@lru_cache(maxsize=64)
def panel(width: int, height: int, radius: int, colour: Colour, alpha: int = 255) -> Stencil:
    """Return a filled rectangle with round corners. alpha: 255 hides what is below."""
    large = np.zeros((height * OVERSAMPLING, width * OVERSAMPLING), np.uint8)
    outline = bends((0, 0, large.shape[1] - 1, large.shape[0] - 1), radius * OVERSAMPLING).reshape(-1, 2)
    cv2.fillPoly(large, [np.rint(outline).astype(np.int32)], alpha)
    return _shrink(large, colour)


def _shrink(large: NDArray[np.uint8], colour: Colour) -> Stencil:
    mask = cv2.resize(large, None, fx=1 / OVERSAMPLING, fy=1 / OVERSAMPLING, interpolation=cv2.INTER_AREA)
    keep = cv2.bitwise_not(cv2.merge((mask, mask, mask)))
    ink = cv2.merge([cv2.convertScaleAbs(mask, alpha=channel / 255) for channel in colour])
    return Stencil(cast(NDArray[np.uint8], keep), cast(NDArray[np.uint8], ink))


def bends(rect: Rect, radius: float) -> NDArray[np.float64]:
    """Return the round corners of a rectangle, clockwise from the top left one: (4, 5, 2) points."""
    x1, y1, x2, y2 = rect
    left, top, right, bottom = x1 + radius, y1 + radius, x2 - radius, y2 - radius
    centres = np.array([[(left, top)], [(right, top)], [(right, bottom)], [(left, bottom)]])
    return centres + radius * UNIT_BENDS


def sides_and_corners(bends: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the straight sides, (4, 2, 2), and the corners with short arms, (4, 7, 2), of an outline."""
    starts, ends = bends[:, -1], bends[[1, 2, 3, 0], 0]
    leave, arrive = starts + 0.2 * (ends - starts), ends + 0.2 * (starts - ends)
    corners = np.concatenate([arrive[[3, 0, 1, 2], None], bends, leave[:, None]], axis=1)
    return np.stack([leave, arrive], axis=1), corners


def dashes(bends: NDArray[np.float64], length: float) -> NDArray[np.float64]:
    """Cut an outline into N dashes of about this length and gaps as long: (N, 4, 2)."""
    outline = np.vstack([bends.reshape(-1, 2), bends[0, :1]])
    way = np.concatenate([[0.0], np.hypot(*np.diff(outline, axis=0).T).cumsum()])
    count = max(4, round(way[-1] / (2 * length)))
    stops = (np.arange(count)[:, None] + np.linspace(0, 0.5, 4)) * way[-1] / count
    return np.stack([np.interp(stops, way, outline[:, axis]) for axis in (0, 1)], axis=-1)
