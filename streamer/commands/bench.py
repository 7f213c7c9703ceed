"""The command `streamer bench`: test streams in, a table, JSON and a plot out."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

import streamer
from engines.errors import UserError
from streamer.bench.measure import measure
from streamer.bench.scene import Played, write_scene
from streamer.config import Config
from streamer.report.page import require_charts
from streamer.sources import Source, open_sources
from streamer.watching.machine import cores, processor

LOOP = 6.0  # seconds of a made clip
SHARES = ("p50", "p95", "p99")
PLOTS = (".png", ".svg", ".html")


@dataclass(frozen=True)
class Wishes:
    """Say what is measured. source: a clip instead of the made ones; size: width and height of those, in pixels.

    warm_up: seconds that cameras play before they are measured.
    """

    source: Path | None = None
    streams: int = 1
    faces: int = 2
    size: tuple[int, int] = (640, 480)
    fps: float = 30.0
    duration: float = 10.0
    offline: bool = False
    warm_up: float = 3.0


def bench(config: Config, wishes: Wishes, out: Path | None, plot: Path | None) -> None:
    """Measure, show the table, and write JSON and plot where they are wanted.

    Raises UserError or OSError in one line.
    """
    check_outputs(out, plot)
    console = Console(highlight=False)
    with TemporaryDirectory() as folder:
        found = run(config, wishes, Path(folder))
    show(found, console)
    if out:
        text = json.dumps({**about(wishes), **found}, indent=2) + "\n"
        out.write_text(text, encoding="utf-8")
    if plot:
        draw_plot(found, plot)


def check_outputs(out: Path | None, plot: Path | None) -> None:
    """Check before the run that its results can be written. Raises UserError or OSError."""
    if plot:
        require_charts()
        if plot.suffix not in PLOTS:
            raise UserError(f"--plot {plot}: expected a name that ends in {', '.join(PLOTS)}")
    for path in filter(None, (out, plot)):
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise OSError(f"{path}: cannot be written: expected a file in a folder that can be written to")


def run(config: Config, wishes: Wishes, folder: Path) -> dict[str, Any]:
    """Measure what is wished for, a clip in full and cameras for their time; return the figures."""
    if wishes.offline:
        return measure(config, streams(wishes, folder), math.inf)
    return measure(config, streams(wishes, folder), wishes.duration, warm_up=wishes.warm_up)


def streams(wishes: Wishes, folder: Path) -> list[Source]:
    """Make the clip where none was given; return what plays it. Cameras do not show their frames at the same moment."""
    clip = wishes.source
    if clip is None:
        frames = round(wishes.fps * (wishes.duration if wishes.offline else min(LOOP, wishes.duration)))
        clip = write_scene(folder / "scene.mp4", *wishes.size, wishes.faces, wishes.fps, max(frames, 2))
    if wishes.offline:
        return open_sources([str(clip)] * wishes.streams)
    if not clip.is_file():
        raise FileNotFoundError(f"{clip}: expected a video file")
    step = 1 / wishes.fps / wishes.streams
    return [Played(f"cam-{n + 1}", clip, wishes.fps, offset=n * step) for n in range(wishes.streams)]


def about(wishes: Wishes) -> dict[str, Any]:
    """Say what was measured, on what."""
    return {
        "version": streamer.__version__,
        "machine": f"{processor()}, {cores()} cores, Python {platform.python_version()}",
        "source": wishes.source.name if wishes.source else "made",
        "faces": wishes.faces,
        "size": list(wishes.size),
        "fps": wishes.fps,
        "offline": wishes.offline,
    }


def show(found: dict[str, Any], console: Console) -> None:
    """Print rates and a table of what takes how long."""
    table = Table("ms", *SHARES)
    for name, times in [*found["stages_ms"].items(), ("capture to result", found["latency_ms"])]:
        table.add_row(name, *(f"{times[share]:.1f}" for share in SHARES))
    console.print(table)
    left_out = ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["shed"].items())
    growth = found["memory_growth_mb"]
    grown = "" if growth is None else f" ({growth:+.1f} in the second half)"
    lines = (
        f"{found['results_per_s']} results/s, {found['fresh_results_per_s']} of them fresh; "
        f"{found['detections_per_s']} detections/s, {found['classifications_per_s']} classifications/s",
        f"{found['faces_a_frame']} faces a frame, {found['frames_a_tick']} frames a tick; {found['frames']} frames, "
        f"{found['dropped']} dropped, {found['missed']} missed by the clip's reader; left out: {left_out}",
        f"{found['cores_busy']} cores busy, {found['cpu_ms_a_frame']} ms of them a frame; {found['memory_mb']} MB"
        f"{grown}; first result after {found['start_s']} s",
    )
    console.print("\n".join(lines), soft_wrap=True)


def draw_plot(found: dict[str, Any], path: Path) -> None:
    """Draw the quantiles of every stage as bars: PNG, SVG or HTML by the file's name. Needs the extra `report`."""
    altair = require_charts()
    rows = [
        {"stage": name, "quantile": share, "ms": times[share]}
        for name, times in [*found["stages_ms"].items(), ("capture to result", found["latency_ms"])]
        for share in SHARES
    ]
    chart = altair.Chart(altair.InlineData(values=rows), width=520, title="Milliseconds by stage").mark_bar().encode(
        x="ms:Q", y=altair.Y("stage:N", sort=[row["stage"] for row in rows]), yOffset="quantile:N", color="quantile:N"
    )  # fmt: skip
    chart.save(str(path))


def parse_size(text: str) -> tuple[int, int]:
    """Turn WIDTHxHEIGHT into two numbers. Raises UserError."""
    parts: Sequence[str] = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and 64 <= int(part) <= 8192 for part in parts):
        raise UserError(f"--size: expected WIDTHxHEIGHT from 64 to 8192 pixels, found '{text}'")
    width, height = (int(part) // 2 * 2 for part in parts)
    return width, height
