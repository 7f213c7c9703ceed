"""Measure how cuts are noticed: in videos of shots of clips and photos, and in long takes that have none.

Usage: python benchmarks/cuts.py --clips CLIPS --photos PHOTOS [--shots 41] [--seed 0]

The shots of a video follow each other in an order by chance, no two of a clip in a row; it is encoded with H.264 and
analysed as users do. Takes: every clip as it is (all but those named with --cut), and photos under a camera that pans,
zooms, shakes, changes its exposure or is blinded by flashes, or that somebody walks by.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import report
from numpy.typing import NDArray

from streamer.build import build_stages
from streamer.config import Config
from streamer.faces.cuts import Cuts
from streamer.sinks.video import VideoSink
from streamer.sources import open_source
from streamer.types import Frame, Result

Picture = NDArray[np.uint8]
WIDTH, HEIGHT, FPS = 640, 360, 25
MARGIN = 1.4  # of a photo around what is seen of it
TAKE = 50  # frames


def read(path: Path) -> list[Picture]:
    """Return the frames of a clip."""
    frames = open_source(str(path)).frames(threading.Event(), lambda state, reason, cause: None)
    return [np.asarray(frame.image, np.uint8) for frame in frames]


def fitted(image: Picture, scale: float = 1.0) -> Picture:
    """Scale a picture so that it fills `scale` frames, and cut off what is over."""
    width, height = round(scale * WIDTH), round(scale * HEIGHT)
    factor = max(width / image.shape[1], height / image.shape[0])
    size = (max(width, round(image.shape[1] * factor)), max(height, round(image.shape[0] * factor)))
    large = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return np.ascontiguousarray(large[top : top + height, left : left + width])


def seen(photo: Picture, x: float = 0.0, y: float = 0.0, zoom: float = 1.0) -> Picture:
    """Look at a photo of MARGIN frames through a camera that is moved by shares of the frame."""
    turned = cv2.getRotationMatrix2D((photo.shape[1] / 2, photo.shape[0] / 2), 0, zoom)
    turned[:, 2] += [(1 - MARGIN) / 2 * WIDTH + x * WIDTH, (1 - MARGIN) / 2 * HEIGHT + y * HEIGHT]
    return np.asarray(cv2.warpAffine(photo, turned, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT), np.uint8)


def lit(image: Picture, gain: float) -> Picture:
    return np.clip(image * np.float32(gain), 0, 255).astype(np.uint8)


def flash(image: Picture, gain: float, x: float) -> Picture:
    """Light a picture from near a place."""
    across, down = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    shares = 1 + (gain - 1) * np.exp(-((across - x) ** 2 + (down - 0.5) ** 2) / 0.4)
    return np.clip(image * shares[..., None] + 15, 0, 255).astype(np.uint8)


def walked_by(image: Picture, walker: Picture, share: float) -> Picture:
    """Put somebody of 40 % of the width in front, who has gone a share of the way."""
    crossed, wide = image.copy(), WIDTH * 2 // 5
    left = round(share * (WIDTH + wide)) - wide
    first, last = max(left, 0), min(left + wide, WIDTH)
    crossed[:, first:last] = walker[:, first - left : last - left]
    return crossed


def takes(photo: Picture, walker: Picture, random: np.random.Generator) -> dict[str, Iterator[Picture]]:
    """Return takes of a photo, of TAKE frames each, by what happens in them."""
    still, steps = seen(photo), range(TAKE)
    swing = [0.19 * np.sin(2 * np.pi * step / 12) for step in steps]  # up to 10 % of the width a frame
    light = np.repeat(random.uniform(0.35, 2.0, TAKE // 5), 5)
    flashes = {step: float(random.random()) for step in random.choice(TAKE, 6, replace=False)}
    return {
        "pan, to 10 % a frame": (seen(photo, x) for x in swing),
        "zoom, to 8 % a frame": (seen(photo, zoom=1 + 0.16 * abs(x) / 0.19) for x in swing),
        "shaken, ±3 %": (seen(photo, *random.uniform(-0.03, 0.03, 2)) for _ in steps),
        "exposure ×0.35 to ×2": (lit(still, gain) for gain in light),
        "flashes, to ×4": (flash(still, 4, flashes[step]) if step in flashes else still for step in steps),
        "somebody walks by": (walked_by(still, walker, step / TAKE) for step in steps),
        "dark, with noise": (lit(still, 0.1) + random.integers(0, 12, still.shape, np.uint8) for _ in steps),
    }


def alarms(pictures: Iterator[Picture] | Sequence[Picture]) -> tuple[int, int]:
    """Return how many pictures there were, and how many cuts were noticed."""
    cuts = Cuts()
    found = [cuts.update(picture) for picture in pictures]
    return len(found), sum(found)


def shots_of(
    clips: Sequence[list[Picture]], photos: Sequence[Picture], random: np.random.Generator
) -> Iterator[tuple[int, Picture]]:
    """Yield (number of the shot, picture) of shots of half a second to two, of clips and of photos under a slow pan."""
    last, number = -1, 0
    while True:
        length, choice = int(random.integers(12, 50)), int(random.integers(0, 2 * len(clips)))
        if choice == last:
            continue
        last = choice
        if choice < len(clips):
            start = int(random.integers(0, max(1, len(clips[choice]) - length)))
            pictures = [fitted(picture) for picture in clips[choice][start : start + length]]
        else:
            photo = fitted(photos[int(random.integers(0, len(photos)))], MARGIN)
            pictures = [seen(photo, 0.002 * step) for step in range(length)]
        for picture in pictures:
            yield number, picture
        number += 1


def write_shots(path: Path, count: int, shots: Iterator[tuple[int, Picture]]) -> list[int]:
    """Write a video of `count` shots; return the shot of each frame."""
    numbers = []
    with VideoSink(path, FPS) as sink:
        for index, (number, picture) in enumerate(shots):
            if number >= count:
                break
            sink.write(Result(Frame(picture, "shots", index, index / FPS, 0.0), ()), picture)
            numbers.append(number)
    return numbers


def crossings(path: Path, numbers: Sequence[int]) -> Counter[str]:
    """Analyse a video of shots; count cuts that were noticed, false ones, and ids that cross a cut."""
    stages, cuts, counts = build_stages(Config()), Cuts(), Counter(cuts=numbers[-1])
    began: dict[int, int] = {}  # shot in which an id was first
    crossed: set[int] = set()
    for frame in open_source(str(path)).frames(threading.Event(), lambda state, reason, cause: None):
        [result] = stages.finish(stages.perceive([frame]))
        shot = numbers[frame.index]
        if cuts.update(frame.image):
            counts["noticed" if frame.index and numbers[frame.index - 1] != shot else "false"] += 1
        old = {face.track_id for face in result.faces if began.setdefault(face.track_id, shot) != shot}
        counts["frames"] += bool(old)
        crossed |= old
    for one in stages.owned:
        one.close()
    return counts + Counter({"ids": len(began), "crossed": len(crossed)})


def milliseconds(pictures: Sequence[Picture], size: tuple[int, int]) -> float:
    """Return the median time a picture takes, at a size."""
    cuts, spent = Cuts(), []
    for picture in pictures:
        large = np.asarray(cv2.resize(picture, size), np.uint8)
        started = time.perf_counter()
        cuts.update(large)
        spent.append(time.perf_counter() - started)
    return 1000 * float(np.median(spent))


def rows_of_takes(
    clips: dict[str, list[Picture]], photos: Sequence[Picture], random: np.random.Generator
) -> list[dict[str, Any]]:
    """Return lines of the table: takes without cuts, by kind."""
    totals: dict[str, Counter[str]] = {}

    def add(kind: str, pictures: Iterator[Picture] | Sequence[Picture]) -> None:
        frames, found = alarms(pictures)
        totals.setdefault(kind, Counter()).update(frames=frames, cuts=found)

    for frames in clips.values():
        add("clips as they are", frames)
        add("clips, every fifth frame", frames[::5])
    for index, photo in enumerate(photos):
        walker = fitted(photos[(index + 1) % len(photos)])
        for kind, pictures in takes(fitted(photo, MARGIN), walker, random).items():
            add(f"photos: {kind}", pictures)
    return [row(f"no cut: {kind}", one["frames"], 0, 0, one["cuts"]) for kind, one in totals.items()]


def row(what: str, frames: int, cuts: int, missed: int, false: int, said: str = "") -> dict[str, Any]:
    return {"what": what, "frames": frames, "cuts": cuts, "missed": missed, "false alarms": false, "ids": said}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--cut", action="append", default=[], help="a clip that has cuts itself")
    parser.add_argument("--shots", type=int, default=41)
    parser.add_argument("--most", type=int, default=40, help="photos that takes are made of")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    clips = {path.name: read(path) for path in sorted(options.clips.iterdir()) if path.name not in options.cut}
    files = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = random.choice(len(files), min(len(files), 4 * options.most), replace=False)
    photos = [
        image for at in chosen if (image := cv2.imread(str(files[at]))) is not None and min(image.shape[:2]) >= 200
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shots.mp4"
        numbers = write_shots(path, options.shots, shots_of(list(clips.values()), photos, random))
        found = crossings(path, numbers)
    said = f"{found['ids']}, of which {found['crossed']} cross a cut, in {found['frames']} frames"
    missed = found["cuts"] - found["noticed"]
    rows = [row("shots of clips and photos", len(numbers), found["cuts"], missed, found["false"], said)]
    rows += rows_of_takes(clips, photos[: options.most], random)
    sizes = [(640, 360), (1280, 720), (1920, 1080)]
    frames = [picture for one in clips.values() for picture in one[:40]]
    spent = ", ".join(f"{milliseconds(frames, size):.2f} ms at {size[0]}x{size[1]}" for size in sizes)
    report.write("cuts", "Cuts", rows, f"A picture takes {spent} (median over the clips).")


if __name__ == "__main__":
    main()
