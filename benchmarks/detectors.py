"""Time the detectors on the same pictures in one run: HOG, ours and, with its file, YuNet.

Usage: python benchmarks/detectors.py [--yunet face_detection_yunet_2023mar.onnx] [--rounds 20]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import report

from streamer.bench.scene import draw_scene
from streamer.build import load_detector
from streamer.config import DetectorConfig
from streamer.faces.detect import Detector

WARM_UP = 12  # rounds; a size that is seen often gets a graph of its own
SIZES = ((640, 480, 2), (1280, 720, 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    detectors: dict[str, Detector] = {}
    for smallest in (80, 40):
        detectors[f"HOG, faces from {smallest} px"] = load_detector(DetectorConfig(kind="hog", min_face=smallest))
        detectors[f"ours, faces from {smallest} px"] = load_detector(DetectorConfig(kind="zoo", min_face=smallest))
        if options.yunet:
            config = DetectorConfig(kind="yunet", model=options.yunet, min_face=smallest)
            detectors[f"YuNet, faces from {smallest} px"] = load_detector(config)
    rows: list[dict[str, Any]] = [{"detector": name} for name in detectors]
    for width, height, faces in SIZES:
        pictures = [draw_scene(width, height, faces, index / 8) for index in range(8)]
        times: dict[str, list[float]] = {name: [] for name in detectors}
        found = dict.fromkeys(detectors, 0)
        for turn in range(options.rounds + WARM_UP):
            for name, detector in detectors.items():
                started = time.process_time()
                [one] = detector.detect([pictures[turn % 8]])
                if turn >= WARM_UP:
                    times[name].append(1000 * (time.process_time() - started))
                    found[name] += len(one)
        for row in rows:
            name = row["detector"]
            row[f"{width}x{height} CPU ms"] = round(statistics.median(times[name]), 1)
            row[f"{width}x{height} found of {faces}"] = round(found[name] / options.rounds, 2)
    notes = "CPU time of one picture, median. Every picture holds the same portrait several times."
    report.write("detectors", "Detectors on the same pictures", rows, notes, ("detector", "1280x720 CPU ms"))


if __name__ == "__main__":
    main()
