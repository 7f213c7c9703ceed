from __future__ import annotations

import re
import urllib.error
import urllib.request
from dataclasses import replace

import numpy as np
import pytest

from streamer.pipeline import SourceState
from streamer.records.reading import read_log
from streamer.records.summary import summarise_log
from streamer.records.tables import convert
from streamer.sinks.log import LogSink
from streamer.sources import State
from streamer.types import NO_REGION, Detections
from streamer.watching.health import HealthServer
from streamer.watching.metrics import Metrics, Quantiles
from streamer.watching.run_summary import summarise
from tests.make import expression, face, pipeline, result


def aged(time, *, detected=0.0, classified=0.0, track_id=1):
    """Return a frame whose face was detected and classified so many seconds before."""
    judged = face(track_id=track_id, detected_time=time - detected, expression=expression(time=time - classified))
    return replace(result(0, judged, time=time), found=Detections.empty() if detected == 0 else None)


def test_quantiles_are_right_within_two_percent():
    values = np.random.default_rng(0).lognormal(-3, 0.7, 5000)
    quantiles = Quantiles()
    for value in values:
        quantiles.add(value)
    for share in (0.05, 0.5, 0.95, 0.99):
        assert quantiles.at(share) == pytest.approx(np.quantile(values, share), rel=0.03)
    assert (quantiles + quantiles).at(0.5) == quantiles.at(0.5)
    assert (quantiles + quantiles - quantiles).at(0.95) == quantiles.at(0.95)
    assert quantiles.count == 5000
    assert Quantiles().at(0.5) == 0.0


def test_quantiles_bear_values_out_of_range():
    quantiles = Quantiles()
    for value in (0.0, 1e9):
        quantiles.add(value)
    assert quantiles.at(0.0) <= quantiles.at(1.0) <= 110


def test_a_result_is_fresh_only_if_detection_and_classification_are():
    metrics = Metrics()
    for detected, classified in ((0.0, 0.0), (0.2, 0.1), (0.21, 0.0), (0.0, 0.11)):
        metrics.record(aged(10.0, detected=detected, classified=classified), captured=4, dropped=0)
    assert metrics.value("streamer_results_total", stream="cam") == 4
    assert metrics.value("streamer_results_fresh_total", stream="cam") == 2
    assert metrics.value("streamer_detections_total", stream="cam") == 2


def test_a_face_that_cannot_be_judged_was_not_classified():
    metrics, seen = Metrics(), aged(1.0)
    [face] = seen.faces
    hidden = replace(face, expression=replace(face.expression, label="uncertain", region=NO_REGION))
    metrics.record(seen, captured=1, dropped=0)
    metrics.record(replace(seen, faces=(hidden,)), captured=2, dropped=0)
    assert metrics.value("streamer_classifications_total", stream="cam") == 1
    assert metrics.value("streamer_labels_total", stream="cam", label="uncertain") == 0
    assert metrics.value("streamer_results_fresh_total", stream="cam") == 2


def test_tracks_are_counted_once():
    metrics = Metrics()
    for track_id in (1, 1, 2, 1, 3):
        metrics.record(aged(1.0, track_id=track_id), captured=5, dropped=0)
    assert metrics.value("streamer_tracks_total", stream="cam") == 3


def test_tracks_of_a_stream_that_has_its_name_anew_are_counted_from_there():
    metrics = Metrics()
    metrics.record(aged(1.0, track_id=3), captured=5, dropped=0)
    metrics.forget("cam")
    metrics.record(aged(1.0, track_id=4), captured=5, dropped=0)
    assert metrics.value("streamer_tracks_total", stream="cam") == 1


def test_metrics_are_served_and_stop_being_served():
    metrics = Metrics()
    metrics.record(aged(1.0), captured=7, dropped=3)
    metrics.record_state("cam", State.LIVE)
    empty = pipeline(metrics=metrics)
    with HealthServer(empty, 0, "127.0.0.1") as served:
        place = f"127.0.0.1:{served.port}"
        with urllib.request.urlopen(f"http://{place}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        with pytest.raises(OSError, match=rf"metrics\.port: {place} cannot be opened"):
            HealthServer(empty, served.port, "127.0.0.1")
    assert 'streamer_frames_dropped_total{stream="cam"} 3.0' in text
    assert 'streamer_source_state{state="live",stream="cam"} 1.0' in text
    assert all(re.match(r"streamer_\w+", line) for line in text.splitlines() if line and line[0] != "#")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{place}/metrics", timeout=5)


def test_faces_are_those_of_the_log_in_every_table_and_classifications_are_answers(tmp_path):
    metrics, log = Metrics(), tmp_path / "log.jsonl"
    with LogSink(log) as sink:
        for index in range(10):
            seen = aged(0.0, track_id=1 + index // 5)
            face = seen.faces[0]
            if index % 2:  # the answer is that of the frame before
                face = replace(face, expression=replace(face.expression, time=-0.04))
            seen = replace(seen, faces=(face,))
            metrics.record(seen, captured=index + 1, dropped=0)
            sink.write(replace(seen, frame=replace(seen.frame, index=index)))
    states = {"cam": SourceState(State.ENDED, "", None, 0.0)}
    run, kept = summarise(metrics, states, 1.0, {}), summarise_log(read_log(log))["streams"]["cam"]
    assert (run["faces"], run["tracks"]) == (kept["faces"], kept["tracks"]) == (10, 2)
    assert run["classifications"] == 5
    assert convert(log, tmp_path / "faces.csv") == 10
    assert metrics.value("streamer_face_records_total", stream="cam") == 10


def test_the_summary_adds_up_what_the_sources_did():
    metrics = Metrics()
    for index in range(10):
        metrics.record(aged(index / 25), captured=index + 3, dropped=2)
    states = {
        name: SourceState(state, "", None, 0.0) for name, state in {"cam": State.ENDED, "dead": State.FAILED}.items()
    }
    summary = summarise(metrics, states, 2.0, {"dead": OSError("no such camera")})
    assert (summary["frames"], summary["dropped"], summary["results"], summary["tracks"]) == (12, 2, 10, 1)
    assert summary["fps"] == 5.0
    assert [one["state"] for one in summary["sources"].values()] == ["ended", "failed"]
    assert summary["sources"]["dead"]["error"] == "no such camera"
    assert set(summary["latency_ms"]) == {"p50", "p95", "p99"}
