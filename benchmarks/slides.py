"""Count what is taken for a face in a video of moving slides: text in many fonts, drawings, and one speaker's picture.

Usage: python benchmarks/slides.py [--fonts FOLDER ...] [--seconds 60] [--config default] [--name slides] [--seed 1]

Fonts: every TrueType or OpenType font with Latin letters below these folders may be drawn; without one OpenCV's stroke
fonts and pillow's own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import report
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamer.bench.scene import draw_scene
from streamer.build import build_pipeline
from streamer.config import Config, load_config
from streamer.sources import open_source

SIZE = (1920, 1080)
FPS = 25
LASTS = 3.0  # seconds of one slide
SPEAKER = (1560, 60, 300, 300)  # x, y, width, height of the speaker's picture
WORDS = [
    *("Budget", "Results", "2027", "Quarter", "Overview", "Question", "OOO", "8808", "Model", "Growth", "Thank you"),
    *("Agenda", "Goals", "Dear colleagues", "Risk", "Next steps", "& Summary", "a=b(c)", "Öffnung", "façade", "@home"),
    *("100 %", "BOARD", "Q&A", "Σ(x)", "good", "look", "book", "eel", "oo", "00:08", "D8B", "Release", "Wow", "Noon"),
    *("Poor", "Moon", "Bob", "AVAVA", "WMWM", "Customer", "Data", "Flow"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fonts", type=Path, nargs="*", default=[])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--config", default="default")
    parser.add_argument("--name", default="slides")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    files = [file for folder in options.fonts for file in sorted(folder.rglob("*")) if has_letters(file)]
    config = load_config(Config, options.config)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "slides.mp4"
        write_clip(clip, files, options.seconds, np.random.default_rng(options.seed))
        rows.append(count(clip, config, options.config))
    notes = (
        f"{options.seconds:g} s at {SIZE[0]}x{SIZE[1]}, {len(files)} font files. A row is a face in a frame, as "
        "logged; one whose centre lies outside the speaker's picture is no face."
    )
    report.write(options.name, "Faces in a video of slides", rows, notes)


def has_letters(file: Path) -> bool:
    """Tell whether a file is a font of any size with Latin letters: those that it lacks all look the same."""
    if file.suffix not in (".ttf", ".otf"):
        return False
    try:
        font = ImageFont.truetype(str(file), 40)
    except OSError:  # a font of bitmaps
        return False
    return len({bytes(font.getmask(letter)) for letter in "AOeg8"}) == 5


def count(clip: Path, config: Config, name: str) -> dict[str, Any]:
    """Run the analyzer and count the faces of all frames."""
    seen: Counter[str] = Counter()
    ids: set[int] = set()
    with build_pipeline(config, [open_source(str(clip))]) as results:
        for result in results:
            seen["frames"] += 1
            for face in result.faces:
                speaker = is_speaker(face.box)
                seen["speaker" if speaker else "no face"] += 1
                ids |= set() if speaker else {face.track_id}
    rows = seen["speaker"] + seen["no face"]
    return {
        "config": name,
        "frames": seen["frames"],
        "rows": rows,
        "rows of the speaker": seen["speaker"],
        "rows that are no face": seen["no face"],
        "share": f"{seen['no face'] / max(1, rows):.2%}",
        "their ids": len(ids),
    }


def is_speaker(box: NDArray[np.float32]) -> bool:
    """Tell whether the middle of a box lies in the speaker's picture."""
    x, y, width, height = SPEAKER
    middle = (box[:2] + box[2:]) / 2
    return bool(x <= middle[0] <= x + width and y <= middle[1] <= y + height)


