"""What a log tells in a few figures, as `streamer log summary` shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from streamer.emotions import UNCERTAIN


@dataclass
class StreamFigures:
    """Add up one stream of a log: frame records, face records, those by label, tracks, and how long it lasted.

    seconds: of each run in the log, from its first frame on.
    """

    frames: int = 0
    faces: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    tracks: set[tuple[str, int]] = field(default_factory=set)

    def add(self, run: str, frame: dict[str, Any]) -> None:
        """Count a frame record of a run."""
        self.frames += 1
        self.faces += len(frame["faces"])
        self.seconds[run] = max(self.seconds.get(run, 0.0), frame["time"])
        self.tracks.update((run, face["id"]) for face in frame["faces"])
        self.labels.update(face["label"] for face in frame["faces"] if face["label"])

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON values; labels as shares of the classified face records."""
        total = self.labels.total()
        labels = {label: round(count / total, 4) for label, count in self.labels.most_common()}
        counts = {"frames": self.frames, "seconds": round(sum(self.seconds.values()), 3), "faces": self.faces}
        return {**counts, "tracks": len(self.tracks), "labels": labels, "states": dict(self.states)}


def summarise_log(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return runs, lost records, and per stream frames, seconds, faces, tracks, label shares and states."""
    streams: dict[str, StreamFigures] = {}
    runs, lost, run = 0, 0, ""
    for record in records:
        if record["type"] == "run":
            runs, run = runs + 1, record.get("run", "")
        elif record["type"] == "gap":
            lost += record["lost"]
        elif record["type"] == "frame":
            streams.setdefault(record["stream"], StreamFigures()).add(run, record)
        elif record["type"] == "source":
            streams.setdefault(record["stream"], StreamFigures()).states[record["state"]] += 1
    return {"runs": runs, "lost": lost, "streams": {name: one.as_json() for name, one in streams.items()}}


def print_log_summary(summary: dict[str, Any], console: Console) -> None:
    """Print one line a stream."""
    table = Table("stream", "frames", "seconds", "faces", "tracks", "uncertain", "labels", "retries")
    for name, one in summary["streams"].items():
        counts = [str(one["frames"]), f"{one['seconds']:.1f}", str(one["faces"]), str(one["tracks"])]
        labels = ", ".join(f"{label} {share:.0%}" for label, share in one["labels"].items() if label != UNCERTAIN)
        uncertain = f"{one['labels'].get(UNCERTAIN, 0):.0%}"
        table.add_row(Text(name), *counts, uncertain, labels, str(one["states"].get("retrying", 0)))
    console.print(table)
    console.print(f"runs: {summary['runs']}, records lost: {summary['lost']}")
