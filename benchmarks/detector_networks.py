"""Time our detector's network and YuNet's in turn on one core: batch 1 and 8, 640x384 and 320x256.

Usage: python benchmarks/detector_networks.py [--yunet face_detection_yunet_2023mar.onnx] [--rounds 60]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import report

from engines import ZOO, Engine, load_engine
from streamer.faces.decode import YUNET

SIZES = ((384, 640), (256, 320))  # height, width
BATCHES = (1, 8)


def milliseconds(engines: Mapping[str, Engine], height: int, width: int, rounds: int) -> list[dict[str, Any]]:
    """Return one row an engine: medians a picture, all engines and batches taking turns."""
    random = np.random.default_rng(0)
    taken: dict[tuple[str, int], list[float]] = {(name, batch): [] for name in engines for batch in BATCHES}
    for _ in range(rounds):
        for (name, batch), times in taken.items():
            engine = engines[name]
            pictures = random.integers(0, 256, (batch, height, width, engine.spec.channels), dtype=np.uint8)
            started = time.process_time()
            engine.infer(pictures)
            times.append(1e3 * (time.process_time() - started) / batch)
    medians = {key: float(np.median(times[5:])) for key, times in taken.items()}
    return [
        {
            "network": name,
            "input": f"{width}x{height}",
            **{f"ms, batch {batch}": round(medians[name, batch], 2) for batch in BATCHES},
            "batch 1 / batch 8": round(medians[name, 1] / medians[name, 8], 2),
            "against ours": round(medians[name, 1] / medians["ours", 1], 2),
        }
        for name in engines
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    engines = {"ours": load_engine(ZOO / "detector.onnx", "detection")}
    if options.yunet:
        engines["YuNet"] = load_engine(options.yunet, "detection", spec=YUNET)
    rows = [row for size in SIZES for row in milliseconds(engines, *size, options.rounds)]
    for engine in engines.values():
        engine.close()
    notes = "CPU time, medians; the networks take turns."
    report.write("detector_networks", "Detector networks, CPU time of a picture", rows, notes)


if __name__ == "__main__":
    main()
