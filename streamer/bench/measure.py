"""Run the pipeline on test streams and measure rates, latency, stages, drops, CPU and memory."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from streamer.bench.scene import Played
from streamer.build import build_pipeline
from streamer.config import Config
from streamer.drawing.overlay import draw
from streamer.sinks.log import LogSink
from streamer.sources import Source
from streamer.types import Result, Step
from streamer.watching.metrics import Metrics, Quantiles
from streamer.watching.run_summary import COUNTS

STAGES = ("decode", "perceive", "express", "overlay", "log")  # in the order of a frame's way; decoding of cameras only
RATES = {
    "results_per_s": "results",
    "fresh_results_per_s": "fresh_results",
    "detections_per_s": "detections",
    "classifications_per_s": "classifications",
}


@dataclass(frozen=True)
class Reading:
    """Hold the totals of a run so far; the difference of two readings is what happened between them.

    wall, cpu: seconds. memory: resident MB. counts: totals by name. times: quantiles of every stage and of 'latency'.
    """

    wall: float
    cpu: float
    memory: float
    counts: Counter[str]
    times: Mapping[str, Quantiles]

    def __sub__(self, earlier: Reading) -> Reading:
        wall, cpu, memory = self.wall - earlier.wall, self.cpu - earlier.cpu, self.memory - earlier.memory
        counts = Counter(self.counts)
        counts.subtract(earlier.counts)
        times = {name: times - earlier.times.get(name, Quantiles()) for name, times in self.times.items()}
        return Reading(wall, cpu, memory, counts, times)


class Meter:
    """Count what comes out of a pipeline, and read what is known of the run; in the caller's thread."""

    def __init__(self, metrics: Metrics, sources: Sequence[Source]) -> None:
        self._metrics = metrics
        self._played = [source for source in sources if isinstance(source, Played)]
        self._counts: Counter[str] = Counter()

    def count(self, result: Result) -> None:
        """Take in one result."""
        self._counts["shown"] += len(result.faces)
        self._counts[_left_out(result.shed)] += 1

    def read(self) -> Reading:
        """Return the totals up to now."""
        counted = self._metrics.by_stream().values()
        counts = Counter({key: int(sum(one[name] for one in counted)) for key, name in COUNTS.items()})
        counts += self._counts + Counter(missed=sum(one.missed for one in self._played))
        times = {name: Quantiles() + times for name, times in self._metrics.stage_quantiles.items()}
        times["latency"] = reduce(add, self._metrics.quantiles.values(), Quantiles())
        if self._played:
            times["decode"] = reduce(add, (one.decoding for one in self._played), Quantiles())
        return Reading(time.monotonic(), time.process_time(), resident(), counts, times)


def measure(
    config: Config, sources: Sequence[Source], seconds: float, *, warm_up: float = 0.0, overlay: bool = True
) -> dict[str, Any]:
    """Analyse the sources for `seconds` after `warm_up`, or to their end; log on, overlay drawn, nothing encoded.

    Returns, of the time after the warm-up, rates a second of wall time, latency and stages in ms (p50, p95, p99) and
    cores kept busy; the resident memory in MB and its growth since half of `seconds` (None where the sources ended
    before); and `start_s`, when the first result came.
    """
    metrics, opened, first = Metrics(), time.monotonic(), 0.0
    meter, start, half = Meter(metrics, sources), None, None
    with (
        TemporaryDirectory() as folder,
        LogSink(Path(folder) / "log.jsonl") as log,
        build_pipeline(config, sources, metrics) as results,
    ):
        start = began = meter.read()
        for result in results:
            first = first or time.monotonic() - opened
            meter.count(result)
            passed = time.monotonic() - began.wall - warm_up
            if start is began and warm_up and passed >= 0:
                start = meter.read()
            if half is None and passed >= seconds / 2:
                half = meter.read()
            if passed >= seconds:
                results.stop()
            if overlay:
                with metrics.stage("overlay", 1):
                    draw(result, details=config.overlay.bars, maps=config.overlay.cam)
            with metrics.stage("log", 1):
                log.write(result)
        end = meter.read()
    return {
        "streams": len(sources),
        "start_s": round(first, 2),
        **_told(end - start),
        "memory_mb": round(end.memory, 1),
        "memory_growth_mb": half and round(end.memory - half.memory, 1),
    }


def resident() -> float:
    """Return the resident set in MB; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.is_file() else 0.0


def _told(run: Reading) -> dict[str, Any]:
    counts, times = run.counts, dict(run.times)
    latency, results = times.pop("latency"), max(counts["results"], 1)
    return {
        "seconds": round(run.wall, 2),
        **{rate: round(counts[name] / run.wall, 1) for rate, name in RATES.items()},
        "faces_a_frame": round(counts["shown"] / results, 2),
        **{name: counts[name] for name in ("frames", "dropped", "missed")},
        "latency_ms": _milliseconds(latency),
        "stages_ms": {name: _milliseconds(times[name]) for name in STAGES if name in times},
        "frames_a_tick": round(results / max(times["perceive"].count, 1), 2),
        "shed": {name: round(counts[name] / results, 3) for name in map(_left_out, Step) if counts[name]},
        "cpu_ms_a_frame": round(1000 * run.cpu / results, 2),
        "cores_busy": round(run.cpu / run.wall, 2),
    }


def _left_out(step: Step) -> str:
    return step.words or "nothing"


def _milliseconds(quantiles: Quantiles) -> dict[str, float]:
    return {f"p{share}": round(1000 * quantiles.at(share / 100), 2) for share in (50, 95, 99)}
