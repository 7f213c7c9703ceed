"""Measure whether memory, threads and file descriptors stay flat over many frames.

Usage: python benchmarks/memory.py [--frames 10000]
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import report

from streamer.bench.measure import resident as in_memory
from streamer.bench.scene import write_scene
from streamer.build import build_pipeline
from streamer.config import Config
from streamer.drawing.overlay import draw
from streamer.sinks.log import LogSink
from streamer.sources import Report
from streamer.types import Frame
from streamer.watching.metrics import Metrics


def resident() -> float:
    """Return the resident set in MB, after a collection."""
    gc.collect()
    return in_memory()


class Loop:
    """Show a clip of 90 pictures over and over; every frame counts: the source waits for the pipeline."""

    live, fps, total = False, 30.0, None

    def __init__(self, clip: Path, count: int) -> None:
        self.name, self._count = "clip", count
        reader = cv2.VideoCapture(str(clip))
        self._pictures = [reader.read()[1] for _ in range(90)]
        reader.release()

    def frames(self, stop: threading.Event, report: Report) -> Iterator[Frame]:
        for index in range(self._count):
            if stop.is_set():
                return
            yield Frame(self._pictures[index % 90].copy(), self.name, index, index / 30, time.monotonic())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    count = parser.parse_args().frames
    with tempfile.TemporaryDirectory() as folder:
        source = Loop(write_scene(Path(folder) / "scene.mp4", 640, 480, 4, 30, 90), count)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    at: dict[int, float] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        LogSink(Path(folder) / "log.jsonl") as log,
        build_pipeline(Config(), [source], Metrics()) as results,
    ):
        for done, result in enumerate(results, 1):
            draw(result)
            log.write(result)
            if done % (count // 10) == 0:
                at[done] = resident()
    rows = [{"frames": done, "resident MB": round(size, 2)} for done, size in at.items()]
    grown = at[count] - at[count // 2]
    threads, descriptors = threading.active_count() - threads, len(os.listdir("/proc/self/fd")) - descriptors
    left = f"{threads} threads and {descriptors} descriptors left"
    report.write("memory", "Memory over a long run", rows, f"Growth over the second half: {grown:.2f} MB; {left}.")


if __name__ == "__main__":
    main()
