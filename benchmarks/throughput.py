"""Measure the whole pipeline: four faces live at 640x480, offline at 1280x720.

Usage: python benchmarks/throughput.py [--seconds 20] [--set detector.min_face=60 ...]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import report
from scene import Camera, scene, write_clip

from streamer.build import build_pipeline
from streamer.config import Config, load_config
from streamer.metrics import Metrics
from streamer.sources import Source, open_source
from streamer.summary import summarise


def measure(config: Config, label: str, sources: list[Source]) -> dict[str, Any]:
    """Run the sources to their end and return one row."""
    metrics, faces = Metrics(), []
    with build_pipeline(config, sources, metrics) as results:
        started = time.monotonic()
        for result in results:
            faces.append(len(result.faces))
    summary = summarise(metrics, time.monotonic() - started, {})
    seconds = summary["seconds"]
    return {
        "run": label,
        "results/s": round(summary["results"] / seconds, 1),
        "fresh results/s": round(summary["fresh_results"] / seconds, 1),
        "detections/s": round(summary["detections"] / seconds, 1),
        "classifications/s": round(summary["faces"] / seconds, 1),
        "faces (mean)": round(sum(faces) / len(faces), 2),
        "dropped": summary["dropped"],
        "p50 ms": summary["latency_ms"]["p50"],
        "p95 ms": summary["latency_ms"]["p95"],
        "p99 ms": summary["latency_ms"]["p99"],
        "perceive ms": summary["stages_ms"]["perceive"],
        "express ms": summary["stages_ms"]["express"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    config = load_config(Config, None, options.overrides)
    small = scene(640, 480, 90)
    rows = [measure(config, "live 640x480, 30 fps, 4 faces", [Camera("cam", small, 30, options.seconds)])]
    two = [Camera(f"cam-{i}", small, 15, options.seconds) for i in (1, 2)]
    rows.append(measure(config, "live 2 x 640x480, 15 fps, 8 faces", list(two)))
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, scene(1280, 720, 300))
        rows.append(measure(config, "offline 1280x720, 4 faces", [open_source(str(clip))]))
    notes = (
        "A result is fresh if every face in it was detected at most 0.2 s and classified at most 0.1 s before; "
        "latency is from the end of the read to the caller's loop."
    )
    report.write("throughput", "Throughput and latency of the pipeline", rows, notes)


if __name__ == "__main__":
    main()
