"""A log as a page: the emotions of every track over time, and tables of what was seen."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np

from engines.errors import UserError
from streamer.emotions import UNCERTAIN
from streamer.faces.regions import crop
from streamer.records.reading import read_log, trusting
from streamer.records.summary import summarise_log
from streamer.report.page import label_colours, preparing_charts, render, require_charts, write_page
from streamer.sinks.files import check_replaces_none
from streamer.types import NO_REGION

STEP = 0.25  # seconds that are averaged while reading, so that memory grows with time, not with frames
MOST_CHARTS = 24  # tracks with a chart, those seen longest
MOST_BARS = 200  # of one chart
MOST_ROWS = 500  # of the table of tracks
THUMBNAIL = 72  # pixels

Sums = dict[str, float]
"""Probabilities added up, by label."""


@dataclass
class Track:
    """Add up one face of a stream: labels, regions, and of what could be judged probabilities and the surest moment."""

    stream: str
    id: int
    first: float
    last: float = 0.0
    frames: int = 0
    confidence: float = 0.0
    labels: Counter[str] = field(default_factory=Counter)
    regions: Counter[str] = field(default_factory=Counter)
    steps: dict[int, tuple[int, Sums]] = field(default_factory=dict)
    best: tuple[float, int, list[float]] = (-1.0, 0, [])

    def add(self, frame: Mapping[str, Any], face: Mapping[str, Any]) -> None:
        """Take in a record of this face."""
        self.last, self.frames = frame["time"], self.frames + 1
        if not face["label"]:
            return
        self.labels[face["label"]] += 1
        self.regions[face["region"]] += 1
        if face["region"] == NO_REGION:  # all labels are as likely there
            return
        if face["label"] != UNCERTAIN:
            self.confidence += face["confidence"]
        if face["confidence"] > self.best[0]:
            self.best = (face["confidence"], frame["index"], face["box"])
        step = int(frame["time"] / STEP)
        count, sums = self.steps.get(step, (0, {}))
        self.steps[step] = (count + 1, _added(sums, face["probabilities"]))

    def bars(self, seconds: float) -> list[tuple[float, Sums]]:
        """Return (start, mean probabilities by label) of spans of `seconds` in which the face was judged."""
        merged: dict[int, tuple[int, Sums]] = {}
        for step, (count, sums) in self.steps.items():
            at = int(step * STEP / seconds + 1e-6)
            before, total = merged.get(at, (0, {}))
            merged[at] = (before + count, _added(total, sums))
        return [
            (seconds * at, {label: value / count for label, value in sums.items()})
            for at, (count, sums) in sorted(merged.items())
        ]


def _added(sums: Mapping[str, float], values: Mapping[str, float]) -> Sums:
    return {label: sums.get(label, 0.0) + values.get(label, 0.0) for label in (*sums, *values)}


def write(logs: Sequence[Path], out: Path, video: Path | None = None) -> Path:
    """Write the page of one or several logs; return its path.

    video: what was analysed, to show faces from; then there must be one log of one stream. Raises UserError or
    OSError with one line.
    """
    check_replaces_none([out], [*logs, *filter(None, [video])])
    records = chain.from_iterable(_named(path, len(logs) > 1) for path in logs)
    tracks: dict[tuple[str, str, int], Track] = {}
    with preparing_charts(), trusting(" or ".join(map(str, logs))):
        summary = summarise_log(_watch(records, tracks))
    ordered = sorted(tracks.values(), key=lambda track: -track.frames)
    faces = {}
    if video:
        if len(summary["streams"]) != 1 or summary["runs"] != 1:
            raise UserError(f"--thumbnails {video}: expected one log of one stream, found {len(summary['streams'])}")
        faces = thumbnails(video, ordered[:MOST_ROWS])
    charted = [track for track in ordered[:MOST_CHARTS] if track.steps]
    page = render(
        "timeline.html",
        {"timeline": _chart(charted)} if charted else {},
        title=", ".join(path.name for path in logs),
        streams=summary["streams"],
        lost=summary["lost"],
        uncertain=UNCERTAIN,
        tracks=[_row(track, faces.get(track.id)) for track in ordered[:MOST_ROWS]],
        total=len(ordered),
        charted=len(charted),
    )
    write_page(out, page)
    return out


def _named(path: Path, several: bool) -> Iterable[dict[str, Any]]:
    for record in read_log(path):
        yield record | {"stream": f"{path.stem}: {record['stream']}"} if several and "stream" in record else record


def _watch(records: Iterable[dict[str, Any]], tracks: dict[tuple[str, str, int], Track]) -> Iterable[dict[str, Any]]:
    """Pass records on and add up their faces on the way."""
    run = ""
    for record in records:
        if record["type"] == "run":
            run = record.get("run", "")
        for face in record["faces"] if record["type"] == "frame" else ():
            key = (run, record["stream"], face["id"])
            if key not in tracks:
                tracks[key] = Track(record["stream"], face["id"], record["time"])
            tracks[key].add(record, face)
        yield record


def _row(track: Track, picture: str | None) -> dict[str, Any]:
    known = track.labels.total()
    labelled = known - track.labels[UNCERTAIN]
    return {
        "stream": track.stream,
        "id": track.id,
        "picture": picture,
        "first": track.first,
        "last": track.last,
        "labels": {label: count / known for label, count in track.labels.most_common(3)},
        "confidence": track.confidence / labelled if labelled else None,
        "uncertain": track.labels[UNCERTAIN] / known if known else None,
        "regions": {region: count / known for region, count in track.regions.most_common()},
    }


def _chart(tracks: Sequence[Track]) -> Any:
    """Stack the mean probabilities of every track over time, one row a track; where it was not seen it is empty."""
    alt = require_charts()
    length = max(track.last for track in tracks) + STEP
    seconds = max(STEP, STEP * np.ceil(length / MOST_BARS / STEP))
    several = len({track.stream for track in tracks}) > 1
    labels = list(dict.fromkeys(label for track in tracks for _, sums in track.steps.values() for label in sums))
    rows = [
        {
            "track": f"{track.stream} {track.id}" if several else f"face {track.id}",
            "from": round(start, 2),
            "to": round(start + seconds, 2),
            **{label: round(means.get(label, 0.0), 3) for label in labels},  # networks differ in their labels
        }
        for track in tracks
        for start, means in track.bars(seconds)
    ]
    order = list(dict.fromkeys(row["track"] for row in rows))
    bars = alt.Chart(alt.Data(values=rows), width=760, height=70).mark_bar(strokeWidth=0, binSpacing=0)
    return (
        bars.transform_fold(labels, as_=["emotion", "probability"])
        .encode(
            x=alt.X("from:Q", bin="binned", title="seconds", scale=alt.Scale(domain=[0, length], nice=False)),
            x2="to:Q",
            y=alt.Y("probability:Q", stack="normalize", title=None, axis=alt.Axis(values=[0, 1], format="%")),
            color=label_colours("emotion", labels, labels),
            row=alt.Row("track:N", sort=order, title=None, header=alt.Header(labelAngle=0, labelAlign="left")),
            tooltip=["track:N", "from:Q", "emotion:N", alt.Tooltip("probability:Q", format=".0%")],
        )
        .configure_facet(spacing=6)
        .configure_view(stroke=None)
    )


def thumbnails(video: Path, tracks: Sequence[Track]) -> dict[int, str]:
    """Cut each track's face out of the frame where its answer was surest: JPEG as base64, by track id."""
    from streamer.sources import open_source

    wanted: dict[int, list[Track]] = {}
    for track in tracks:
        if track.best[2]:
            wanted.setdefault(track.best[1], []).append(track)
    found: dict[int, str] = {}
    for frame in open_source(str(video)).frames(Event(), lambda state, reason, cause: None):
        for track in wanted.pop(frame.index, ()):
            box = np.array(track.best[2], np.float32)
            face = crop(frame.image, box, THUMBNAIL, THUMBNAIL, 3)
            found[track.id] = base64.b64encode(cv2.imencode(".jpg", face)[1].tobytes()).decode()
        if not wanted:
            break
    return found
