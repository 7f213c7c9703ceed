from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest

import engines as streamer_engines
from streamer.__main__ import main
from streamer.records.reading import read_log
from tests.make import SAMPLE, start, streamer


def frames_of(path):
    return [record for record in read_log(path) if record["type"] == "frame"]


def count_pictures(path):
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def refused(*arguments):
    """Check that a run in this process ends with one line and exit code 2; return the line."""
    errors = io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["streamer", "run", *map(str, arguments)]),
        redirect_stderr(errors),
        pytest.raises(SystemExit) as exit,
    ):
        main()
    assert exit.value.code == 2
    [line] = errors.getvalue().strip().splitlines()
    assert line.startswith("streamer: ")
    return line


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Cut the first 40 frames of the sample."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    capture = cv2.VideoCapture(str(SAMPLE))
    size = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, size)
    for _ in range(40):
        writer.write(capture.read()[1])
    writer.release()
    capture.release()
    return path


def test_a_clip_gives_video_log_and_summary(clip, tmp_path):
    video, log, summary = (tmp_path / name for name in ("out.mp4", "out.jsonl", "summary.json"))
    done = streamer("run", clip, "--video", video, "--log", log, "--summary", summary)
    assert done.returncode == 0, done.stderr
    assert count_pictures(video) == 40
    frames = frames_of(log)
    assert [frame["index"] for frame in frames] == list(range(40))
    assert {face["id"] for frame in frames for face in frame["faces"]} == {1, 2}
    assert all(len(frame["faces"]) == 2 for frame in frames[5:])
    for frame in frames:
        for face in frame["faces"]:
            assert sum(face["probabilities"].values()) == pytest.approx(1, abs=0.01)
            assert frame["time"] - face["detected_time"] <= 0.2 + 1e-6
    found = json.loads(summary.read_text())
    assert (found["frames"], found["dropped"], found["tracks"]) == (40, 0, 2)
    assert found["sources"]["clip"]["latency_ms"]["p50"] > 0


def test_the_same_file_twice_gives_the_same_log(clip, tmp_path):
    logs = []
    for name in ("a.jsonl", "b.jsonl"):
        assert streamer("run", clip, "--log", tmp_path / name).returncode == 0
        text = (tmp_path / name).read_text()
        logs.append(re.sub(r'"(wall_time|started|run)":"[^"]*"', "", text))
    assert logs[0] == logs[1]


