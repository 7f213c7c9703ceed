"""The annotated picture: boxes, labels and probability bars, drawn in the main thread over a copy of the frame.

Everything is drawn from masks (text, rounded panels) that are blended into the small region they cover. Labels and
bars are placed largest face first, each where it hides no face and no other label; what finds no room is left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.types import Face, Result

Colour = tuple[int, int, int]  # BGR
Rect = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels

PALETTE: dict[str, Colour] = {  # after Okabe & Ito, brightened for dark panels: apart for red- and green-blind people too
    "neutral": (232, 232, 232),
    "happiness": (66, 228, 240),
    "surprise": (0, 159, 230),
    "sadness": (240, 190, 96),
    "anger": (30, 84, 232),
    "disgust": (120, 178, 26),
    "fear": (190, 124, 214),
    "contempt": (236, 110, 62),
    "uncertain": (150, 150, 150),
}
GREY = PALETTE["uncertain"]
WHITE: Colour = (250, 250, 250)
DIM: Colour = (190, 190, 190)
TRACK: Colour = (92, 84, 80)
PANEL: Colour = (30, 24, 20)
PANEL_ALPHA = 190  # of 255
HALO: Colour = (20, 16, 14)

CROWD = 6  # with more faces than this, nobody gets bars
OVERSAMPLING = 4
CAPS = (7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 23, 26, 30, 34, 39, 44, 50)  # text sizes: heights of a capital in pixels


def draw(result: Result, *, details: bool = True) -> NDArray[np.uint8]:
    """Return a new (H, W, 3) uint8 BGR picture of the frame with its faces marked.

    details: also show probability bars and the line with stream, time and number of faces.
    """
    picture = result.frame.image.copy()
    height, width = picture.shape[:2]
    seen = [(face, rect) for face in result.faces if (rect := _inside(face.box, width, height))]
    seen.sort(key=lambda item: -_area(item[1]))
    page = _Page(picture, [rect for _, rect in seen])
    for face, rect in reversed(seen):
        _draw_box(page, face, rect)
    if details:
        _draw_status(page, result)
    labels = [_draw_label(page, face, rect) for face, rect in seen]
    if details and len(seen) <= CROWD:
        for (face, rect), label in zip(seen, labels, strict=True):
            _draw_bars(page, face, rect, label)
    return picture


@dataclass
class _Page:
    """Hold the picture that is drawn on and what is taken on it."""

    picture: NDArray[np.uint8]
    boxes: list[Rect]
    panels: list[Rect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.height, self.width = self.picture.shape[:2]
        self.unit = min(self.height, self.width)
        self.smallest = max(7, round(0.0085 * self.unit))  # capital height below which text cannot be read

    def is_small(self, rect: Rect) -> bool:
        """Tell faces that get only a box and a short label."""
        return _side(rect) < max(40, 0.035 * self.unit)

    def cap(self, rect: Rect) -> int:
        """Choose a text size for a face."""
        wanted = min(0.09 * _side(rect), 0.0175 * self.unit)
        return min(CAPS, key=lambda cap: abs(cap - max(wanted, self.smallest)))

    def place(self, size: tuple[int, int], corners: Iterable[tuple[int, int]], avoid: Sequence[Rect]) -> Rect | None:
        """Take the first of the top left corners where a panel of (width, height) lies inside and hits nothing."""
        for x, y in corners:
            rect = (x, y, x + size[0], y + size[1])
            inside = x >= 0 and y >= 0 and rect[2] <= self.width and rect[3] <= self.height
            if inside and not any(_overlap(rect, other) for other in avoid):
                self.panels.append(rect)
                return rect
        return None

    def panel(self, rect: Rect, radius: int) -> None:
        """Draw a dark translucent panel with round corners."""
        self.stamp(_rounded(rect[2] - rect[0], rect[3] - rect[1], radius), PANEL, rect[0], rect[1])

    def text(self, text: str, cap: int, colour: Colour, x: int, middle: int) -> None:
        """Write one line whose capitals are centred on the row `middle`."""
        mask = _text(text, cap)
        self.stamp(mask, colour, x, middle - mask.shape[0] // 2)

    def stamp(self, mask: NDArray[np.uint8], colour: Colour, x: int, y: int) -> None:
        """Blend a colour into the picture through a mask, (h, w) uint8: 0 keeps what is there, 255 covers it."""
        region = self.picture[y : y + mask.shape[0], x : x + mask.shape[1]]
        cover = cv2.merge((mask, mask, mask))
        ink = cv2.multiply(cover, (colour[0] / 255, colour[1] / 255, colour[2] / 255, 0))
        cv2.add(cv2.multiply(region, cv2.bitwise_not(cover), scale=1 / 255), ink, dst=region)


def _draw_box(page: _Page, face: Face, rect: Rect) -> None:
    """Draw rounded corners over a thin outline; dashes where the label has not settled."""
    colour, side = _colour(face), _side(rect)
    outline, corners = _rounded_path(rect, min(0.14 * side, 0.03 * page.unit + 4))
    bold = int(np.clip(round(0.022 * side), 1 if page.is_small(rect) else 2, max(2, round(0.006 * page.unit))))
    thin = max(1, bold // 2)
    halo = max(1, bold // 3)
    settled = face.expression is None or face.expression.stable
    strokes = [(corners, bold)] if settled else [(_dashes(outline, 7.0 * bold), thin)]
    if settled and not page.is_small(rect):
        strokes.insert(0, ([outline], thin))
    for paths, thickness in strokes:
        cv2.polylines(page.picture, paths, False, HALO, thickness + 2 * halo, cv2.LINE_AA, 4)
    for paths, thickness in strokes:
        cv2.polylines(page.picture, paths, False, colour, thickness, cv2.LINE_AA, 4)


def _draw_label(page: _Page, face: Face, rect: Rect) -> Rect | None:
    """Write id, label and confidence above the box, else below, else inside; shorter where there is no room."""
    cap = page.cap(rect)
    pad, height = max(3, round(0.6 * cap)), round(2.1 * cap)
    for words in _wordings(face, page.is_small(rect)):
        widths = [_text(word, cap).shape[1] for word, _ in words]
        gap = round(0.55 * cap)
        size = (2 * pad + cap // 2 + gap + sum(widths) + gap * (len(words) - 1), height)
        spot = page.place(size, _around(rect, size, page, cap), [*page.boxes, *page.panels])
        spot = spot or page.place(size, _within(rect, size, page, cap), page.panels)
        if spot:
            break
    else:
        return None
    page.panel(spot, cap // 2)
    x, middle = spot[0] + pad, (spot[1] + spot[3]) // 2
    page.stamp(_rounded(cap // 2, round(1.1 * cap), cap // 4, 255), _colour(face), x, middle - round(1.1 * cap) // 2)
    x += cap // 2 + gap
    for (word, colour), wide in zip(words, widths, strict=True):
        page.text(word, cap, colour, x, middle)
        x += wide + gap
    return spot


def _wordings(face: Face, small: bool) -> list[list[tuple[str, Colour]]]:
    """Return what a label may say, the best first; each is a list of words and their colours."""
    name, expression = (f"#{face.track_id}", DIM), face.expression
    if expression is None:
        return [[name]]
    label = (_ascii(expression.label), WHITE)
    short = [(label[0][:3], WHITE)]
    if small:
        return [[label], short]
    if expression.label == "uncertain":  # its confidence is the leading label's: the bars show that
        return [[name, label], [label], short]
    confidence = (f"{100 * expression.confidence:.0f}%", WHITE)
    return [[name, label, confidence], [label, confidence], [label], short]
