"""Measure what the analyzer promises on two cores: offline, live, several cameras, overload.

Usage: python benchmarks/throughput.py [--seconds 12] [--set detector.kind=zoo ...]

Clips are encoded before; the log is written and the overlay drawn, no video is encoded. A result is fresh if every face
in it was detected at most 0.2 s and classified at most 0.1 s before. Offline, every face is classified in every frame.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs
import report

from streamer.bench.command import Wishes, streams
from streamer.bench.measure import measure
from streamer.bench.scene import write_scene
from streamer.config import Config, load_config

OFFLINE = Wishes(size=(1280, 720), faces=4, offline=True)
CAMERAS = Wishes(size=(640, 480), fps=15, faces=2)
FULL = 0.97  # share of the frames that make results: that many streams fit
COLUMNS = {
    "results/s": "results_per_s",
    "fresh/s": "fresh_results_per_s",
    "detections/s": "detections_per_s",
    "classifications/s": "classifications_per_s",
    "faces a frame": "faces_a_frame",
    "frames": "frames",
    "dropped": "dropped",
    "CPU ms a frame": "cpu_ms_a_frame",
    "start s": "start_s",
    "memory MB": "memory_mb",
    "growth MB": "memory_growth_mb",
}


def row(label: str, config: Config, wishes: Wishes) -> dict[str, Any]:
    """Measure once; return what the table shows."""
    with TemporaryDirectory() as folder:
        found = measure(config, streams(wishes, Path(folder)), 120.0 if wishes.offline else wishes.duration)
    shown = {title: found[key] for title, key in COLUMNS.items()}
    latency = {f"{share} ms": found["latency_ms"][share] for share in ("p50", "p95", "p99")}
    left_out = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["shed"].items())
    return {"run": label, **shown, **latency, "left out": left_out}


FIRST_RESULT = """
import sys
from streamer.build import build_pipeline
from streamer.config import Config, load_config
from streamer.sources import open_source, prepare_opencv
prepare_opencv()
with build_pipeline(load_config(Config, None, sys.argv[2:]), [open_source(sys.argv[1])]) as results:
    next(iter(results))
    print(flush=True)
    results.stop()
"""


def seconds_to_first_result(clip: Path, overrides: list[str]) -> float:
    """Start a process of its own on a clip; return the seconds until its first result."""
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", FIRST_RESULT, str(clip), *overrides], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        process.stdout.readline()
        return time.perf_counter() - started


def starts(overrides: list[str]) -> str:
    """Say how long a start takes with an empty cache and with a full one: the best of three each."""
    with TemporaryDirectory() as name:
        clip = write_scene(Path(name) / "clip.mp4", 640, 480, 2, 30, 30)
        cold = min(seconds_to_first_result(clip, [f"cache={name}/cold-{n}", *overrides]) for n in range(3))
        warm = min(seconds_to_first_result(clip, [f"cache={name}/cold-0", *overrides]) for _ in range(3))
    return f"Process start to first result: {cold:.2f} s with an empty cache, {warm:.2f} s after that (best of three)."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    cache = f"cache={platformdirs.user_cache_dir('emotion-streamer')}"
    config = load_config(Config, None, [cache, *options.overrides])
    every = load_config(Config, None, [cache, "expression.interval=0", *options.overrides])
    seconds = options.seconds
    rows = [row("offline 1280x720, 4 faces", every, replace(OFFLINE, duration=seconds))]
    rows.append(row("offline 1280x720, 12 faces", every, replace(OFFLINE, faces=12, duration=seconds)))
    live = Wishes(size=(1280, 720), faces=4, fps=30, duration=seconds)
    rows.append(row("live 1280x720 at 30, 4 faces", config, live))
    fit, count = 0, 4
    while count <= 32:
        wishes = replace(CAMERAS, streams=count, duration=seconds)
        rows.append(row(f"live {count} x 640x480 at 15, 2 faces each", config, wishes))
        if rows[-1]["results/s"] < FULL * count * wishes.fps:
            break
        fit, count = count, 2 * count
    if fit:
        wishes = replace(CAMERAS, streams=2 * fit, duration=3 * seconds)
        rows.append(row(f"twice what fits: {2 * fit} x 640x480 at 15, three times as long", config, wishes))
    extra = (1 / rows[1]["results/s"] - 1 / rows[0]["results/s"]) / 8
    notes = (
        f"Cost of an extra face: {1000 * extra:.2f} ms of wall time, "
        f"{(rows[1]['CPU ms a frame'] - rows[0]['CPU ms a frame']) / 8:.2f} ms of CPU. `start s`: from building the "
        f"pipeline to its first result. Memory growth holds the models' own warming up. {starts(options.overrides)}"
    )
    report.write("throughput", "Throughput and latency of the pipeline", rows, notes)


if __name__ == "__main__":
    main()
