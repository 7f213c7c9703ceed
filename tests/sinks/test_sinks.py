from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.records.reading import read_log
from streamer.records.schema import SCHEMA
from streamer.sinks import PerStream, video
from streamer.sinks.log import LogSink
from streamer.sinks.outputs import Outputs, check_outputs
from streamer.sinks.video import CODECS, VideoSink, video_sink
from streamer.sources import open_sources
from streamer.types import Expression, Face, Frame, Result
from tests.conftest import LABELS, picture
from tests.make import result

FPS = 25.0
LEVELS = (20, 60, 100, 140, 180, 220)


def record(
    path: Path, shown: list[tuple[float, NDArray[np.uint8]]], fps: float | Callable[[], float | None] = FPS
) -> None:
    with VideoSink(path, fps) as sink:
        for index, (at, image) in enumerate(shown):
            sink.write(result(index, time=at), image)


def levels(path: Path) -> list[int]:
    """Read a video of grey pictures back as the nearest of LEVELS."""
    capture, found = cv2.VideoCapture(str(path)), []
    while True:
        ok, image = capture.read()
        if not ok:
            return found
        centre = image[image.shape[0] // 2, image.shape[1] // 2].mean()
        found.append(min(LEVELS, key=lambda level: abs(level - centre)))


def greys(*times: float) -> list[tuple[float, NDArray[np.uint8]]]:
    return [(at, picture(LEVELS[index % len(LEVELS)])) for index, at in enumerate(times)]


# Video


@pytest.mark.parametrize("suffix", [*CODECS, ".MP4"])
def test_writes_every_promised_kind_of_video(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    record(path, greys(*(index / FPS for index in range(12))))
    assert levels(path) == [LEVELS[index % 6] for index in range(12)]
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(FPS)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_refuses_a_suffix_without_a_codec(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out\.ogg.*'\.ogg'.*\.mp4.*\.webm"):
        VideoSink(tmp_path / "out.ogg", FPS)


def test_holds_the_last_picture_where_frames_are_missing(tmp_path: Path) -> None:
    record(tmp_path / "out.mp4", greys(0.0, 0.04, 0.20, 0.24))
    assert levels(tmp_path / "out.mp4") == [20, 60, 60, 60, 60, 100, 140]


def test_leaves_out_pictures_that_share_a_place(tmp_path: Path) -> None:
    record(tmp_path / "out.mp4", greys(0.0, 0.01, 0.04, 0.05, 0.08))
    assert levels(tmp_path / "out.mp4") == [20, 100, 180]


def test_forgives_jitter(tmp_path: Path) -> None:
    record(tmp_path / "out.mp4", greys(0.0, 0.027, 0.093, 0.107, 0.17))
    assert levels(tmp_path / "out.mp4") == [20, 60, 100, 140, 180]


def test_halves_the_rate_evenly(tmp_path: Path) -> None:
    record(tmp_path / "out.mp4", greys(*(index / 50 for index in range(12))))
    assert len(levels(tmp_path / "out.mp4")) in (6, 7)


def test_starts_with_the_first_picture_whatever_its_time(tmp_path: Path) -> None:
    record(tmp_path / "out.mp4", greys(7.0, 7.04, 7.08))
    assert levels(tmp_path / "out.mp4") == [20, 60, 100]


def test_shortens_a_gap_of_more_than_ten_seconds_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record(tmp_path / "out.mp4", greys(0.0, 3600.0, 3600.04), fps=5)
    assert levels(tmp_path / "out.mp4") == [20] * 50 + [60]
    assert "no picture for 3600" in caplog.text


def test_goes_on_where_stream_time_goes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record(tmp_path / "out.mp4", greys(0.0, 1.6, 0.0, 0.04), fps=FPS)
    assert levels(tmp_path / "out.mp4") == [20] * 40 + [60, 100, 140]
    assert "went back" in caplog.text


@pytest.mark.parametrize(
    ("said", "used"), [(30.0, 30.0), (None, 25.0), (0.0, 25.0), (9e4, 25.0), (math.nan, 25.0), (118.733, 118.7)]
)
def test_asks_for_the_rate_with_the_first_picture(tmp_path: Path, said: float | None, used: float) -> None:
    known: list[float | None] = []
    with VideoSink(tmp_path / "out.mp4", lambda: known[0]) as sink:
        known.append(said)
        sink.write(result(), picture())
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(used)


@pytest.mark.parametrize(("period", "rate"), [(20, 1.0), (2.5, 1.2), (3, 1.0)])
def test_shows_the_pictures_of_a_slow_stream_for_their_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, period: float, rate: float
) -> None:
    record(tmp_path / "out.mp4", greys(0.0, period), fps=1 / period)
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(rate)
    assert levels(tmp_path / "out.mp4") == [20] * round(period * rate) + [60] * round(period * rate)
    assert caplog.text == ""


def test_fits_pictures_of_another_size_between_black_bars(tmp_path: Path) -> None:
    tall = np.full((96, 48, 3), 200, np.uint8)
    record(tmp_path / "out.mp4", [(0.0, picture(200)), (0.04, tall)])
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    first, second = (capture.read()[1] for _ in range(2))
    assert first.shape == second.shape == (48, 64, 3)
    assert second[24, 32].mean() > 180
    assert second[24, [4, 60]].mean() < 40
    assert second[[3, 44], 32].mean() > 180


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (49, 65), (17, 40)])
def test_writes_pictures_of_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    for suffix in (".mp4", ".webm"):
        path = tmp_path / f"out{suffix}"
        record(path, [(index / FPS, picture(180, *size)) for index in range(3)])
        ok, image = cv2.VideoCapture(str(path)).read()
        assert ok
        assert image.max() > 150
        assert image.shape[0] in (size[0], size[0] + 1, 16)


