"""The totals of a run: read from its metrics, printed as a table and written as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer.pipeline import SourceState
from streamer.watching.metrics import Metrics, Quantiles

COUNTS = {
    "frames": "streamer_frames_total",
    "dropped": "streamer_frames_dropped_total",
    "results": "streamer_results_total",
    "fresh_results": "streamer_results_fresh_total",
    "detections": "streamer_detections_total",
    "faces": "streamer_face_records_total",
    "classifications": "streamer_classifications_total",
    "tracks": "streamer_tracks_total",
    "retries": "streamer_source_retries_total",
}


def summarise(
    metrics: Metrics, states: Mapping[str, SourceState], seconds: float, failures: Mapping[str, Exception]
) -> dict[str, Any]:
    """Return totals, latency in ms, mean milliseconds a call of each stage, and the same per source.

    frames: captured; results: analysed; fresh_results: those whose faces were all detected at most 0.2 s and classified
    at most 0.1 s before; faces: in all results, as many as a log has face records; classifications: answers of networks
    to faces; tracks: different faces; fps: results a second of wall time.
    """
    counted = metrics.by_stream()
    streams = {
        stream: {
            "state": str(states[stream].state),
            **_figures({key: int(counted[stream][name]) for key, name in COUNTS.items()}, seconds),
            "latency_ms": _latency(metrics.quantiles.get(stream, Quantiles())),
            **({"error": str(failures[stream])} if stream in failures else {}),
        }
        for stream in sorted(states)
    }
    totals = {key: sum(one[key] for one in streams.values()) for key in COUNTS}
    return {
        "seconds": round(seconds, 3),
        **_figures(totals, seconds),
        "latency_ms": _latency(reduce(add, metrics.quantiles.values(), Quantiles())),
        "stages_ms": {stage: _mean_ms(metrics, stage) for stage in ("perceive", "express")},
        "sources": streams,
    }


def write_summary(summary: dict[str, Any], path: Path) -> None:
    """Write the summary as JSON, whole or not at all. Raises OSError."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(f"{path}: cannot write the summary: {error.strerror}") from error


def check_summary(path: Path) -> None:
    """Raise OSError where the summary could not be written, before any work is done."""
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise OSError(f"{path}: cannot write the summary: expected a file in a folder that can be written to")


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print one line a source, and the total where there are several."""
    table = Table("source", "frames", "dropped", "faces", "tracks", "fps", "p50 ms", "p95 ms", "p99 ms", "state")
    for name, one in summary["sources"].items():
        table.add_row(Text(name), *_cells(one), one["state"])
    if len(summary["sources"]) > 1:
        table.add_row("all", *_cells(summary), "", style="bold")
    console.print(table)
    stages = ", ".join(f"{stage} {ms:.1f} ms" for stage, ms in summary["stages_ms"].items())
    console.print(f"{summary['seconds']:.1f} s; mean a call: {stages}")


def _figures(counts: dict[str, int], seconds: float) -> dict[str, Any]:
    return {**counts, "fps": round(counts["results"] / seconds, 2) if seconds else 0.0}


def _latency(quantiles: Quantiles) -> dict[str, float]:
    return {f"p{share}": round(1000 * quantiles.at(share / 100), 2) for share in (50, 95, 99)}


def _mean_ms(metrics: Metrics, stage: str) -> float:
    calls = metrics.value("streamer_stage_seconds_count", stage=stage)
    return round(1000 * metrics.value("streamer_stage_seconds_sum", stage=stage) / calls, 3) if calls else 0.0


def _cells(one: dict[str, Any]) -> list[str]:
    counts = [str(one[key]) for key in ("frames", "dropped", "faces", "tracks")]
    return [*counts, f"{one['fps']:.1f}", *(f"{one['latency_ms'][key]:.0f}" for key in ("p50", "p95", "p99"))]
