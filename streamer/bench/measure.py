"""Run the pipeline on test streams and tell what came of it: rates, latency, stages, drops, CPU and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import reduce
from operator import add
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from streamer.bench.scene import Played
from streamer.build import build_pipeline
from streamer.config import Config
from streamer.metrics import Metrics, Quantiles
from streamer.overlay import draw
from streamer.sinks.log import LogSink
from streamer.sources import Source
from streamer.summary import summarise
from streamer.types import Step


def measure(config: Config, sources: Sequence[Source], seconds: float, *, overlay: bool = True) -> dict[str, Any]:
    """Analyse the sources for `seconds`, live ones, or to their end; log on, overlay drawn, nothing encoded.

    Returns rates a second of wall time, latency and stages in ms (p50, p95, p99), cores kept busy, memory in MB.
    """
    metrics, faces, shed, first = Metrics(), 0, [0] * len(Step), 0.0
    opened = time.monotonic()
    with (
        TemporaryDirectory() as folder,
        LogSink(Path(folder) / "log.jsonl") as log,
        build_pipeline(config, sources, metrics) as results,
    ):
        began, cpu, memory = time.monotonic(), time.process_time(), resident()
        for result in results:
            first = first or time.monotonic() - opened
            faces += len(result.faces)
            shed[result.shed] += 1
            if overlay:
                with metrics.stage("overlay", 1):
                    draw(result, details=config.overlay.bars, maps=config.overlay.cam)
            with metrics.stage("log", 1):
                log.write(result)
            if time.monotonic() - began > seconds:
                results.stop()
        wall = time.monotonic() - began
        used, grown = time.process_time() - cpu, resident() - memory
    told = _told(metrics, sources, wall, faces, shed)
    return told | {
        "start_s": round(first, 2),
        "cpu_ms_a_frame": round(1000 * used / max(sum(shed), 1), 2),
        "cores_busy": round(used / wall, 2),
        "memory_mb": round(resident(), 1),
        "memory_growth_mb": round(grown, 1),
    }


def resident() -> float:
    """Return the resident set in MB; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if statm.is_file() else 0.0


def _told(metrics: Metrics, sources: Sequence[Source], wall: float, faces: int, shed: Sequence[int]) -> dict[str, Any]:
    summary = summarise(metrics, wall, {})
    results = max(summary["results"], 1)
    rates = {f"{name}_per_s": round(summary[name] / wall, 1) for name in ("results", "fresh_results", "detections")}
    played = [source for source in sources if isinstance(source, Played)]
    stages = dict(metrics.stage_quantiles)
    if played:
        stages["decode"] = reduce(add, (one.decoding for one in played), Quantiles())
    return {
        "streams": len(sources),
        "seconds": round(wall, 2),
        **rates,
        "classifications_per_s": round(summary["faces"] / wall, 1),
        "faces_a_frame": round(faces / results, 2),
        "frames": summary["frames"],
        "dropped": summary["dropped"],
        "missed": sum(one.missed for one in played),
        "latency_ms": summary["latency_ms"],
        "stages_ms": {name: _milliseconds(stages[name]) for name in sorted(stages)},
        "frames_a_tick": _mean(metrics, "streamer_stage_batch_size", stage="perceive"),
        "shed": {step.words or "nothing": round(shed[step] / results, 3) for step in Step if shed[step]},
    }


def _milliseconds(quantiles: Quantiles) -> dict[str, float]:
    return {f"p{share}": round(1000 * quantiles.at(share / 100), 2) for share in (50, 95, 99)}


def _mean(metrics: Metrics, name: str, **labels: str) -> float:
    count = metrics.value(f"{name}_count", **labels)
    return round(metrics.value(f"{name}_sum", **labels) / count, 2) if count else 0.0
