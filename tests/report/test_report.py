"""`streamer report`: logs as pages."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamer.report.timeline import MOST_BARS, write
from streamer.sinks.log import LogSink
from streamer.types import NO_REGION, Face, Frame, Result
from tests.conftest import LABELS
from tests.make import expression, face

pytest.importorskip("vl_convert", reason="needs the extra report")

SHARES = dict.fromkeys(LABELS, 0.02) | {LABELS[1]: 0.86}


def judged(
    track_id: int, at: float, label: str = "happiness", region: str = "face", shares: dict[str, float] = SHARES
) -> Face:
    said = expression(label, 0.86, probabilities=shares, region=region, reliability=0.9, time=at)
    return face(track_id=track_id, detected_time=at, expression=said)


def write_log(path: Path, frames: list[tuple[float, list[Face]]], stream: str = "cam") -> Path:
    with LogSink(path) as sink:
        for index, (at, faces) in enumerate(frames):
            frame = Frame(np.zeros((48, 48, 3), np.uint8), stream, index, at, 0.0)
            sink.write(Result(frame, tuple(faces)))
    return path


def chart_of(page: str) -> dict[str, Any]:
    found = re.search(r'vegaEmbed\("#timeline", (\{.*\}), \{actions', page)
    assert found
    spec: dict[str, Any] = json.loads(found[1])
    return spec


def test_a_page_shows_tracks_over_time_with_uncertain_and_regions(tmp_path: Path) -> None:
    moments = [(at / 10, [judged(1, at / 10, "uncertain" if at < 5 else "happiness")]) for at in range(20)]
    moments += [(at / 10, [judged(2, at / 10, region="eyes")]) for at in range(30, 40)]
    page = write([write_log(tmp_path / "a.jsonl", moments)], tmp_path / "a.html").read_text(encoding="utf-8")
    rows = chart_of(page)["data"]["values"]
    assert {row["track"] for row in rows} == {"face 1", "face 2"}
    assert max(row["to"] for row in rows if row["track"] == "face 1") == 2.0
    assert min(row["from"] for row in rows if row["track"] == "face 2") == 3.0
    assert all(row["happiness"] == 0.86 for row in rows)
    assert "25 %" in page  # of face 1's answers
    assert "eyes 100 %" in page
    assert "data:image" not in page.split("<script>")[0], "thumbnails are off unless asked for"
    assert not re.search(r'(src|href)="http', page)


def test_moments_in_which_a_face_cannot_be_judged_are_left_out_of_its_probabilities(tmp_path: Path) -> None:
    hidden = judged(1, 0.1, "uncertain", NO_REGION)
    assert hidden.expression
    one = replace(hidden.expression, confidence=1 / 8, probabilities=dict.fromkeys(LABELS, 1 / 8))
    moments = [(at / 10, [judged(1, at / 10) if at % 2 else replace(hidden, expression=one)]) for at in range(20)]
    page = write([write_log(tmp_path / "a.jsonl", moments)], tmp_path / "a.html").read_text(encoding="utf-8")
    assert {row["happiness"] for row in chart_of(page)["data"]["values"]} == {0.86}
    assert "<td>86 %</td><td>50 %</td>" in page, "mean confidence where it was judged, and the share of uncertain"
    assert "none 50 %" in page


def test_a_long_log_makes_a_small_page(tmp_path: Path) -> None:
    moments = [(at / 5, [judged(i, at / 5) for i in (1, 2)]) for at in range(3000)]
    page = write([write_log(tmp_path / "a.jsonl", moments)], tmp_path / "a.html")
    assert page.stat().st_size < 1.5e6
    rows = chart_of(page.read_text(encoding="utf-8"))["data"]["values"]
    assert len(rows) <= 2 * (MOST_BARS + 1)


def test_several_logs_keep_their_tracks_apart(tmp_path: Path) -> None:
    logs = [write_log(tmp_path / name, [(0.0, [judged(1, 0.0)])]) for name in ("a.jsonl", "b.jsonl")]
    page = write(logs, tmp_path / "both.html").read_text(encoding="utf-8")
    assert {row["track"] for row in chart_of(page)["data"]["values"]} == {"a: cam 1", "b: cam 1"}


def test_logs_of_networks_with_other_labels_keep_their_own(tmp_path: Path) -> None:
    own = [judged(1, 0.0), judged(2, 0.0, "glad", shares={"glad": 0.7, "happiness": 0.2, "bored": 0.1})]
    logs = [write_log(tmp_path / f"{one.track_id}.jsonl", [(0.0, [one])]) for one in own]
    chart = chart_of(write(logs, tmp_path / "both.html").read_text(encoding="utf-8"))
    one, other = sorted(chart["data"]["values"], key=lambda row: row["track"])
    assert {name: one[name] for name in ("happiness", "neutral", "glad")} == dict(happiness=0.86, neutral=0.02, glad=0)
    assert {name: other[name] for name in ("happiness", "neutral", "glad")} == dict(happiness=0.2, neutral=0, glad=0.7)
    assert chart["transform"][0]["fold"] == [*LABELS, "glad", "bored"]


def test_a_log_that_was_filtered_is_told_in_a_line(tmp_path: Path) -> None:
    log = write_log(tmp_path / "a.jsonl", [(0.0, [judged(1, 0.0)])])
    log.write_text(log.read_text().replace('"region":"face",', ""))
    with pytest.raises(ValueError, match=r"a\.jsonl: a record is not as schema \d+ says: see `streamer log validate`"):
        write([log], tmp_path / "a.html")


def test_a_log_without_faces_is_a_friendly_page(tmp_path: Path) -> None:
    page = write([write_log(tmp_path / "a.jsonl", [(0.0, [])], stream="<i>door")], tmp_path / "a.html").read_text()
    assert "No face was seen." in page
    assert "<i>door" not in page
    assert "vegaEmbed" not in page


def test_thumbnails_come_from_the_video_when_it_is_given(tmp_path: Path) -> None:
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 10, (48, 48))
    for _ in range(3):
        writer.write(np.full((48, 48, 3), 200, np.uint8))
    writer.release()
    log = write_log(tmp_path / "a.jsonl", [(at / 10, [judged(1, at / 10)]) for at in range(3)])
    assert "data:image/jpeg;base64," in write([log], tmp_path / "a.html", clip).read_text()
    with pytest.raises(ValueError, match="expected one log of one stream"):
        write([log, write_log(tmp_path / "b.jsonl", [(0.0, [judged(1, 0.0)])])], tmp_path / "b.html", clip)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("hello\n")
    with pytest.raises(ValueError, match="expected a JSON object"):
        write([tmp_path / "a.jsonl"], tmp_path / "a.html")
    with pytest.raises(FileNotFoundError, match="expected a log"):
        write([tmp_path / "missing.jsonl"], tmp_path / "a.html")
    log = write_log(tmp_path / "b.jsonl", [(0.0, [judged(1, 0.0)])])
    with pytest.raises(OSError, match="cannot write the report"):
        write([log], tmp_path / "missing" / "a.html")
    with pytest.raises(ValueError, match=r"b\.jsonl: is a source too, and would be replaced"):
        write([log], log)
