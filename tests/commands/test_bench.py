from __future__ import annotations

import json
import sys
import threading

import cv2
import pytest
from typer.testing import CliRunner

from streamer.__main__ import app
from streamer.bench.scene import Played, draw_scene, write_scene
from streamer.commands.bench import Wishes, check_outputs, parse_size, streams
from streamer.sources import SourceError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("clip") / "scene.mp4", 320, 240, 1, 25, 10)


def run(*arguments):
    return CliRunner().invoke(app, ["bench", *arguments])


def test_a_bench_of_cameras_tells_rates_latency_and_stages(tmp_path):
    out = tmp_path / "out.json"
    arguments = [
        "--streams",
        "2",
        "--faces",
        "1",
        "--size",
        "480x360",
        "--fps",
        "10",
        "--duration",
        "2",
        "--set",
        "detector.min_face=60",
    ]
    result = run(*arguments, "--json", str(out))
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["streams"] == 2
    assert found["frames"] > found["dropped"]
    assert list(found["stages_ms"]) == ["decode", "perceive", "express", "overlay", "log"]
    assert found["detections_per_s"] > 0
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["faces_a_frame"] > 0  # how many depends on what else the machine does
    assert found["cpu_ms_a_frame"] > 0
    assert "results/s" in result.output


def test_an_offline_bench_reads_every_frame_of_a_clip(clip, tmp_path):
    out = tmp_path / "out.json"
    result = run("--offline", "--source", str(clip), "--json", str(out))
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert (found["frames"], found["dropped"], found["shed"]) == (10, 0, {"nothing": 1.0})


def test_a_bench_counts_the_answers_of_networks_and_not_the_faces_that_show_them(tmp_path):
    out = tmp_path / "out.json"
    made = ["--offline", "--faces", "1", "--duration", "2", "--set", "expression.interval=9"]
    result = run(*made, "--json", str(out))
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["faces_a_frame"] > 0.9
    assert 0 < found["classifications_per_s"] < 0.2 * found["results_per_s"]


def test_a_played_clip_goes_on_from_its_start_at_its_pace(clip):
    played, stop, times = Played("cam", clip, 100), threading.Event(), []
    for frame in played.frames(stop, lambda *state: None):
        times.append(frame.time)
        if len(times) == 25:
            stop.set()
    assert times == sorted(times)
    assert times[-1] >= 0.24
    assert frame.live
    assert frame.image.shape == (240, 320, 3)


def test_a_scene_holds_as_many_faces_as_asked_for():
    empty = draw_scene(640, 480, 0, 0.0)
    assert (empty == empty[0, 0]).all()
    covered = []
    for faces in (1, 2, 4):
        grey = cv2.cvtColor(draw_scene(1280, 720, faces, 0.3), cv2.COLOR_BGR2GRAY)
        count, *_ = cv2.connectedComponents((cv2.blur(cv2.absdiff(grey, 96), (5, 5)) > 0).astype("uint8"))
        covered.append(count - 1)
    assert covered == [1, 2, 4]
    assert (draw_scene(1280, 720, 64, 0.3) != 96).mean() > 0.5


@pytest.mark.parametrize("text", ["640", "640x", "axb", "10x10", "640x480x3", "99999x480"])
def test_a_size_without_sense_is_one_line(text):
    with pytest.raises(ValueError, match="--size: expected WIDTHxHEIGHT"):
        parse_size(text)


def test_the_warm_up_is_not_measured(clip, tmp_path):
    out = tmp_path / "out.json"
    shared = ["--fps", "10", "--size", "160x120", "--faces", "0", "--duration", "2", "--json", str(out)]
    result = run(*shared, "--warm-up", "2")
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["seconds"] == pytest.approx(2, abs=0.5)
    assert 10 <= found["frames"] <= 25  # of the 40 that were played
    assert found["memory_growth_mb"] is not None


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--plot", "out.bmp", r"--plot .*out\.bmp: expected a name that ends in \.png, \.svg, \.html"),
        ("--plot", "none/out.png", r"out\.png: cannot be written: expected a file in a folder"),
        ("--json", "none/out.json", r"out\.json: cannot be written: expected a file in a folder"),
    ],
)
def test_outputs_that_cannot_be_written_are_told_before_the_run(tmp_path, option, name, message):
    result = run("--duration", "600", option, str(tmp_path / name))
    assert result.exit_code
    with pytest.raises((ValueError, OSError), match=message):
        raise result.exception


def test_a_plot_without_the_extra_names_it_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(ImportError, match=r"pip install 'emotion-streamer\[report\]'"):
        check_outputs(None, tmp_path / "out.png")


def test_what_cannot_be_played_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.mp4: expected a video file"):
        streams(Wishes(source=tmp_path / "missing.mp4"), tmp_path)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with pytest.raises(SourceError, match="expected a video that can be played"):
        next(Played("cam", broken, 10).frames(threading.Event(), lambda *state: None))
