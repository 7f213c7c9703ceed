"""Notice where one shot ends and another begins, by comparing small pictures: 0.1 to 0.4 ms a frame.

A shot that goes on shows most of its structure again, somewhere near: light may change, people may walk by, the camera
may pan, each of which leaves some blocks of the picture that can be found again. Across a cut hardly any can be. Where
that is not clear, colour has a say, which light must not have alone (Boreczky and Rowe 1996 compare such measures).
What counts is a fall below what is usual in the stream (Yeo and Liu 1995), so that noise and water are no cuts.

A dissolve has no such frame. It is told by its way: every picture between two that have little in common is a mixture
of these two, more and more of the second. What moves, or a camera that does, passes by places that neither shows.
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
SPANS = (6, 12, 24, 48)  # pictures from one end to the other; the longer, the more seldom they are compared
KEPT = max(SPANS) + 1
APART = 0.65  # correlation from which on two ends have too much in common
FAINT = 0.04  # share of the contrast, squared, below which an end shows too little beside the other one
MIXED = 0.3  # how far the shares of a mixture may lie from halves
MIXTURES = 3  # pictures of that kind at least
STEADY = 0.7  # correlation of the shares with time
STRAIGHT = 0.8  # share of the mixtures that the ends explain
SURPLUS = 0.15  # by how much that must exceed the likeness of the ends
MOVED = 0.25  # share of a change, over STEPS pictures on either side, from which on the camera moved
STEPS = 3
FINE, COARSE = 1.0, 4.0  # standard deviations, small pixels, between which details of a mixture are looked at


class Cuts:
    """Compare each picture of one stream with the one before it; belongs to one thread."""

    def __init__(self) -> None:
        self._last: _Small | None = None
        self._shape: tuple[int, ...] = ()
        self._usual = 1.0
        self._way = _Way()

    def update(self, image: NDArray[np.uint8]) -> bool:
        """Take in the next (H, W, 3) uint8 BGR picture; tell whether another shot begins with it.

        A picture that shows nothing (black, a white flash) is left out: the next is compared with the last that did.
        One of another shape begins a shot whatever it shows: places in the one before say nothing about it. Of a
        dissolve it is the picture, mostly about two thirds through, from which on it can be told.
        """
        new = _Small(image)
        begins = self._cut(new, image.shape)
        if begins:
            self._way = _Way()
        if self._last is new and self._way.add(new):
            self._way, begins = _Way(), True
        return begins

    def _cut(self, new: _Small, shape: tuple[int, ...]) -> bool:
        old = self._last
        self._shape, before = shape, self._shape
        if old is not None and shape != before:
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
    def detail(self) -> NDArray[np.float32]:
        """Return the (HEIGHT * WIDTH,) picture without its large areas, linear in the grey levels, as a mixture is.

        Nor are the finest details in it, which change with a movement by less than a pixel.
        """
        grey = self.grey.astype(np.float32)
        return (cv2.GaussianBlur(grey, (0, 0), FINE) - cv2.GaussianBlur(grey, (0, 0), COARSE)).ravel()

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


class _Way:
    """Hold the last pictures of a shot, and tell whether they lead straight from one to another.

    Only the products of all pictures are needed: how far each is explained by the two ends is linear algebra with them.
    """

    def __init__(self) -> None:
        self._pictures: list[_Small] = []  # a ring, as the rows of the arrays
        self._rows = np.zeros((KEPT, WIDTH * HEIGHT), np.float32)
        self._products = np.zeros((KEPT, KEPT))
        self._count = 0

    def add(self, picture: _Small) -> bool:
        """Take in the next picture; tell whether what came before has dissolved into it."""
        row = self._count % KEPT
        self._pictures[row : row + 1] = [picture]
        self._rows[row] = picture.detail
        self._products[row] = self._products[:, row] = self._rows @ self._rows[row] + 1e-3  # flat ones are divided by
        self._count += 1
        due = (span for span in SPANS if span < self._count and self._count % max(1, span // 12) == 0)
        return any(map(self._dissolved, due))

    def _dissolved(self, span: int) -> bool:
        """Tell whether the newest picture and that of `span` before are the ends of a dissolve."""
        rows, products = np.arange(self._count - 1 - span, self._count) % KEPT, self._products
        first, between, last = rows[0], rows[1:-1], rows[-1]
        one, two, both = products[first, first], products[last, last], products[first, last]
        if both > APART * np.sqrt(one * two) or min(one, two) < FAINT * max(one, two):
            return False
        with_first, with_last = products[first, between], products[last, between]
        of_first = (two * with_first - both * with_last) / (one * two - both**2)
        of_last = (one * with_last - both * with_first) / (one * two - both**2)
        shares = np.clip(of_last / (np.abs(of_first) + np.abs(of_last) + 1e-6), 0, 1)
        mixed = (of_first > 0) & (of_last > 0) & (np.abs(shares - 0.5) < MIXED)
        if mixed.sum() < MIXTURES or _trend(shares) < STEADY:
            return False
        explained = (of_first * with_first + of_last * with_last) / products[between, between]
        straight = float(np.median(explained[mixed]))
        if straight < STRAIGHT or straight - self._pictures[last].likeness(self._pictures[first]) < SURPLUS:
            return False
        middle = 1 + int(np.abs(shares - 0.5).argmin())
        before, after = max(0, middle - STEPS), min(span, middle + STEPS)
        return _moved(self._rows[rows[before]], self._rows[rows[after]]) < MOVED


def _moved(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the share of the change between two pictures that a small affine movement of all of it explains.

    To first order it is a sum of the gradients, each alone and times x and y (Lucas and Kanade 1981).
    """
    mean, change = ((one + other) / 2).reshape(HEIGHT, WIDTH), other - one
    down, across = np.gradient(mean)
    y, x = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    fields = np.stack([field * weight for field in (down, across) for weight in (1, x, y)]).reshape(6, -1)
    with_change = fields @ change
    found = np.linalg.solve(fields @ fields.T + 1e-3 * np.eye(6), with_change)
    return float(with_change @ found / max(float(change @ change), 1e-6))


def _trend(values: NDArray[np.float64]) -> float:
    """Return the correlation of values with their numbers."""
    steps = np.arange(len(values)) - (len(values) - 1) / 2
    spread = np.sqrt(((values - values.mean()) ** 2).sum() * (steps**2).sum())
    return float(values @ steps / max(spread, 1e-6))


def _correlation(picture: NDArray[np.float32] | NDArray[np.uint8], part: NDArray[Any]) -> NDArray[np.float32]:
    """Return the correlation of a part with each place of a picture, 0 where one of them is flat."""
    found = cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED)
    found[~np.isfinite(found)] = 0
    return np.asarray(found, np.float32)
