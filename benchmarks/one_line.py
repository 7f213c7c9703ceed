"""Measure what one line of Python costs: `import streamer`, the first `analyze`, and the next ones with warm models.

Usage: python benchmarks/one_line.py [--repeats 20] [--image FILE]

Warm calls are of an array with two faces, in several sizes, on one thread; CPU time too, as a busy machine stretches
the other.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import report

EXAMPLE = Path(__file__).parents[1] / "streamer" / "demo" / "examples" / "two.jpg"
SIZES = ((320, 240), (640, 480), (1280, 960), (1920, 1440))
WARM_UP = 12  # calls: a shape that comes often gets a compiled graph of its own
IMPORT = "import time; started = time.perf_counter(); import streamer; print(time.perf_counter() - started)"


def timed(call: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return the medians of wall and of CPU milliseconds."""
    for _ in range(WARM_UP):
        call()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return 1000 * float(np.median(walls)), 1000 * float(np.median(cpus))


def import_time(repeats: int) -> float:
    """Return the median of seconds that the import takes in a process of its own."""
    runs = [subprocess.run([sys.executable, "-c", IMPORT], check=True, capture_output=True) for _ in range(repeats)]
    return float(np.median([float(run.stdout) for run in runs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--image", type=Path, default=EXAMPLE)
    options = parser.parse_args()
    imported = import_time(options.repeats)

    import streamer

    started = time.perf_counter()
    streamer.analyze(options.image)
    first = time.perf_counter() - started
    picture, rows = cv2.imread(str(options.image)), []
    for size in SIZES:
        array = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        for preset in ("photos", "default"):
            found = len(streamer.analyze(array, config=preset))
            wall, cpu = timed(lambda a=array, p=preset: streamer.analyze(a, config=p), options.repeats)  # type: ignore[misc]
            size_told = "×".join(map(str, size))
            figures = {"ms": round(wall, 1), "CPU ms": round(cpu, 1)}
            rows.append({"picture": size_told, "preset": preset, "faces": found, **figures})
    streamer.close()
    before = f"`import streamer` {1000 * imported:.1f} ms (median); the first `analyze` {first:.2f} s"
    notes = f"{before}, imports and models included."
    report.write("one_line", "One line of Python", rows, notes)


if __name__ == "__main__":
    main()
