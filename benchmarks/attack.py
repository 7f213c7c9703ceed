"""Measure what streams notice of clients that are many, silent, slow, endless or wrong at the control API.

Cameras play a clip with faces; the API and health are served around them as `streamer serve` does. Times with an attack
take turns with quiet ones, so that what else the machine does meets both. The attack comes from a process of its own,
whose CPU time is told: on two cores it takes part of what the streams have. All traffic stays on 127.0.0.1.

Usage: python -m benchmarks.attack [--seconds 10] [--connections 1000] [--streams 2] [--fps 15] [--name attack]
       (results are written where --name is given)
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from streamer.__main__ import limit_memory
from streamer.bench.scene import Played, write_scene
from streamer.build import build_stages
from streamer.config import Config
from streamer.pipeline import Pipeline
from streamer.service.control import Desk
from streamer.sources import prepare_opencv
from streamer.watching.door import Door
from streamer.watching.metrics import Metrics
from tests.attacks import Attacker, kinds
from tests.service.served import TOKEN, Served, served

WARM_UP = 5.0  # s
ATTACKS = {**{kind: [kind] for kind in kinds()}, "all of them": list(kinds())}


class Watch:
    """Hold the latencies of results and the answers of health since the last `take`."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.health: list[float] = []

    def take(self) -> dict[str, Any]:
        """Return the figures, and begin anew."""
        latencies, self.latencies = self.latencies, []
        health, self.health = self.health, []
        ms = 1000 * np.quantile(latencies, [0.5, 0.95]) if latencies else (0.0, 0.0)
        return {
            "results": len(latencies),
            "p50 ms": round(float(ms[0]), 1),
            "p95 ms": round(float(ms[1]), 1),
            "health, slowest s": round(max(health, default=float("nan")), 3),
        }


def probe(service: Served, watch: Watch, over: threading.Event) -> None:
    """Ask for health several times a second."""
    while not over.wait(0.2):
        watch.health.append(service.seconds())


def read(results: Pipeline, watch: Watch) -> None:
    """Take in all results."""
    for result in results:
        watch.latencies.append(time.monotonic() - result.frame.captured_at)


def children_seconds() -> float:
    """Return the CPU time of the processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def measure(service: Served, watch: Watch, seconds: float, connections: int) -> list[dict[str, Any]]:
    """Attack in every way, with a quiet time before each; return a row each."""
    rows: list[dict[str, Any]] = []

    def during(label: str, wait: Callable[[], object]) -> dict[str, Any]:
        watch.take()
        wait()
        return {"what": label, **watch.take(), "ratio of p95": "", "opened": "", "attacker, cores": ""}

    for label, names in ATTACKS.items():
        rows.append(during("quiet", lambda: time.sleep(seconds)))
        spent = children_seconds()
        with Attacker(service.port, *names, connections=connections, seconds=seconds + 5, token=TOKEN) as attacker:
            time.sleep(1.0)  # it connects first
            rows.append(during(label, lambda: time.sleep(seconds)))
        rows[-1]["ratio of p95"] = round(rows[-1]["p95 ms"] / max(rows[-2]["p95 ms"], 0.1), 2)
        rows[-1]["opened"] = attacker.counts["opened"]
        rows[-1]["attacker, cores"] = round((children_seconds() - spent) / (seconds + 1), 2)
        print(rows[-2], rows[-1], sep="\n", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each time, quiet or not")
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--name", help="write results under this name")
    given = parser.parse_args()
    limit_memory()
    prepare_opencv()
    desk, watch, over = Desk(), Watch(), threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        clip = write_scene(Path(folder) / "clip.mp4", 640, 480, 2, 10.0, 100)
        sources = [Played(f"camera-{number}", clip, given.fps, number / 50) for number in range(given.streams)]
        pipeline = build_stages(Config()).pipeline(sources, Metrics(), None, desk.work, keep_open=True)
        with pipeline as results, served(pipeline, desk, Door()) as service:
            threads = [
                threading.Thread(target=read, args=(results, watch)),
                threading.Thread(target=probe, args=(service, watch, over)),
            ]
            for thread in threads:
                thread.start()
            time.sleep(WARM_UP)
            rows = measure(service, watch, given.seconds, given.connections)
            over.set()
            threads[1].join()
            pipeline.stop()
            threads[0].join()
    notes = f"{given.connections} connections at once, {given.streams} streams of {given.fps:g} frames a second."
    if given.name:
        report.write(given.name, "Streams while the control API is attacked", rows, notes)


if __name__ == "__main__":
    main()
