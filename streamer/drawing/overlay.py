"""The annotated picture: boxes, labels and probability bars, drawn in the main thread over a copy of the frame.

Labels and bars are placed largest face first, where they cover no face and no other text; where there is no room they
are shortened, then left out. Only the regions that they cover are blended.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.drawing.heat import lay_heat
from streamer.drawing.shade import dim_hidden, frame_region
from streamer.drawing.stencils import (
    Rect,
    Stencil,
    bends,
    dashes,
    lettering,
    line_height,
    panel,
    sides_and_corners,
)
from streamer.emotions import GREY, Colour, colours
from streamer.types import Expression, Face, Result

WHITE: Colour = (250, 250, 250)
DIM: Colour = (196, 192, 190)
TRACK: Colour = (112, 106, 102)
DARK: Colour = (30, 24, 20)
DARK_ALPHA = 205  # of 255

CROWD = 6  # with more faces than this, nobody gets bars
CAPS = (7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 23, 26, 30, 34, 39, 44, 50)  # text sizes: heights of a capital in pixels


def draw(result: Result, *, details: bool = True, maps: bool = False, clock: bool = True) -> NDArray[np.uint8]:
    """Return a new (H, W, 3) uint8 BGR picture of the frame with its faces marked, hidden parts dimmed.

    details: also show probability bars, and a line with stream, time and number of faces. maps: lay over each face
    where the network looked, and say in that line for how many there was no time. clock: show the stream time in it,
    which a photo does not have.
    """
    page = _Page(result.frame.image.copy())
    faces = [(face, rect) for face in result.faces if (rect := page.visible(face.box))]
    faces.sort(key=lambda item: _side(item[1]), reverse=True)
    page.boxes = [rect for _, rect in faces]
    for face, _ in reversed(faces) if maps else ():
        if face.heat:
            lay_heat(page.picture, face.heat.values, face.heat.box, face.heat.roll)
    for face, rect in reversed(faces):
        dim_hidden(page.picture, face)
        frame_region(page.picture, face, _colour(face.expression))
        _draw_box(page, face, rect)
    missing = _without_map(result) if maps else 0
    if details or missing or result.shed:
        _draw_status(page, result, missing, clock)
    for face, rect in faces:
        _draw_label(page, face, rect)
    for face, rect in faces if details and len(faces) <= CROWD else ():
        if face.expression and not page.is_small(rect):
            _draw_bars(page, face.expression, rect)
    return page.picture


def _without_map(result: Result) -> int:
    """Count the faces that were judged and have no map."""
    return sum(bool(face.expression and face.expression.judged and not face.heat) for face in result.faces)


class _Page:
    """Hold the picture, what is taken on it, and the sizes that fit it."""

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.picture = picture
        self.height, self.width = int(picture.shape[0]), int(picture.shape[1])
        self.unit = min(self.height, self.width)
        self.boxes: list[Rect] = []
        self.panels: list[Rect] = []

    def visible(self, box: NDArray[np.float32]) -> Rect | None:
        """Return the part of a box that lies in the picture, None where there is none."""
        if not np.isfinite(box).all():
            return None
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        rect = max(0, x1), max(0, y1), min(self.width - 1, x2), min(self.height - 1, y2)
        return rect if _side(rect) > 0 else None

    def is_small(self, rect: Rect) -> bool:
        """Tell whether a face has room only for its corners and a short label."""
        return _side(rect) < max(40, 0.035 * self.unit)

    def cap(self, wanted: float) -> int:
        """Return the text size nearest to the wanted one that can be read and fits the picture."""
        wanted = max(7.0, 0.0085 * self.unit, min(wanted, 0.0175 * self.unit))
        return min(CAPS, key=lambda cap: abs(cap - wanted))

    def place(self, spots: Sequence[Rect], avoid: Sequence[Rect]) -> Rect | None:
        """Take the first spot that lies inside the picture and touches nothing to avoid."""
        for rect in spots:
            x1, y1, x2, y2 = rect
            inside = x1 >= 0 and y1 >= 0 and x2 <= self.width and y2 <= self.height
            if inside and not any(_overlap(rect, other) for other in avoid):
                self.panels.append(rect)
                return rect
        return None


class _Label:
    """Lay out one line: a badge (empty: only a patch of colour) and words, on a dark panel."""

    def __init__(self, cap: int, colour: Colour, badge: str, *words: str) -> None:
        self.pad, self.gap, self.round = round(0.6 * cap), round(0.75 * cap), round(0.5 * cap)
        self.badge = lettering(badge, cap, DARK)
        self.words = [lettering(word, cap, WHITE) for word in words]
        wide = self.badge.size[0] + self.gap if badge else cap // 2
        self.patch = panel(wide, 2 * round(0.8 * cap), round(0.3 * cap) if badge else cap // 5, colour)
        self.size = (2 * self.pad + wide + sum(self.gap + word.size[0] for word in self.words), round(2.2 * cap))

    def draw(self, picture: NDArray[np.uint8], rect: Rect) -> None:
        """Draw into the rectangle, which has the label's size."""
        x, middle = rect[0] + self.pad, (rect[1] + rect[3]) // 2
        panel(*self.size, self.round, DARK, DARK_ALPHA).stamp(picture, *rect[:2])
        self.patch.stamp(picture, x, middle - self.patch.size[1] // 2)
        shift = (self.patch.size[0] - self.badge.size[0]) // 2
        self.badge.stamp(picture, x + shift, middle - self.badge.size[1] // 2)
        x += self.patch.size[0]
        for word in self.words:
            word.stamp(picture, x + self.gap, middle - word.size[1] // 2)
            x += self.gap + word.size[0]


def _draw_box(page: _Page, face: Face, rect: Rect) -> None:
    """Draw bold round corners joined by thin sides; thin dashes where the label has not settled."""
    side, small = _side(rect), page.is_small(rect)
    bold = 1 if small else min(max(2, round(0.022 * side)), max(2, round(0.006 * page.unit)))
    thin, halo = 1 if small else max(2, bold // 2), max(1, bold // 3)
    outline = bends(rect, min(0.14 * side, 0.03 * page.unit + 4))
    if face.expression and not face.expression.stable:
        strokes = [(dashes(outline, 6.0 * thin + 4), thin, cv2.LINE_AA)]
    else:
        sides, corners = sides_and_corners(outline)
        strokes = [] if small else [(sides, thin, cv2.LINE_8)]
        strokes.append((corners, bold, cv2.LINE_AA))
    for colour, wider in ((DARK, 2 * halo), (_colour(face.expression), 0)):
        for paths, thickness, line in strokes:
            points = list(np.rint(16 * paths).astype(np.int32))  # 4 bits of fraction
            cv2.polylines(page.picture, points, False, colour, thickness + wider, line, 4)


def _draw_label(page: _Page, face: Face, rect: Rect) -> None:
    """Write id, label and confidence above the box, else below, else inside; fewer words where there is no room."""
    cap, colour = page.cap(0.075 * _side(rect)), _colour(face.expression)
    labels = [_Label(cap, colour, *words) for words in _wordings(face, page.is_small(rect))]
    gap, taken = round(0.6 * cap), page.boxes + page.panels
    tries = [(label, _above_or_below(page, rect, gap, label.size), taken) for label in labels]
    tries.append((labels[-1], _within(rect, gap, labels[-1].size), page.panels))
    for label, spots, avoid in tries:
        if spot := page.place(spots, avoid):
            label.draw(page.picture, spot)
            return


def _wordings(face: Face, small: bool) -> list[tuple[str, ...]]:
    """Return what a label may say, the fullest first: badge, then words."""
    expression, badge = face.expression, "" if small else str(face.track_id)
    if expression is None:
        return [(badge,)]
    label = expression.label
    wordings: list[tuple[str, ...]] = [(badge, label), (badge, label[:3])]
    if not small and label in expression.probabilities:  # the confidence of 'uncertain' is that of another label
        percent = f"{100 * expression.confidence:.0f}%" if expression.confidence < 0.995 else ">99%"  # never all sure
        wordings.insert(0, (badge, label, percent))
        if expression.region != "face":
            wordings.insert(0, (*wordings[0], f"by {expression.region}"))
    return wordings


def _draw_bars(page: _Page, expression: Expression, rect: Rect) -> None:
    """Draw a panel with a bar per emotion beside the box, with names of three letters where that is what fits."""
    cap = CAPS[max(0, CAPS.index(page.cap(0.07 * _side(rect))) - 1)]
    taken = page.boxes + page.panels
    for letters, avoid in ((None, taken), (3, taken), (3, page.panels)):
        names = tuple(label[:letters] for label in expression.probabilities)
        bars = _empty_bars(names, cap)
        spots = _beside(page, rect, cap, bars.size) if avoid is taken else _inside_large(rect, cap, bars.size)
        if spot := page.place(spots, avoid):
            break
    else:
        return
    bars.stamp(page.picture, *spot[:2])
    leading, own = max(expression.probabilities.values(), default=0.0), colours(tuple(expression.probabilities))
    for row, (label, probability) in enumerate(expression.probabilities.items()):
        y = spot[1] + _bars_margin(cap) + row * line_height(cap)
        if probability == leading:
            lettering(names[row], cap, WHITE).stamp(page.picture, spot[0] + cap, y)
        _draw_bar(page.picture, spot[2] - cap, y, cap, probability, own[label])


@lru_cache(maxsize=8)
def _empty_bars(names: tuple[str, ...], cap: int) -> Stencil:
    """Return the panel with names and empty bars."""
    column = lettering("\n".join(names), cap, DIM)
    size = (9 * cap + column.size[0], 2 * _bars_margin(cap) + column.size[1])

    def paint(picture: NDArray[np.uint8]) -> None:
        panel(*size, round(0.5 * cap), DARK, DARK_ALPHA).stamp(picture, 0, 0)
        column.stamp(picture, cap, _bars_margin(cap))
        for row in range(len(names)):
            _draw_bar(picture, size[0] - cap, _bars_margin(cap) + row * line_height(cap), cap, 1.0, TRACK)

    return Stencil.painted(size, paint)


def _bars_margin(cap: int) -> int:
    return round(0.7 * cap)


def _draw_bar(picture: NDArray[np.uint8], right: int, y: int, cap: int, share: float, colour: Colour) -> None:
    """Fill a share of a bar whose right end is given, vertically centred in the line of text at y."""
    length, thickness = 6 * cap, max(3, round(0.5 * cap))
    filled = round(length * min(max(share, 0.0), 1.0))
    if filled:
        top = y + (line_height(cap) - thickness) // 2
        cv2.rectangle(picture, (right - length, top, filled, thickness), colour, cv2.FILLED)


def _draw_status(page: _Page, result: Result, without_map: int, clock: bool) -> None:
    """Write stream, stream time, number of faces and what was left out into a corner where no face is."""
    minutes, seconds = divmod(round(result.frame.time, 1), 60)
    count = len(result.faces)
    words = [f"{int(minutes)}:{seconds:04.1f}"] if clock else []
    words.append(f"{count} face{'' if count == 1 else 's'}")
    if result.shed:
        words.append(f"overload: {result.shed.words}")
    elif without_map:
        words.append(f"no time for {without_map} map{'' if without_map == 1 else 's'}")
    cap = page.cap(0.0155 * page.unit)
    for badge in (result.frame.stream[-32:], ""):
        label = _Label(cap, DIM, badge, *words)
        right, bottom = page.width - cap - label.size[0], page.height - cap - label.size[1]
        corners = [(cap, bottom), (right, bottom), (cap, cap), (right, cap)]
        if spot := page.place(_spots(corners, label.size), page.boxes):
            label.draw(page.picture, spot)
            return


def _above_or_below(page: _Page, rect: Rect, gap: int, size: tuple[int, int]) -> list[Rect]:
    lefts = [min(max(x, 0), page.width - size[0]) for x in (rect[0], rect[2] - size[0])]
    return _spots([(x, y) for y in (rect[1] - gap - size[1], rect[3] + gap) for x in lefts], size)


def _beside(page: _Page, rect: Rect, gap: int, size: tuple[int, int]) -> list[Rect]:
    y = min(rect[1], page.height - size[1])
    return (
        _spots([(rect[2] + gap, y), (rect[0] - gap - size[0], y)], size) + _above_or_below(page, rect, gap, size)[::-1]
    )


def _within(rect: Rect, gap: int, size: tuple[int, int]) -> list[Rect]:
    return _spots([(rect[0] + gap, rect[1] + gap), (rect[0] + gap, rect[3] - gap - size[1])], size)


def _inside_large(rect: Rect, gap: int, size: tuple[int, int]) -> list[Rect]:
    """Offer the lower left corner of a face that is much larger than the panel."""
    large = (rect[2] - rect[0]) * (rect[3] - rect[1]) > 6 * size[0] * size[1]
    return _within(rect, gap, size)[1:] if large else []


def _spots(corners: Sequence[tuple[int, int]], size: tuple[int, int]) -> list[Rect]:
    return [(x, y, x + size[0], y + size[1]) for x, y in corners]


def _colour(expression: Expression | None) -> Colour:
    return colours(tuple(expression.probabilities)).get(expression.label, WHITE) if expression else GREY


def _side(rect: Rect) -> int:
    return min(rect[2] - rect[0], rect[3] - rect[1])


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
