"""What belief brings: faces found and pictures without people hit by it, on labelled pictures kept from training.

Usage: python benchmarks/belief.py PICTURES [--fonts FOLDER] [--detector FILE] [--landmarks FILE] [--config photos]

PICTURES: the file of labelled pictures that `train fit configs/train/detector.yaml` made (`data.cache`). Those that
neither detector nor landmark network learned from are searched, and print in fonts and layouts never trained on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import report
from numpy.typing import NDArray
from rich.progress import track

from streamer.build import load_detector, load_landmarker
from streamer.config import Config, load_config, preset
from streamer.faces.belief import judge
from train.detector.batches import rendered
from train.detector.batches.pictures import EMPTY, Picture, load
from train.landmarks.batches.found import is_kept, rough_look

MARKED = ("people", "loose")
SIZES = {"from 64 px": (64, np.inf), "32-64": (32, 64), "20-32": (20, 32)}
PRINTED = 300
RATES = (0.005, 0.01, 0.015, 0.02)  # shares of pictures without people that may be hit


@dataclass(frozen=True, eq=False)
class Searched:
    """Hold a picture with the (F,) best belief in an answer on each marked face, and the best on none."""

    picture: Picture
    faces: NDArray[np.float32]
    nothing: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--fonts", type=Path)
    parser.add_argument("--detector")
    parser.add_argument("--landmarks")
    parser.add_argument("--config", default="photos")
    parser.add_argument("--name", default="belief")
    options = parser.parse_args()
    chosen = {"detector.model": options.detector, "landmarks.model": options.landmarks}
    config = load_config(Config, preset(options.config), [f"{key}={file}" for key, file in chosen.items() if file])
    pictures = [*kept(load(options.pictures)), *printed(options.fonts)]
    found = list(search(pictures, config))
    empty = sum(one.picture.source in EMPTY for one in found)
    notes = (
        f"`{options.config}`; {len(found)} pictures, {empty} of them without people. A face is found where the middle "
        "of an answer lies in its mark and the areas differ by four times at most. A picture is hit by one answer."
    )
    report.write(options.name, "Belief: faces found against pictures hit", [row(found, rate) for rate in RATES], notes)


def kept(pictures: list[Picture]) -> Iterator[Picture]:
    """Yield what was kept from training; of pictures that look alike one."""
    looks = set()
    for picture in pictures:
        look = rough_look(picture)
        if picture.source in (*MARKED, *EMPTY) and (picture.held or is_kept(picture)) and look not in looks:
            looks.add(look)
            yield picture


def printed(fonts: Path | None) -> Iterator[Picture]:
    """Draw pages, slides and screens in fonts and layouts that are never trained on."""
    files = [] if fonts is None else rendered.fonts_in(fonts, unseen=True)
    for number in range(PRINTED if files else 0):
        image = rendered.render(files, np.random.default_rng((7, number)), rendered.UNSEEN)
        nobody = np.zeros((0, 4), np.float32)
        yield Picture(image, nobody, np.zeros((0, 5, 2), np.float32), np.zeros(0, bool), "rendered")


def search(pictures: list[Picture], config: Config) -> Iterator[Searched]:
    """Search pictures as the analyzer does."""
    landmarker = load_landmarker(config.landmarks)
    assert landmarker is not None
    with closing(load_detector(config.detector)) as detector, closing(landmarker):
        for picture in track(pictures, "searching"):
            image = np.asarray(cv2.cvtColor(picture.image, cv2.COLOR_GRAY2BGR), np.uint8)
            [found] = detector.detect([image])
            sides = (found.boxes[:, 2:] - found.boxes[:, :2]).max(axis=1, initial=0)
            found = found[(sides >= detector.min_face) & (found.scores >= config.tracker.low_score)]
            [(_, beliefs)] = judge(landmarker, [image], [found])
            assert beliefs is not None
            on = lies_on(found.boxes, picture.boxes)
            best = np.where(on, beliefs[:, None], 0).max(axis=0, initial=0)
            yield Searched(picture, best, float(beliefs[~on.any(axis=1)].max(initial=0)))


def lies_on(boxes: NDArray[np.float32], marks: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which of (N, 4) boxes lie on which of (M, 4) marks: the middle within, areas alike within four times."""
    middle = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
    within = ((middle >= marks[:, :2]) & (middle <= marks[:, 2:])).all(axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None] / np.prod(marks[:, 2:] - marks[:, :2], axis=1)
    return np.asarray(within & (areas > 0.25) & (areas < 4))


def row(found: list[Searched], rate: float) -> dict[str, Any]:
    """Return the lowest belief at which at most this share of pictures without people is hit, and what it finds."""
    nobody = [one for one in found if one.picture.source in EMPTY]
    worst = np.sort([one.nothing for one in nobody])[::-1]
    border = float(worst[int(rate * len(worst))])
    shares: dict[str, Any] = {"hit at most": rate, "belief above": round(border, 4)}
    for source in EMPTY:
        beliefs = [one.nothing for one in nobody if one.picture.source == source]
        shares[f"{source} hit"] = round(float(np.mean(np.array(beliefs) > border)), 4) if beliefs else None
    for source in MARKED:
        for name, bounds in SIZES.items():
            shares[f"{source} {name}"] = recall([one for one in found if one.picture.source == source], bounds, border)
    return shares


def recall(found: list[Searched], bounds: tuple[float, float], border: float) -> float:
    """Return the share of the sure faces of a size that are believed."""
    beliefs = []
    for one in found:
        sides = (one.picture.boxes[:, 2:] - one.picture.boxes[:, :2]).max(axis=1, initial=0)
        beliefs += one.faces[one.picture.sure & (sides >= bounds[0]) & (sides < bounds[1])].tolist()
    return round(float(np.mean(np.array(beliefs) > border)), 4)


if __name__ == "__main__":
    main()
