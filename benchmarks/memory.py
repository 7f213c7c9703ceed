"""Measure whether memory, threads and file descriptors stay flat over many frames.

Usage: python benchmarks/memory.py [--frames 10000]
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
from pathlib import Path

import report
from scene import Camera, scene

from streamer.build import build_pipeline
from streamer.config import Config
from streamer.metrics import Metrics
from streamer.overlay import draw
from streamer.sinks.log import LogSink


def resident() -> float:
    """Return the resident set in MB, after a collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    count = parser.parse_args().frames
    pictures = scene(640, 480, 90)
    source = Camera("cam", pictures, 1000, count / 1000)
    source.live = False  # every frame counts: the source waits for the pipeline
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
