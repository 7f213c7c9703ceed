"""Measure from logs how the labels behave: whether they lead, whether they are likely enough, how often they change.

Usage: python benchmarks/labels.py CLIPS [--before LOGS] [--set expression.hold=... ...]

CLIPS: a folder of videos, each of which is analysed. LOGS: a folder of logs of the same clips, written by an earlier
version, to compare with.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import report

from streamer.emotions import UNCERTAIN
from streamer.records.reading import read_log


def analyse(clip: Path, out: Path, overrides: Sequence[str]) -> Path:
    """Write the log of a clip."""
    log = out / f"{clip.stem}.jsonl"
    more = [part for one in overrides for part in ("--set", one)]
    command = [sys.executable, "-m", "streamer", "run", str(clip), "--log", str(log), *more]
    subprocess.run(command, check=True, capture_output=True)
    return log


def measure(log: Path, threshold: float) -> Counter[str]:
    """Count the rows with a label, those that break a promise, and changes within tracks; time in milliseconds."""
    counts: Counter[str] = Counter()
    tracks: Mapping[int, list[tuple[float, str]]] = defaultdict(list)
    for record in read_log(log):
        for face in record["faces"] if record["type"] == "frame" else ():
            if face["label"] is None:
                continue
            tracks[face["id"]].append((record["time"], face["label"]))
            counts["rows"] += 1
            counts[UNCERTAIN] += face["label"] == UNCERTAIN
            if face["label"] != UNCERTAIN:
                own, highest = face["probabilities"][face["label"]], max(face["probabilities"].values())
                counts["led by another"] += own < highest
                counts["below threshold"] += own < threshold
                counts["other confidence"] += face["confidence"] != own
    for seen in tracks.values():
        shown = [label for _, label in seen]
        named = [label for label in shown if label != UNCERTAIN]
        counts["changes"] += sum(a != b for a, b in pairwise(shown))
        counts["changes of labels"] += sum(a != b for a, b in pairwise(named))
        counts["milliseconds"] += round(1000 * (seen[-1][0] - seen[0][0]))
    return counts


def row(clip: str, now: Counter[str], before: Counter[str] | None) -> dict[str, Any]:
    """Return a line of the table; each cell holds the figure of today, and behind it the one of before."""

    def cell(name: str) -> str:
        return f"{now[name]}" + ("" if before is None else f" ({before[name]})")

    for one in (now, before):
        if one is not None:
            one["a minute"] = round(60000 * one["changes"] / max(one["milliseconds"], 1))
    names = ("rows", UNCERTAIN, "led by another", "below threshold", "other confidence", "changes", "a minute")
    return {"clip": clip} | {name: cell(name) for name in (*names, "changes of labels")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--threshold", type=float, default=0.4)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    rows, more = [], []
    with tempfile.TemporaryDirectory() as folder:
        for clip in sorted(path for path in options.clips.iterdir() if path.is_file()):
            now = measure(analyse(clip, Path(folder), options.overrides), options.threshold)
            old = options.before and options.before / f"{clip.stem}.jsonl"
            before = measure(old, options.threshold) if old else None
            if before is not None and now["changes"] > before["changes"]:
                more.append(clip.stem)
            rows.append(row(clip.stem, now, before))
    notes = (
        "Of all rows of the log with a label. `changes`: consecutive different labels of a track, with 'uncertain'; "
        "`changes of labels`: those of the labels alone. In brackets: before."
    )
    if options.before:
        notes += f" Clips with more changes than before: {', '.join(more) or 'none'}."
    report.write("labels", "Labels over time", rows, notes)


if __name__ == "__main__":
    main()
