"""Time what knowing the visible parts of a face costs: landmarks, visibility, steadying and the choice of region.

Usage: python benchmarks/landmarks.py [--rounds 200]

Crops are cut from a 640x480 picture, one thread; dlib's predictor, where it is installed, runs in the same rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import report

from engines import ZOO, load_engine
from streamer.faces.landmarks import DlibLandmarker, Landmarks, ZooLandmarker
from streamer.faces.steady_landmarks import Steady, SteadySettings
from streamer.faces.visibility import VisibleRegion
from streamer.types import Face

FACES = (1, 4, 8)
WARM_UP = 5  # rounds


def routed(found: Landmarks, boxes: Any, tracks: list[Steady], regions: list[VisibleRegion], moment: float) -> None:
    for row, (track, region) in enumerate(zip(tracks, regions, strict=False)):
        if row == len(boxes):
            break
        face = Face(row, boxes[row], 0.9, moment, found.points[row], found.visibility[row], float(found.usable[row]))  # type: ignore[index]
        steadied = track.update(face, moment)
        region.update(steadied.visibility, steadied.usable)


def runners(image: Any, boxes: Any) -> dict[str, Callable[[int, float], None]]:
    ours = {
        one: ZooLandmarker(load_engine(ZOO / "landmarks.onnx", "landmarks", precision=one)) for one in ("f32", "bf16")
    }
    tracks = [Steady(SteadySettings()) for _ in boxes]
    regions = [VisibleRegion() for _ in boxes]

    def whole(count: int, moment: float) -> None:
        routed(ours["bf16"].look([image], [boxes[:count]])[0], boxes[:count], tracks, regions, moment)

    found: dict[str, Callable[[int, float], None]] = {
        "ours f32": lambda count, _: ours["f32"].look([image], [boxes[:count]]) and None,
        "ours bf16": lambda count, _: ours["bf16"].look([image], [boxes[:count]]) and None,
        "ours bf16, steadied and routed": whole,
    }
    try:
        dlib = DlibLandmarker()
        found["dlib's predictor"] = lambda count, _: dlib.locate(image, boxes[:count]) is None and None
    except ModuleNotFoundError as error:
        print(error)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    boxes = np.stack([np.array([60.0 * i, 100, 60.0 * i + 90, 220], np.float32) for i in range(max(FACES))])
    ways = runners(image, boxes)
    times: dict[tuple[str, int], list[float]] = {(name, count): [] for name in ways for count in FACES}
    for number in range(rounds + WARM_UP):
        for (name, count), taken in times.items():
            started = time.process_time()
            ways[name](count, number / 30)
            if number >= WARM_UP:
                taken.append(1e3 * (time.process_time() - started) / count)
    rows = [
        {"what": name}
        | {f"{count} faces, ms each": round(statistics.quantiles(times[name, count], n=4)[0], 3) for count in FACES}
        for name in ways
    ]
    notes = f"CPU time, lower quartile of {rounds} rounds in turns, one thread; other work shared the machine."
    report.write("landmarks", "Landmarks, visibility and the choice of region", rows, notes)


if __name__ == "__main__":
    main()