def test_closes_a_playable_file_when_the_run_fails(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"

    def run() -> None:
        with VideoSink(path, FPS) as sink:
            for index in range(9):
                sink.write(result(index), picture(100))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert levels(path) == [100] * 9


def test_keeps_an_earlier_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    record(path, greys(0.0))
    before = path.read_bytes()
    with VideoSink(path, FPS) as sink:
        sink.write(result(), picture(180))
        assert path.read_bytes() == before
        assert sink.unfinished.exists()
    assert levels(path) == [180]


def test_leaves_no_file_without_a_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with VideoSink(tmp_path / "out.mp4", FPS):
        pass
    assert not list(tmp_path.iterdir())
    assert "there was no picture" in caplog.text


def test_says_at_once_that_a_video_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for path in (tmp_path / "missing" / "out.mp4", tmp_path / "file" / "out.mp4", tmp_path / "folder.mp4"):
        with pytest.raises(OSError, match=rf"^{re.escape(str(path))}: cannot write the video: \w.*$"):
            VideoSink(path, FPS)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_stops_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.mp4"
    with VideoSink(path, FPS) as sink:
        sink.write(result(0), picture(100))
        monkeypatch.setattr(video, "SPARE_SPACE", 1 << 62)
        with pytest.raises(OSError, match="the disk is full"):
            sink.write(result(1), picture(100))
    assert levels(path) == [100]


def test_reports_a_video_that_a_quota_cut_off(tmp_path: Path) -> None:
    code = """
        import resource, signal, sys
        import numpy as np
        from pathlib import Path
        from streamer.sinks.video import VideoSink
        from streamer.types import Frame, Result
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
        try:
            with VideoSink(Path(sys.argv[1]), 25) as sink:
                for index in range(40):
                    frame = Frame(noise, "cam", index, index / 25, 0.0)
                    sink.write(Result(frame, ()), np.roll(noise, 37 * index, axis=1))
        except OSError as error:
            print(error)
    """
    script = "\n".join(line[8:] for line in code.splitlines())
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "out.mp4")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "out.part.mp4: wrote 40 pictures, can read" in found.stdout
    assert not (tmp_path / "out.mp4").exists()


# Several streams


@dataclass
class Camera:
    name: str
    fps: float | None


