"""Measure how cost and latency grow with faces, cameras and resolution.

Usage: python benchmarks/scaling.py [--seconds 6] [--set detector.min_face=40 ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import altair
import platformdirs
import report

from streamer.commands.bench import Wishes, run
from streamer.config import Config, load_config

FACES = (1, 2, 4, 8, 16, 32, 64)
CAMERAS = (1, 2, 4, 8, 16)
SIZES = ((320, 240), (640, 480), (1280, 720), (1920, 1080))
AXES = {
    "faces": "faces in 1920x1080, offline",
    "cameras": "cameras of 640x480 at 15, two faces each",
    "size": "megapixels of a picture with two faces, offline",
}


def runs(seconds: float) -> list[tuple[str, float, Wishes]]:
    """List what is measured: what grows, to how much, and the wishes."""
    offline = [("faces", n, Wishes(size=(1920, 1080), faces=n, offline=True, duration=seconds / 2)) for n in FACES]
    cameras = [("cameras", n, Wishes(streams=n, fps=15, duration=seconds, warm_up=seconds)) for n in CAMERAS]
    sizes = [("size", w * h / 1e6, Wishes(size=(w, h), offline=True, duration=seconds)) for w, h in SIZES]
    return [*offline, *cameras, *sizes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    cache = f"cache={platformdirs.user_cache_dir('emotion-streamer')}"
    rows: list[dict[str, Any]] = []
    for grows, to, wishes in runs(options.seconds):
        every = ["expression.interval=0"] if wishes.offline else []
        config = load_config(Config, None, [cache, *every, *options.overrides])
        with TemporaryDirectory() as folder:
            found = run(config, wishes, Path(folder))
        rows.append(
            {
                "grows": grows,
                "to": round(to, 2),
                "results/s": found["results_per_s"],
                "fresh/s": found["fresh_results_per_s"],
                "faces a frame": found["faces_a_frame"],
                "dropped": found["dropped"],
                "p95 ms": found["latency_ms"]["p95"],
                "CPU ms a frame": found["cpu_ms_a_frame"],
                "left out": ", ".join(f"{name} {100 * share:.0f} %" for name, share in found["shed"].items()),
                "perceive p50 ms": found["stages_ms"]["perceive"]["p50"],
                "express p50 ms": found["stages_ms"]["express"]["p50"],
            }
        )
        print(rows[-1], flush=True)
    notes = "; ".join(f"{grows}: {axis}" for grows, axis in AXES.items()) + ". Cameras play as long before as measured."
    report.write("scaling", "Growth with faces, cameras and resolution", rows, notes)
    draw(rows)


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw CPU time a frame, and for cameras latency too, against what grows."""
    charts = [
        altair.Chart(altair.InlineData(values=[row for row in rows if row["grows"] == grows]), width=240)
        .mark_line(point=True)
        .encode(x=altair.X("to:Q", title=AXES[grows]), y=altair.Y(f"{figure}:Q"))
        for grows, figure in [*((grows, "CPU ms a frame") for grows in AXES), ("cameras", "p95 ms")]
    ]
    altair.hconcat(*charts).save(str(report.RESULTS / "scaling.png"))


if __name__ == "__main__":
    main()
