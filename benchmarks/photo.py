"""Measure `streamer photo` on a 12-megapixel photo with 40 faces, and `streamer report` on a 10-minute log.

Usage: python benchmarks/photo.py [--repeats 3] [--set detector.kind=... ...]

Both are timed as commands, from start to exit. The photo is composed here from the public-domain astronaut portrait.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import report
from numpy.typing import NDArray

from streamer.sinks.log import LogSink
from streamer.types import Expression, Face, Frame, Result

LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS, ROWS = 8, 5


def group_photo(width: int = 4000, height: int = 3000) -> NDArray[np.uint8]:
    """Compose 40 portraits of faces from about 55 to 190 pixels on a textured ground."""
    from skimage.data import astronaut

    random = np.random.default_rng(0)
    portrait = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)[20:280, 110:340]  # the face is about 105 pixels wide
    ground = random.normal(120, 25, (height // 8, width // 8, 3)).clip(0, 255).astype(np.uint8)
    photo = cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC)
    for place in range(COLUMNS * ROWS):
        scale = float(random.uniform(0.52, 1.8))
        head = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        head = head[:, ::-1] if place % 2 else head
        row, column = divmod(place, COLUMNS)
        y = row * height // ROWS + (height // ROWS - head.shape[0]) // 2
        x = column * width // COLUMNS + (width // COLUMNS - head.shape[1]) // 2
        photo[y : y + head.shape[0], x : x + head.shape[1]] = head
    return np.asarray(photo, np.uint8)


def write_log(path: Path, minutes: float = 10, fps: float = 25, faces: int = 2) -> None:
    """Write a log of faces whose answers wander."""
    random = np.random.default_rng(0)
    image = np.zeros((8, 8, 3), np.uint8)
    with LogSink(path) as sink:
        for index in range(round(60 * minutes * fps)):
            at = index / fps
            seen = []
            for face in range(faces):
                shares = random.dirichlet(2 + 10 * (np.arange(8) == int(at / 20 + face) % 8))
                leading = int(shares.argmax())
                probabilities = dict(zip(LABELS, shares.tolist(), strict=True))
                said = Expression(LABELS[leading], float(shares[leading]), probabilities, "face", 0.9, True, at)
                seen.append(Face(face + 1, np.array([0, 0, 8, 8], np.float32), 0.9, at, expression=said))
            sink.write(Result(Frame(image, "cam", index, at, 0.0), tuple(seen)))


def timed(*arguments: str, repeats: int) -> float:
    """Run a command several times; return the median of its seconds."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "streamer", *arguments], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    overrides = [part for one in options.overrides for part in ("--set", one)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cv2.imwrite(str(folder / "group.jpg"), group_photo())
        rows = []
        for more, what in (((), ""), (("--attention",), ", with the attention view")):
            command = ("photo", str(folder / "group.jpg"), "--out", name, *more, *overrides)
            seconds = timed(*command, repeats=options.repeats)
            found = json.loads((folder / "photos.json").read_text())["photos"][0]["summary"]["faces"]
            page = (folder / "report.html").stat().st_size
            said = f"photo, 12 megapixels, {found} of 40 faces found{what}"
            rows.append({"command": said, "s": seconds, "page MB": page / 1e6})
        write_log(folder / "log.jsonl")
        seconds = timed("report", str(folder / "log.jsonl"), repeats=options.repeats)
        page = (folder / "log.html").stat().st_size
        rows.append({"command": "report, 10 minutes, 25 fps, 2 faces", "s": seconds, "page MB": page / 1e6})
    rounded = [{key: round(v, 2) if isinstance(v, float) else v for key, v in row.items()} for row in rows]
    notes = "Whole commands, from start to exit; median."
    report.write("photo", "Group photo and report of a log", rounded, notes)


if __name__ == "__main__":
    main()
