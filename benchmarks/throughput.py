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
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs
import report

from streamer.__main__ import limit_memory
from streamer.bench.scene import write_scene
from streamer.commands.bench import Wishes, run
from streamer.config import Config, load_config
from streamer.sources import prepare_opencv
from streamer.types import Step

OFFLINE = Wishes(size=(1280, 720), faces=4, offline=True)
CAMERAS = Wishes(size=(640, 480), fps=15, faces=2, warm_up=8)  # seconds; graphs are made for new batch sizes
FULL = 0.97  # share of the frames that make results, where so many streams fit
MOST = 64  # cameras that are tried
SETTLED = 20.0  # seconds; until then decoders, slots and tracks take their memory
OVERLOAD = 60.0  # seconds
SPARED = {"nothing", Step.MAPS.words}
CAMERAS_LABEL = "{} x 640x480 at 15, 2 faces each"
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


def figures(config: Config, wishes: Wishes) -> dict[str, Any]:
    """Measure once."""
    with TemporaryDirectory() as folder:
        return run(config, wishes, Path(folder))


def row(label: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the table shows of a measurement."""
    shown = {title: "-" if found[key] is None else found[key] for title, key in COLUMNS.items()}
    latency = {f"{share} ms": found["latency_ms"][share] for share in ("p50", "p95", "p99")}
    left_out = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["shed"].items())
    return {"run": label, **shown, **latency, "left out": left_out}


def fits(found: Mapping[str, Any]) -> bool:
    """Tell whether nothing but maps was left out, and next to no frame."""
    return set(found["shed"]) <= SPARED and found["frames"] - found["dropped"] >= FULL * found["frames"]


def most_cameras(config: Config, seconds: float) -> tuple[int, dict[str, Any]]:
    """Search for the largest number of cameras that fit; return it with its figures."""
    tried: dict[int, dict[str, Any]] = {}

    def fit(count: int) -> bool:
        tried[count] = figures(config, replace(CAMERAS, streams=count, duration=seconds))
        return fits(tried[count])

    most, more = 4, 8
    if not fit(most):
        raise RuntimeError(f"not even {most} cameras fit: {tried[most]}")
    while more < MOST and fit(more):
        most, more = more, 2 * more
    while more - most > 1:
        between = (most + more) // 2
        most, more = (between, more) if fit(between) else (most, between)
    return most, tried[most]


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
    limit_memory()  # as the command line does
    prepare_opencv()
    cache = f"cache={platformdirs.user_cache_dir('emotion-streamer')}"
    config = load_config(Config, None, [cache, *options.overrides])
    every = load_config(Config, None, [cache, "expression.interval=0", *options.overrides])
    seconds = options.seconds
    few = figures(every, replace(OFFLINE, duration=seconds))
    many = figures(every, replace(OFFLINE, faces=12, duration=seconds))
    rows = [row("offline 1280x720, 4 faces", few), row("offline 1280x720, 12 faces", many)]
    live = Wishes(size=(1280, 720), faces=4, fps=30, duration=seconds)
    rows.append(row("live 1280x720 at 30, 4 faces", figures(config, live)))
    rows.append(row(CAMERAS_LABEL.format(4), figures(config, replace(CAMERAS, streams=4, duration=seconds))))
    most, found = most_cameras(config, seconds)
    rows.append(row(f"as many as fit: {CAMERAS_LABEL.format(most)}", found))
    twice = replace(CAMERAS, streams=2 * most, duration=OVERLOAD, warm_up=SETTLED)
    rows.append(row(f"twice what fits, for {OVERLOAD:.0f} s: {CAMERAS_LABEL.format(2 * most)}", figures(config, twice)))
    extra = (1 / many["results_per_s"] - 1 / few["results_per_s"]) / 8
    more = (many["cpu_ms_a_frame"] - few["cpu_ms_a_frame"]) / 8
    notes = (
        f"Cost of an extra face: {1000 * extra:.2f} ms of wall time, {more:.2f} ms of CPU. `start s`: from building "
        f"the pipeline to its first result. Cameras fit where {100 * FULL:.0f} % of the frames make results and "
        f"nothing is left out but maps. They play {CAMERAS.warm_up:.0f} s before they are measured, under overload "
        f"{SETTLED:.0f} s. Memory is resident memory at the end, its growth that of the second half. "
        f"{starts(options.overrides)}"
    )
    report.write("throughput", "Throughput and latency of the pipeline", rows, notes, ("run", "p95 ms"))


if __name__ == "__main__":
    main()