def write_clip(path: Path, fonts: Sequence[Path], seconds: float, rng: np.random.Generator) -> None:
    """Encode slides that drift and grow, with a speaker who moves."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE)
    x, y, width, height = SPEAKER
    for index in range(round(seconds * FPS)):
        at = index / FPS % LASTS / LASTS
        if at == 0:
            slide = draw_slide(fonts, rng)
            drift, growth = rng.uniform(-120, 120, 2), rng.uniform(0.9, 1.25)
        scale = 1 + (growth - 1) * at
        move = np.array([[scale, 0, drift[0] * at], [0, scale, drift[1] * at]])
        picture = cv2.warpAffine(slide, move, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        picture[y : y + height, x : x + width] = draw_scene(width, height, 1, index / FPS / 7 % 1)
        writer.write(picture)
    writer.release()


def draw_slide(fonts: Sequence[Path], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one slide: a title, lines or columns of text, single large letters, and shapes that are round and dotted."""
    paper, ink = [(250, 20), (255, 60), (30, 235), (90, 250)][rng.integers(4)]
    tint = rng.integers(-20, 21, 3)
    image = Image.new("RGB", SIZE, tuple(np.clip(paper + tint, 0, 255).tolist()))
    draw = ImageDraw.Draw(image)
    colour = tuple(np.clip(ink + 3 * tint, 0, 255).tolist())
    _write(draw, (100, 60), 2, int(rng.integers(60, 160)), fonts, rng, colour)
    y = 260.0
    while y < SIZE[1] - 60:
        size = int(rng.choice([18, 24, 32, 40, 56, 80, 120, 220]))
        _write(draw, (int(rng.integers(60, 900)), int(y)), int(rng.integers(1, 9)), size, fonts, rng, colour)
        y += 1.3 * size
    picture = np.asarray(image)[..., ::-1].copy()
    for _ in range(int(rng.integers(0, 6))):
        _shape(picture, rng)
    for _ in range(int(rng.integers(0, 5))):
        at = (int(rng.integers(0, SIZE[0])), int(rng.integers(200, SIZE[1])))
        font, size, thickness = int(rng.integers(8)), rng.uniform(0.6, 5), int(rng.integers(1, 7))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        cv2.putText(picture, " ".join(rng.choice(WORDS, 3)), at, font, size, colour, thickness, cv2.LINE_AA)
    return picture


def _write(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], words: int, size: int,
    fonts: Sequence[Path], rng: np.random.Generator, colour: tuple[int, ...],
) -> None:  # fmt: skip
    font: Any = ImageFont.truetype(str(rng.choice([str(file) for file in fonts])), size) if fonts else None
    draw.text(at, " ".join(rng.choice(WORDS, words)), fill=colour, font=font or ImageFont.load_default(size))


def _shape(picture: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Draw a disc or ring with a dial, a button with four holes, or a table."""
    x, y, r = int(rng.integers(100, 1800)), int(rng.integers(250, 1000)), int(rng.integers(15, 160))
    colour = tuple(int(value) for value in rng.integers(0, 256, 3))
    other = tuple(int(value) for value in rng.integers(0, 256, 3))
    kind = int(rng.integers(4))
    if kind == 3:
        for row in range(4):
            for column in range(5):
                corner = (x + column * r, y + row * r // 2)
                cv2.rectangle(picture, corner, (corner[0] + r, corner[1] + r // 2), colour, 2)
                cv2.putText(picture, str(rng.integers(1000)), (corner[0] + 4, corner[1] + r // 3), 0, r / 90, other, 1)
        return
    cv2.circle(picture, (x, y), r, colour, cv2.FILLED if kind else 3, cv2.LINE_AA)
    if kind == 1:
        for dx, dy in ((-1, -1), (1, -1), (-1, 1), (1, 1)):
            cv2.circle(picture, (x + dx * r // 4, y + dy * r // 4), max(2, r // 8), other, cv2.FILLED, cv2.LINE_AA)
    else:
        for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False):
            tip = (int(x + 0.85 * r * np.cos(turn)), int(y + 0.85 * r * np.sin(turn)))
            cv2.circle(picture, tip, max(1, r // 14), other, cv2.FILLED, cv2.LINE_AA)
        cv2.line(picture, (x, y), (x + r // 2, y - r // 3), other, max(1, r // 16), cv2.LINE_AA)


if __name__ == "__main__":
    main()
