"""Draw pictures without faces: pages, slides, screens, words, signs, and things that are round.

Some fonts and layouts are never trained on: what is drawn with them says how often print is taken for a face.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from fontTools.ttLib import TTFont, TTLibError
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 640, 480
HELD = 5  # one font family of so many is never trained on
MOST_SIGNS = 600  # of a font that are drawn


class Sheet:
    """Hold a grey picture while it is drawn, with a font, two tones and random numbers."""

    def __init__(self, fonts: Sequence[Path], random: np.random.Generator) -> None:
        self.random = random
        self.font = fonts[int(random.integers(len(fonts)))]
        paper = random.integers(150, 256) if random.random() < 0.6 else random.integers(0, 256)
        self.paper = int(paper)
        self.ink = self._away_from(self.paper)
        self.width, self.height = (WIDTH, HEIGHT) if random.random() < 0.6 else (HEIGHT, WIDTH)
        self.image = Image.new("L", (self.width, self.height), self.paper)
        self.pen = ImageDraw.Draw(self.image)

    def between(self, low: float, high: float) -> float:
        """Draw a number, small ones as often as large ones."""
        return float(np.exp(self.random.uniform(np.log(low), np.log(high))))

    def chance(self, share: float) -> bool:
        """Say yes in a share of all cases."""
        return bool(self.random.random() < share)

    def tone(self) -> int:
        """Draw a tone that can be told from the paper, now and then the ink's."""
        return self.ink if self.chance(0.5) else self._away_from(self.paper)

    def words(self, count: int) -> str:
        """Draw so many words of signs that the font has."""
        signs = signs_of(self.font)
        lengths = self.random.integers(1, 11, count)
        return " ".join("".join(self.random.choice(signs, length)) for length in lengths)

    def write(
        self, place: tuple[float, float], text: str, size: float, tone: int | None = None, anchor: str = "la"
    ) -> None:
        """Write one line of text from its upper left corner, or where Pillow's `anchor` says."""
        try:
            font = opened(self.font, max(6, round(size)))
            self.pen.text(place, text, font=font, fill=self.ink if tone is None else tone, anchor=anchor)
        except OSError:
            return  # FreeType refuses some signs of some fonts at some sizes

    def lines(self, box: tuple[float, float, float, float], size: float, leading: float = 1.35) -> None:
        """Fill a box with lines of text; the last is short."""
        x0, y0, x1, y1 = box
        count = max(1, int((x1 - x0) / (2.6 * size)))
        rows = np.arange(y0, y1 - size, size * leading)
        for number, y in enumerate(rows):
            short = number == len(rows) - 1 or self.chance(0.12)
            self.write((x0, float(y)), self.words(int(self.random.integers(1, count + 1)) if short else count), size)

    def photo(self, box: tuple[float, float, float, float]) -> None:
        """Fill a box with smooth noise, as a landscape seen from afar."""
        x0, y0, x1, y1 = (round(edge) for edge in box)
        if x1 - x0 < 4 or y1 - y0 < 4:
            return
        cells = self.random.integers(2, 24, 2)
        noise = self.random.normal(self.random.uniform(60, 200), self.random.uniform(10, 70), cells).clip(0, 255)
        picture = cv2.resize(noise.astype(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_CUBIC)
        self.image.paste(Image.fromarray(picture), (x0, y0))

    def _away_from(self, tone: int) -> int:
        far = int(self.random.integers(60, 256))
        return tone - far if tone >= far else min(255, tone + far)


def page(sheet: Sheet) -> None:
    """One to three columns of text with headings and a picture now and then."""
    columns, size = int(sheet.random.integers(1, 4)), sheet.between(7, 22)
    margin, y = sheet.between(8, 60), sheet.between(8, 60)
    if sheet.chance(0.6):
        large = size * sheet.between(1.5, 4)
        sheet.write((margin, y), sheet.words(int(sheet.random.integers(1, 5))), large)
        y += 1.6 * large
    wide = (sheet.width - 2 * margin) / columns
    for column in range(columns):
        x, top = margin + column * wide, y
        while top < sheet.height - 2 * size:
            high = sheet.between(3 * size, sheet.height)
            box = (x, top, x + 0.94 * wide, min(top + high, sheet.height - size))
            if sheet.chance(0.2):
                sheet.photo(box)
            else:
                sheet.lines(box, size)
            top = box[3] + size * sheet.between(0.5, 2)
            if sheet.chance(0.3):
                sheet.write((x, top), sheet.words(2), 1.4 * size)
                top += 2 * size


def slide(sheet: Sheet) -> None:
    """A title, bullets, and a chart or shapes beside them."""
    size = sheet.between(18, 56)
    sheet.write((sheet.width * 0.06, sheet.height * 0.05), sheet.words(int(sheet.random.integers(1, 4))), size)
    for number in range(int(sheet.random.integers(2, 7))):
        y = sheet.height * 0.25 + number * size * 1.1
        radius = size * 0.12
        x = sheet.width * 0.08
        sheet.pen.ellipse((x - radius, y + size * 0.3 - radius, x + radius, y + size * 0.3 + radius), sheet.tone())
        sheet.write((x + size * 0.4, y), sheet.words(int(sheet.random.integers(1, 5))), size * 0.55)
    left = sheet.width * sheet.random.uniform(0.45, 0.7)
    if sheet.chance(0.5):
        for number in range(int(sheet.random.integers(3, 9))):
            x, high = left + number * 28, sheet.height * sheet.random.uniform(0.1, 0.5)
            sheet.pen.rectangle((x, sheet.height * 0.9 - high, x + 20, sheet.height * 0.9), sheet.tone())
    else:
        round_thing(sheet, (left + 110, sheet.height * 0.6), sheet.between(40, 120))


def screen(sheet: Sheet) -> None:
    """Windows with title bars, buttons, fields, menus, icons and text."""
    for _ in range(int(sheet.random.integers(1, 5))):
        x0, y0 = sheet.random.uniform(0, sheet.width * 0.6), sheet.random.uniform(0, sheet.height * 0.6)
        x1, y1 = x0 + sheet.between(150, sheet.width), y0 + sheet.between(120, sheet.height)
        bar = sheet.between(14, 36)
        sheet.pen.rectangle((x0, y0, x1, y1), int(sheet.random.integers(0, 256)), sheet.tone())
        sheet.pen.rectangle((x0, y0, x1, y0 + bar), sheet.tone())
        sheet.write((x0 + bar, y0 + bar * 0.15), sheet.words(2), bar * 0.6, sheet.paper)
        for number in range(int(sheet.random.integers(0, 4))):
            radius, at = bar * 0.25, x1 - bar * (0.6 + number)
            sheet.pen.ellipse((at - radius, y0 + bar / 2 - radius, at + radius, y0 + bar / 2 + radius), sheet.tone())
        for _ in range(int(sheet.random.integers(2, 12))):
            _control(sheet, x0 + sheet.random.random() * (x1 - x0) * 0.8, y0 + bar + sheet.random.random() * (y1 - y0))


def _control(sheet: Sheet, x: float, y: float) -> None:
    size = sheet.between(9, 26)
    kind = int(sheet.random.integers(5))
    if kind == 0:
        sheet.pen.rounded_rectangle((x, y, x + 5 * size, y + 1.8 * size), size * 0.4, sheet.tone(), sheet.tone())
        sheet.write((x + 0.5 * size, y + 0.3 * size), sheet.words(1), size, sheet.paper)
    elif kind == 1:
        sheet.pen.rectangle((x, y, x + 9 * size, y + 1.6 * size), None, sheet.tone(), max(1, round(size / 9)))
        sheet.write((x + 0.3 * size, y + 0.2 * size), sheet.words(2), size)
    elif kind == 2:
        round_thing(sheet, (x + size, y + size), size * sheet.between(0.7, 2))
    elif kind == 3:
        sheet.lines((x, y, x + 14 * size, y + 8 * size), size)
    else:
        sheet.photo((x, y, x + 6 * size, y + 5 * size))


def large_words(sheet: Sheet) -> None:
    """A few letters or words that fill the picture, on a plain or a striped ground."""
    if sheet.chance(0.3):
        step = sheet.between(6, 60)
        for x in np.arange(0, sheet.width, 2 * step):
            sheet.pen.rectangle((float(x), 0, float(x + step), sheet.height), sheet._away_from(sheet.ink))
    y = -sheet.between(1, 40)
    while y < sheet.height:
        size = sheet.between(24, 300)
        text = sheet.words(1)[: int(sheet.random.integers(1, 9))] if sheet.chance(0.6) else sheet.words(3)
        sheet.write((sheet.random.uniform(-40, sheet.width * 0.5), y), text, size, sheet.tone())
        y += size * sheet.random.uniform(0.9, 1.6)


def things(sheet: Sheet) -> None:
    """Watches, buttons, wheels, discs, lamps and logos, in rows or scattered."""
    if sheet.chance(0.4):
        sheet.photo((0, 0, sheet.width, sheet.height))
    if sheet.chance(0.4):
        radius = sheet.between(12, 70)
        for y in np.arange(radius, sheet.height, 2.6 * radius):
            for x in np.arange(radius, sheet.width, 2.6 * radius):
                round_thing(sheet, (float(x), float(y)), radius)
        return
    for _ in range(int(sheet.random.integers(2, 16))):
        place = (sheet.random.uniform(0, sheet.width), sheet.random.uniform(0, sheet.height))
        round_thing(sheet, place, sheet.between(8, 150))


def round_thing(sheet: Sheet, place: tuple[float, float], radius: float) -> None:
    """Draw something round: a disc or ring with what watches, wheels, buttons or logos have inside."""
    draw = ROUND[int(sheet.random.integers(len(ROUND)))]
    x, y = place
    outline = max(1, round(radius * sheet.random.uniform(0.02, 0.25)))
    high = radius * (1 if sheet.chance(0.6) else sheet.random.uniform(0.7, 1.4))
    box = (x - radius, y - high, x + radius, y + high)
    if sheet.chance(0.8):
        sheet.pen.ellipse(box, sheet.tone(), sheet.tone(), outline)
    else:
        sheet.pen.rounded_rectangle(box, radius * 0.3, sheet.tone(), sheet.tone(), outline)
    draw(sheet, x, y, radius)


def _watch(sheet: Sheet, x: float, y: float, radius: float) -> None:
    tone, start = sheet.tone(), sheet.random.uniform(0, 6.3)
    for number in range(int(sheet.random.choice(np.array([4, 12, 24, 60])))):
        turn = number * 2 * np.pi / 12
        ends = [(x + share * radius * np.cos(turn), y + share * radius * np.sin(turn)) for share in (0.75, 0.88)]
        sheet.pen.line(ends, tone, max(1, round(radius / 25)))
    for share, wide in ((0.5, 14), (0.7, 25)):
        turn = start + sheet.random.uniform(0, 6.3)
        end = (x + share * radius * np.cos(turn), y + share * radius * np.sin(turn))
        sheet.pen.line([(x, y), end], tone, max(1, round(radius / wide)))
    if sheet.chance(0.5):
        sheet.write((x - radius * 0.3, y + radius * 0.2), sheet.words(1)[:5], radius * 0.22, tone)


def _wheel(sheet: Sheet, x: float, y: float, radius: float) -> None:
    tone, count = sheet.tone(), int(sheet.random.integers(3, 24))
    for turn in np.linspace(0, 2 * np.pi, count, endpoint=False) + sheet.random.uniform(0, 1):
        end = (x + 0.85 * radius * float(np.cos(turn)), y + 0.85 * radius * float(np.sin(turn)))
        sheet.pen.line([(x, y), end], tone, max(1, round(radius * sheet.random.uniform(0.02, 0.12))))
    _dot(sheet, x, y, radius * sheet.random.uniform(0.08, 0.4))


def _button(sheet: Sheet, x: float, y: float, radius: float) -> None:
    count, turn = int(sheet.random.choice([1, 2, 3, 4, 5])), sheet.random.uniform(0, 6.3)
    apart, size = radius * sheet.random.uniform(0.2, 0.5), radius * sheet.random.uniform(0.06, 0.22)
    for angle in turn + np.arange(count) * 2 * np.pi / count:
        _dot(sheet, x + apart * float(np.cos(angle)), y + apart * float(np.sin(angle)), size)


def _rings(sheet: Sheet, x: float, y: float, radius: float) -> None:
    for share in np.sort(sheet.random.uniform(0.1, 0.95, int(sheet.random.integers(1, 6))))[::-1]:
        _dot(sheet, x, y, radius * float(share))


def _logo(sheet: Sheet, x: float, y: float, radius: float) -> None:
    text = sheet.words(1)[: int(sheet.random.integers(1, 4))]
    size = radius * sheet.random.uniform(0.7, 1.5)
    sheet.write((x, y), text, size, sheet.tone(), anchor="mm")


def _dot(sheet: Sheet, x: float, y: float, radius: float) -> None:
    sheet.pen.ellipse((x - radius, y - radius, x + radius, y + radius), sheet.tone())


def table(sheet: Sheet) -> None:
    """A bill or a sheet of numbers: rows, columns, rules."""
    size = sheet.between(9, 22)
    columns = int(sheet.random.integers(2, 8))
    for y in np.arange(sheet.between(4, 60), sheet.height, 2 * size):
        for column in range(columns):
            sheet.write((10 + column * sheet.width / columns, float(y)), sheet.words(1), size)
        if sheet.chance(0.5):
            sheet.pen.line([(0, float(y) - size / 3), (sheet.width, float(y) - size / 3)], sheet.tone())


def chat(sheet: Sheet) -> None:
    """Bubbles with text, left and right, with a disc beside each."""
    y = 10.0
    while y < sheet.height:
        size = sheet.between(11, 20)
        wide, high = sheet.random.uniform(0.3, 0.7) * sheet.width, size * float(sheet.random.integers(2, 6))
        x = 40.0 if sheet.chance(0.5) else sheet.width - wide - 40
        sheet.pen.rounded_rectangle((x, y, x + wide, y + high), size, sheet._away_from(sheet.ink))
        sheet.lines((x + size, y + size / 2, x + wide - size, y + high), size)
        sheet.pen.ellipse(
            (4 if x < 50 else sheet.width - 36, y, 36 if x < 50 else sheet.width - 4, y + 32), sheet.tone()
        )
        y += high + size


def keyboard(sheet: Sheet) -> None:
    """A grid of keys with a sign on each, as of a keyboard, a calendar or a telephone."""
    columns, rows = int(sheet.random.integers(3, 14)), int(sheet.random.integers(3, 8))
    wide, high = sheet.width / columns, sheet.height / rows
    for number in range(columns * rows):
        x, y = number % columns * wide, number // columns * high
        box = (x + wide * 0.06, y + high * 0.06, x + wide * 0.94, y + high * 0.94)
        sheet.pen.rounded_rectangle(box, wide * sheet.random.uniform(0, 0.2), sheet._away_from(sheet.ink), sheet.tone())
        sheet.write((x + wide * 0.2, y + high * 0.2), sheet.words(1)[:2], min(wide, high) * 0.4)


def terminal(sheet: Sheet) -> None:
    """Lines of code, indented, with numbers before them."""
    size = sheet.between(9, 18)
    for number, y in enumerate(np.arange(4, sheet.height, 1.3 * size)):
        sheet.write((4, float(y)), str(number + 1), size, sheet.tone())
        if sheet.chance(0.85):
            indent = size * (3 + 2 * int(sheet.random.integers(0, 4)))
            sheet.write((indent, float(y)), sheet.words(int(sheet.random.integers(1, 8))), size)


Layout = Callable[[Sheet], None]
ROUND: tuple[Callable[[Sheet, float, float, float], None], ...] = (_watch, _wheel, _button, _rings, _logo)
TRAINED: tuple[Layout, ...] = (page, slide, screen, large_words, things)
UNSEEN: tuple[Layout, ...] = (table, chat, keyboard, terminal)


def render(
    fonts: Sequence[Path], random: np.random.Generator, layouts: Sequence[Layout] = TRAINED
) -> NDArray[np.uint8]:
    """Draw one grey picture of 640x480 or 480x640 pixels."""
    sheet = Sheet(fonts, random)
    layouts[int(random.integers(len(layouts)))](sheet)
    return np.asarray(sheet.image, np.uint8)


def fonts_in(folder: Path, unseen: bool = False) -> list[Path]:
    """Return the TrueType and OpenType files of a folder that have signs to draw, of families trained on or unseen.

    Raises FileNotFoundError where there are none.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".ttf", ".otf"))
    found = [file for file in files if is_unseen(file) == unseen and len(signs_of(file))]
    if not found:
        raise FileNotFoundError(f"{folder}: expected fonts (.ttf, .otf), found none; is data.fonts right?")
    return found


def is_unseen(font: Path) -> bool:
    """Say whether a font is of a family that is never trained on: one of five by what stands before '-' in its name."""
    family = font.stem.split("-")[0].lower()
    return zlib.crc32(family.encode()) % HELD == 0


@cache
def signs_of(font: Path) -> list[str]:
    """Return signs that a font draws, Latin ones first; none where the file cannot be read."""
    try:
        with TTFont(font, lazy=True) as opened_font:
            codes = sorted(opened_font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError):
        return []
    signs = [chr(code) for code in codes if chr(code).isprintable() and not chr(code).isspace()]
    latin = [sign for sign in signs if sign.isascii() and sign.isalnum()]
    others = [sign for sign in signs if not sign.isascii()]
    return (latin * 4 if len(latin) > 40 else []) + others[:: max(1, len(others) // MOST_SIGNS)]


@cache
def opened(font: Path, size: int) -> ImageFont.FreeTypeFont:
    """Open a font at a size in pixels."""
    return ImageFont.truetype(str(font), size)