def test_writes_one_video_for_one_stream(tmp_path: Path) -> None:
    with video_sink(tmp_path / "out.mp4", [Camera("cam", 10.0)]) as sink:
        assert sink.wants_picture
        sink.write(result(), picture())
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    assert cv2.VideoCapture(str(tmp_path / "out.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(10)


def test_writes_a_video_for_every_stream_under_a_safe_name(tmp_path: Path) -> None:
    cameras = [Camera("hall", 10.0), Camera("rtsp://h/1", 20.0), Camera("rtsp:h:1", None)]
    with video_sink(tmp_path / "out.mp4", cameras) as sink:
        for index, camera in enumerate(cameras):
            sink.write(result(stream=camera.name), picture(LEVELS[index]))
        sink.write(result(stream="added later"), picture(LEVELS[3]))
    assert {file.name: levels(file) for file in tmp_path.iterdir()} == {
        "out-hall.mp4": [20],
        "out-rtsp-h-1.mp4": [60],
        "out-rtsp-h-1-2.mp4": [100],
        "out-added-later.mp4": [140],
    }


def test_closes_the_sinks_already_open_when_one_cannot_be(tmp_path: Path) -> None:
    opened: list[VideoSink] = []

    def open_sink(stream: str) -> VideoSink:
        folder = tmp_path if stream == "good" else tmp_path / "missing"
        opened.append(VideoSink(folder / "out.mp4", FPS))
        return opened[-1]

    with pytest.raises(OSError, match="missing"):
        PerStream(open_sink, ["good", "bad"])
    assert len(opened) == 1
    assert not list(tmp_path.iterdir())


def test_closes_every_stream_after_an_error(tmp_path: Path) -> None:
    def run() -> None:
        with video_sink(tmp_path / "out.mp4", [Camera("a", FPS), Camera("b", FPS)]) as sink:
            for stream in ("a", "b"):
                sink.write(result(stream=stream), picture(100))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert [levels(tmp_path / f"out-{stream}.mp4") for stream in ("a", "b")] == [[100], [100]]


# Log


def odd_face(**changes: Any) -> Face:
    probabilities = dict(zip(LABELS, np.array([0.1, 0.7, 0.2, 0, 0, 0, 0, 0], np.float32), strict=True))
    expression = Expression("happiness", np.float32(0.7), probabilities, "face", 0.912345, True, 0.04)
    box = np.array([1.26, -0.01, 30.25, 40.96], np.float32)
    return replace(Face(3, box, np.float32(0.87654), 0.04, expression=expression), **changes)


def test_logs_the_run_then_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    before = time.time()
    with LogSink(path, {"version": "1.2", "sources": {"Küche": {}}, "type": "no", "schema": 99}) as sink:
        assert not sink.wants_picture
        shown = Result(
            Frame(picture(), "cam", 8, 1 / 3, time.monotonic()), (odd_face(), odd_face(track_id=4, expression=None))
        )
        sink.write(shown, None)
        sink.write_state("cam", "ended", "the end")
    run, frame, source = read_log(path)
    assert run.pop("started") <= frame.pop("wall_time") <= source.pop("wall_time")
    assert re.fullmatch("[0-9a-f]{32}", run.pop("run"))
    assert run == {"type": "run", "schema": SCHEMA, "part": 1, "version": "1.2", "sources": {"Küche": {}}}
    assert source == {"type": "source", "stream": "cam", "state": "ended", "reason": "the end", "cause": None}
    known, unknown = frame.pop("faces")
    assert frame == {"type": "frame", "stream": "cam", "index": 8, "time": 0.333333}
    assert known == {
        "id": 3,
        "box": [1.3, 0.0, 30.2, 41.0],
        "score": 0.8765,
        "label": "happiness",
        "confidence": 0.7,
        "probabilities": dict(zip(LABELS, [0.1, 0.7, 0.2, 0, 0, 0, 0, 0], strict=True)),
        "region": "face",
        "reliability": 0.9123,
        "visible": None,
        "usable": None,
        "stable": True,
        "detected_time": 0.04,
        "classified_time": 0.04,
    }
    nothing = ("label", "confidence", "probabilities", "region", "reliability", "stable", "classified_time")
    assert list(unknown) == list(known)
    assert all(unknown[key] is None for key in nothing)
    assert before <= time.time()


def test_logs_wall_time_of_the_capture_in_utc(tmp_path: Path) -> None:
    with LogSink(tmp_path / "out.jsonl") as sink:
        now, wall = time.monotonic(), time.time()
        sink.write(Result(Frame(picture(), "cam", 0, 0.0, now - 90.0), ()))
    stamp = list(read_log(tmp_path / "out.jsonl"))[1]["wall_time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp)
    expected = np.datetime64(int((wall - 90.0) * 1000), "ms")
    assert abs(np.datetime64(stamp[:-1], "ms") - expected) < np.timedelta64(1000, "ms")


def test_logs_the_same_twice_but_for_wall_times(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        with LogSink(tmp_path / name, {"version": "1"}) as sink:
            for index in range(5):
                sink.write(Result(Frame(picture(), "cam", index, index / FPS, time.monotonic()), (odd_face(),)))
        texts.append(re.sub(r'"(wall_time|started|run)":"[^"]*"', "", (tmp_path / name).read_text()))
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) == 6


def test_never_writes_what_is_not_a_number(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for broken in (
        odd_face(score=math.nan),
        odd_face(detected_time=math.inf),
        odd_face(box=np.array([0, 0, np.nan, 1], np.float32)),
    ):
        with LogSink(path) as sink, pytest.raises(RuntimeError, match=r"finite numbers.*frame cam 4"):
            sink.write(result(4, broken))
        assert [record["type"] for record in read_log(path)] == ["run"]


def test_logs_names_that_are_not_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"clip-\xff.mp4")
    with LogSink(tmp_path / "out.jsonl") as sink:
        sink.write(result(stream=name))
    assert list(read_log(tmp_path / "out.jsonl"))[1]["stream"] == name


def test_has_every_line_in_the_file_when_killed(tmp_path: Path) -> None:
    code = """
        import sys, time
        from pathlib import Path
        from streamer.sinks.log import LogSink
        sink = LogSink(Path(sys.argv[1]), {"about": "x" * 20_000})
        for index in range(20):
            sink.write_state("cam", "live", "y" * index * 500)
        print("written", flush=True)
        time.sleep(60)
    """
    path = tmp_path / "out.jsonl"
    script = "\n".join(line[8:] for line in code.splitlines())
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    assert [len(record.get("reason", "")) for record in read_log(path)] == [0, *range(0, 10_000, 500)]
    assert path.read_bytes().endswith(b"}\n")


def test_names_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "out.jsonl", tmp_path):
        with pytest.raises(OSError, match=rf"^{re.escape(str(path))}: cannot write the log: \w.*$"):
            LogSink(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_names_the_log_when_the_disk_is_full() -> None:
    with pytest.raises(OSError, match=r"^/dev/full: cannot write the log: No space left on device$"):
        LogSink(Path("/dev/full"))


def test_takes_back_the_line_that_no_longer_fits(tmp_path: Path) -> None:
    code = """
        import resource, signal, sys
        from pathlib import Path
        from streamer.sinks.log import LogSink
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with LogSink(Path(sys.argv[1])) as sink:
                while True:
                    sink.write_state("cam", "live", "because " * 20)
        except OSError as error:
            print(error)
    """
    path = tmp_path / "out.jsonl"
    script = "\n".join(line[8:] for line in code.splitlines())
    found = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == f"{path}: cannot write the log: File too large"
    assert [record["type"] for record in read_log(path)] == ["run", "source", "source", "source"]
    assert path.read_bytes().endswith(b"}\n")


def test_reads_a_log_up_to_a_torn_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.jsonl"
    with LogSink(path) as sink:
        sink.write(result())
    with path.open("a", encoding="utf-8") as file:
        file.write('{"type": "fra')
    with caplog.at_level(logging.WARNING):
        assert [record["type"] for record in read_log(path)] == ["run", "frame"]
    assert "line 3" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a log, found an empty file"),
        ('{"type": "run", "schema": 2}\n', "expected type 'run' of schema 1, found type 'run' of schema 2"),
        ('{"type": "frame"}\n', "found type 'frame' of schema None"),
        ("hello\n", "line 1: expected a JSON object, found 'hello"),
        ('{"type": "run", "schema": 1}\n[]\n', "line 2: expected a JSON object with a type"),
    ],
)
def test_refuses_to_read_what_is_no_log(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        list(read_log(path))


def test_documents_every_key_of_the_log(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "log.md").read_text(encoding="utf-8")
    with LogSink(tmp_path / "out.jsonl") as sink:
        sink.write(result(0, odd_face()))
        sink.write_state("cam", "ended", "")
    for record in read_log(tmp_path / "out.jsonl"):
        for key in (*record, *(record.get("faces") or [{}])[0]):
            assert f"`{key}`" in page
    assert json.dumps(SCHEMA) in page


@pytest.mark.parametrize(
    ("sources", "outputs", "named"),
    [
        (["a.mp4", "out-a.mp4"], {"video": "out.mp4"}, "out-a.mp4"),
        (["out.part.mp4"], {"video": "out.mp4"}, "out.part.mp4"),
        (["a.mp4", "out-a.part.mp4"], {"video": "out.mp4"}, "out-a.part.mp4"),
        (["photos"], {"log": "photos/2.png"}, "2.png"),
        (["a.mp4", "photos/*.png"], {"summary": "photos/2.png"}, "2.png"),
        (["photos"], {"log": "link.png"}, "link.png"),
    ],
)
def test_no_output_replaces_a_file_that_a_source_reads(tmp_path, monkeypatch, sources, outputs, named):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a.mp4", "out-a.mp4", "out.part.mp4", "out-a.part.mp4", "photos/1.png", "photos/2.png"):
        Path(name).write_text(name)
    Path("link.png").symlink_to("photos/2.png")
    with pytest.raises(ValueError, match=f"{named}: is a source too, and would be replaced: choose another name"):
        check(sources, outputs)
    assert Path("out.part.mp4").read_text() == "out.part.mp4"


def test_outputs_beside_the_sources_are_fine_and_two_in_one_file_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4", "out.mp4", "old.jsonl"):
        Path(name).write_text(name)
    check(["a.mp4", "b.mp4", "3", "rtsp://camera/1"], {"video": "out.mp4", "log": "old.jsonl"})
    check(["out.mp4", "b.mp4"], {"video": "out.mp4"})  # goes to out-out.mp4 and out-b.mp4
    with pytest.raises(ValueError, match="expected different files for the outputs, found out-a.mp4, out-b.mp4, out-b"):
        check(["a.mp4", "b.mp4"], {"video": "out.mp4", "log": "out-b.mp4"})


def check(names: list[str], outputs: dict[str, str]) -> None:
    check_outputs(names, open_sources(names), Outputs(**{kind: Path(path) for kind, path in outputs.items()}))