def test_several_sources_of_several_kinds_together(clip, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for index in range(3):
        cv2.imwrite(str(pictures / f"{index}.png"), np.full((60, 80, 3), index, np.uint8))
    log = tmp_path / "out.jsonl"
    done = streamer("run", clip, clip, pictures, "--video", tmp_path / "v.mp4", "--log", log)
    assert done.returncode == 0, done.stderr
    streams = [frame["stream"] for frame in frames_of(log)]
    assert {name: streams.count(name) for name in streams} == {"clip": 40, "clip-2": 40, "pictures": 3}
    assert sorted(path.name for path in tmp_path.glob("v*.mp4")) == ["v-clip-2.mp4", "v-clip.mp4", "v-pictures.mp4"]


def test_bad_input_is_one_line_and_exit_code_2(clip, tmp_path):
    (tmp_path / "notes.txt").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    assert "no such file" in refused(tmp_path / "missing.mp4")
    assert "neither a picture nor a video" in refused(tmp_path / "notes.txt")
    assert "the file is empty" in refused(tmp_path / "empty.mp4")
    assert "camera-97" in refused("97")
    assert "presets crowd, default, photos" in refused(clip, "--config", "nonsense")
    for override, said in (
        ("detector.min_fase=3", "unknown key 'detector.min_fase'"),
        ("detector.min_face=small", "'detector.min_face'"),
        ("classifier.model=model.bin", "unknown model suffix '.bin'"),
        ("classifier.model=model.onnx", "model.onnx: expected a model file, found none"),
        ("classifier.sha256=" + "f" * 64, "expected sha256 ffff"),
    ):
        assert said in refused(clip, "--set", override)
    for option, name, said in (
        ("--log", "no/out.jsonl", "cannot write the log"),
        ("--video", "no/out.mp4", "cannot write the video"),
        ("--video", "out.xyz", "expected one of .mp4"),
        ("--summary", "no/summary.json", "cannot write the summary"),
    ):
        assert said in refused(clip, option, tmp_path / name)
    assert "would be replaced" in refused(clip, "--video", clip)
    assert "different files" in refused(clip, "--log", tmp_path / "x", "--summary", tmp_path / "x")
    zoo = Path(streamer_engines.__file__).parent / "zoo" / "face.onnx"
    yunet = ("--set", "detector.kind=yunet", "--set", f"detector.model={zoo}")
    assert "does not fit its spec 'yunet'" in refused(clip, *yunet)
    assert "neither a picture nor a video" in refused(tmp_path / "notes.txt", "--video", tmp_path / "o.mp4")


def test_a_traceback_never_reaches_the_user(tmp_path):
    done = streamer("run", tmp_path / "missing.mp4")
    assert done.returncode == 2
    assert done.stderr == f"streamer: {tmp_path}/missing.mp4: no such file or folder: " + done.stderr.split(": ", 3)[3]
    assert len(done.stderr.splitlines()) == 1


PLANTED = """
from streamer.__main__ import main
from streamer.stages.express import Expresser

def broken(self, results):
    raise {error}("of my own")

Expresser.__call__ = broken
main()
"""


@pytest.mark.parametrize("error", ["ValueError", "ImportError"])
def test_a_bug_in_a_stage_keeps_its_traceback(clip, error):
    command = [sys.executable, "-c", PLANTED.format(error=error), "run", str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert ", in broken" in done.stderr
    assert done.stderr.splitlines()[-1] == f"{error}: of my own"


def test_a_refused_camera_is_one_line_without_its_password():
    line = refused("rtsp://viewer:hunter2@127.0.0.1:9/live")
    assert "refused" in line
    assert "hunter2" not in line


def test_a_truncated_video_is_analysed_as_far_as_it_goes(clip, tmp_path):
    whole = tmp_path / "whole.avi"
    capture = cv2.VideoCapture(str(clip))
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for _ in range(40):
        writer.write(cv2.resize(capture.read()[1], (320, 240)))
    writer.release()
    capture.release()
    broken = tmp_path / "broken.avi"
    broken.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = streamer("run", broken, "--log", tmp_path / "out.jsonl", "--video", tmp_path / "out.mp4")
    assert done.returncode == 1
    assert "truncated" in done.stderr
    assert 5 < len(frames_of(tmp_path / "out.jsonl")) == count_pictures(tmp_path / "out.mp4") < 40


def test_a_failing_source_beside_a_good_one_ends_with_1(clip, tmp_path):
    done = streamer(
        "run", clip, "rtsp://127.0.0.1:9/live", "--set", "source.retries=0", "--log", tmp_path / "out.jsonl"
    )
    assert done.returncode == 1
    assert len(frames_of(tmp_path / "out.jsonl")) == 40
    states = [record["state"] for record in read_log(tmp_path / "out.jsonl") if record["type"] == "source"]
    assert "failed" in states


def test_a_disk_that_fills_up_on_the_way_ends_with_1_and_keeps_what_was_recorded(clip, tmp_path):
    log, summary = tmp_path / "out.jsonl", tmp_path / "summary.json"
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)); "
    limited += "from streamer.__main__ import main; main()"
    command = [sys.executable, "-c", limited, "run", str(clip), "--log", str(log), "--summary", str(summary)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("cannot write the log") == 2  # when it happens, and at the end
    assert re.search(r"\d+ records were lost", done.stderr)
    assert 0 < len(frames_of(log)) < 40
    assert json.loads(summary.read_text())["results"] == 40  # the analysis went on


def test_a_log_is_converted_validated_summed_up_and_replayed(clip, tmp_path):
    log = tmp_path / "out.jsonl"
    assert streamer("run", clip, "--log", log).returncode == 0
    faces = sum(len(frame["faces"]) for frame in frames_of(log))
    assert faces > 60
    for table in ("faces.csv", "faces.parquet"):
        assert streamer("log", "convert", log, tmp_path / table).stdout == f"{tmp_path / table}: {faces} rows\n"
    assert streamer("log", "validate", log).stdout == f"{log}: valid\n"
    told = json.loads(streamer("log", "summary", log, "--json").stdout)
    assert (told["streams"]["clip"]["frames"], told["streams"]["clip"]["faces"], told["lost"]) == (40, faces, 0)
    assert "clip" in streamer("log", "summary", log).stdout
    manifest = tmp_path / "out.manifest.json"
    again = streamer("replay", manifest)
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"{tmp_path}/out.replay.jsonl: the same 40 frames as {log}\n"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:-10]))
    assert streamer("replay", manifest).returncode == 1


def test_a_log_can_go_into_a_pipe(clip):
    done = streamer("run", clip, "--log", "/dev/stdout")
    assert done.returncode == 0, done.stderr
    types = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert (types[0], types.count("frame")) == ("run", 40)
    assert not Path("/dev/stdout.manifest.json").exists()


def test_a_run_killed_with_sigkill_leaves_whole_records_and_can_be_gone_on_with(clip, tmp_path):
    log = tmp_path / "out.jsonl"
    run = start("run", SAMPLE, "--log", log)
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 12) and time.monotonic() < deadline:
        time.sleep(0.02)
    run.kill()
    run.communicate()
    before = len(frames_of(log))
    assert before > 8
    assert streamer("run", clip, "--log", log, "--set", "log.append=true").returncode == 0
    assert [frame["index"] for frame in frames_of(log)] == [*range(before), *range(40)]
    assert streamer("log", "validate", log).returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_the_outputs_and_says_so_in_the_exit_code(tmp_path, number, code):
    video, log, summary = (tmp_path / name for name in ("out.mp4", "out.jsonl", "summary.json"))
    run = start("run", SAMPLE, SAMPLE, "--video", video, "--log", log, "--summary", summary)
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") > 8) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(run.pid, number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == code, errors
    frames = [frame for frame in frames_of(log) if frame["stream"] == "sample"]
    assert frames
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert count_pictures(tmp_path / "out-sample.mp4") == len(frames)
    assert json.loads(summary.read_text())["sources"]["sample"]["results"] == len(frames)


def test_help_tells_a_newcomer_what_to_type():
    done = streamer("run", "--help", env=os.environ | {"COLUMNS": "160", "TERM": "dumb"})
    assert done.returncode == 0
    for words in ("Webcam number", "rtsp://", "--video", "--log", "Examples", "Exit codes"):
        assert words in done.stdout
    assert streamer().returncode == 2
    assert streamer("run").returncode == 2
