"""Notice where one shot ends and another begins, by comparing small pictures: 0.05 to 0.3 ms a frame.

A shot that goes on shows most of its structure again, somewhere near: light may change, people may walk by, the camera
may pan, each of which leaves some blocks of the picture that can be found again. Across a cut hardly any can be. Where
that is not clear, colour has a say, which light must not have alone (Boreczky and Rowe 1996 compare such measures).
What counts is a fall below what is usual in the stream (Yeo and Liu 1995), so that noise and water are no cuts.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 48, 36  # of the small picture, whatever the shape of the large one
SAMPLES = 4  # pixels a side of the large picture that each of its pixels is the mean of: all would take longer
COLUMNS, ROWS = 4, 3  # blocks that are looked for one by one
REACH = 0.125  # share of the picture's sides that a block may have moved
SPREAD = 3.0  # standard deviation, small pixels, of the blur that light is taken out by
DIM = 16.0  # grey levels that are added before light becomes an offset, so that noise in the dark stays small
FLAT = 0.02  # contrast, in log units, below which a block shows nothing
FOUND = 1 / 3  # share of the structure that must be found again
SAME = 0.9  # correlation from which on nobody needs to look closer
OTHER = 0.5  # likeness of that share below which it is another shot
DOUBTFUL = 0.8  # likeness below which it is, where the colours differ too
COLOURS = 0.9  # share of the colours that two pictures of a shot have in common
FALL = 0.2  # how far the likeness must lie below the usual one


class Cuts:
    """Compare each picture of one stream with the one before it; belongs to one thread."""

    def __init__(self) -> None:
        self._last: _Small | None = None
        self._shape: tuple[int, ...] = ()
        self._usual = 1.0

    def update(self, image: NDArray[np.uint8]) -> bool:
        """Take in the next (H, W, 3) uint8 BGR picture; tell whether a cut lies between it and the one before.

        A picture that shows nothing (black, a white flash) is left out: the next is compared with the last that did.
        One of another shape begins a shot whatever it shows: places in the one before say nothing about it.
        """
        new, old = _Small(image), self._last
        self._shape, shape = image.shape, self._shape
        if old is not None and image.shape != shape:
            self._last = new
            return True
        if old is None or _correlation(new.grey, old.grey)[0, 0] > SAME:
            self._last, alike, other = new, 1.0, False
        elif new.contrast.any():
            self._last, alike = new, new.likeness(old)
            other = alike < OTHER or (alike < DOUBTFUL and new.shared_colours(old) < COLOURS)
        else:
            return False
        cut = other and alike < self._usual - FALL
        self._usual = (self._usual + alike) / 2
        return cut


class _Small:
    """Hold a small picture; what is seldom asked for is made when it is."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        sampled = cv2.resize(image, (SAMPLES * WIDTH, SAMPLES * HEIGHT), interpolation=cv2.INTER_NEAREST)
        self.colour = cv2.resize(sampled, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        self.grey = np.asarray(cv2.cvtColor(self.colour, cv2.COLOR_BGR2GRAY), np.uint8)

    @cached_property
    def structure(self) -> NDArray[np.float32]:
        """Return the (HEIGHT, WIDTH) picture without its light."""
        light = np.log(self.grey.astype(np.float32) + DIM)
        return np.asarray(light - cv2.GaussianBlur(light, (0, 0), SPREAD), np.float32)

    @cached_property
    def contrast(self) -> NDArray[np.float32]:
        """Return the (ROWS, COLUMNS) contrast of the blocks, 0 where they show nothing."""
        blocks = self.structure.reshape(ROWS, HEIGHT // ROWS, COLUMNS, WIDTH // COLUMNS)
        return np.asarray(np.maximum(blocks.std(axis=(1, 3)) - FLAT, 0), np.float32)

    def likeness(self, other: _Small) -> float:
        """Return how well the best third of the structure, by contrast, is found again in the other picture: 0-1."""
        found = np.array([[self._find(row, column, other) for column in range(COLUMNS)] for row in range(ROWS)])
        weight = np.sqrt(self.contrast * other.contrast)
        if not weight.any():
            return 0.0
        order = np.argsort(-found, axis=None)
        enough = np.cumsum(weight.ravel()[order]) >= FOUND * weight.sum()
        return float(np.clip(found.ravel()[order][int(enough.argmax())], 0, 1))

    def shared_colours(self, other: _Small) -> float:
        """Return the share, 0-1, of colours without brightness that two pictures have in common."""
        return float(np.minimum(self._colours(), other._colours()).sum())

    def _colours(self) -> NDArray[np.float32]:
        colour = self.colour.astype(np.float32)
        shares = colour / (colour.sum(axis=2, keepdims=True) + 30)
        return np.asarray(cv2.calcHist([shares], [0, 1], None, [12, 12], [0, 1, 0, 1]) / (WIDTH * HEIGHT), np.float32)

    def _find(self, row: int, column: int, other: _Small) -> float:
        """Return the correlation of a block with the best place near its own in the other picture."""
        height, width = HEIGHT // ROWS, WIDTH // COLUMNS
        top, left = row * height, column * width
        up, aside = int(REACH * HEIGHT), int(REACH * WIDTH)
        near = other.structure[max(0, top - up) : top + height + up, max(0, left - aside) : left + width + aside]
        block = self.structure[top : top + height, left : left + width]
        return float(_correlation(near, block).max())


def _correlation(picture: NDArray[np.float32] | NDArray[np.uint8], part: NDArray[Any]) -> NDArray[np.float32]:
    """Return the correlation of a part with each place of a picture, 0 where one of them is flat."""
    found = cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED)
    return np.asarray(np.nan_to_num(found, posinf=0, neginf=0), np.float32)
