from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import pytest

from streamer.sources import Cause, SourceError, State, observed, reconnect
from streamer.sources.opencv_decoder import OpenCVDecoder
from streamer.sources.reconnect import MOST_STUCK, Live, StallLimit
from streamer.sources.source import Picture
from tests.media import FRAMES, cut, read, write_streamable, write_video


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, "FIRST_DELAY", 0.01)


def stream(*connections: Path | str) -> Live:
    """Return a live source whose connections show these files, one after another, or fail with this reason."""
    left = list(connections)

    def connect() -> OpenCVDecoder:
        connection = left.pop(0)
        if isinstance(connection, str):
            raise SourceError(f"camera: {connection}")
        return opened(connection)

    return Live("camera", connect, retries=2)


def opened(path: Path) -> OpenCVDecoder:
    return OpenCVDecoder(cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), "camera")


@pytest.mark.usefixtures("_quick")
def test_a_lost_stream_is_opened_again_and_index_and_time_go_on(tmp_path: Path):
    broken = cut(write_video(tmp_path / "broken.avi"), 0.5)
    whole = write_video(tmp_path / "whole.avi")
    reading = read(stream(broken, "connection refused", broken, whole))
    first = len(reading.frames) - FRAMES
    assert first > FRAMES // 2
    assert [frame.index for frame in reading.frames] == list(range(len(reading.frames)))
    times = [frame.time for frame in reading.frames]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert reading.order == [
        *(State.CONNECTING, State.LIVE, State.RETRYING, State.RETRYING),
        *(State.LIVE, State.RETRYING, State.LIVE, State.ENDED),
    ]
    assert reading.states[2][1].startswith("camera: connection lost; next try in ")
    assert reading.states[3][1].startswith("camera: connection refused; next try in ")


def test_a_damaged_packet_is_no_loss(tmp_path: Path):
    path = write_streamable(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    capture, naive = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    while capture.read()[0]:
        naive += 1
    capture.release()
    reading = read(stream(path))
    assert naive < len(reading.frames)  # one read failed in between
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]


@pytest.mark.usefixtures("_quick")
def test_a_lost_stream_is_given_up_after_its_retries(tmp_path: Path):
    broken = cut(write_video(tmp_path / "broken.avi"), 0.5)
    reading = read(stream(broken, "connection refused", "connection refused", "never asked"))
    assert str(reading.error) == "camera: connection refused"
    assert reading.order == [State.CONNECTING, State.LIVE, State.RETRYING, State.RETRYING, State.FAILED]


def test_a_stream_that_never_lived_is_not_retried():
    reading = read(stream("connection refused", "never asked"))
    assert str(reading.error) == "camera: connection refused"
    assert reading.order == [State.CONNECTING, State.FAILED]


def test_what_fails_after_stop_is_no_failure():
    stop, states = threading.Event(), []

    def connect() -> OpenCVDecoder:
        stop.set()
        raise SourceError("camera: connection refused")

    assert not list(observed(Live("camera", connect), stop, lambda state, reason, cause: states.append(state)))
    assert states == [State.CONNECTING, State.ENDED]


def test_stop_ends_the_wait_for_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconnect, "FIRST_DELAY", 3600.0)
    monkeypatch.setattr(reconnect, "LONGEST_DELAY", 3600.0)
    stop, states = threading.Event(), []

    def report(state: State, reason: str, cause: Cause | None) -> None:
        states.append(state)
        if state is State.RETRYING:
            stop.set()

    frames = list(observed(stream(cut(write_video(tmp_path / "broken.avi"), 0.5)), stop, report))
    assert frames
    assert states == [State.CONNECTING, State.LIVE, State.RETRYING, State.ENDED]


def hanging(path: Path, after: int, gate: threading.Event) -> Callable[[], Any]:
    """Return an opener of decoders whose reads hang after some pictures, until the gate opens."""

    class Hanging(OpenCVDecoder):
        def __init__(self) -> None:
            super().__init__(cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), "camera")
            self.left = after

        def read(self) -> Picture | None:
            self.left -= 1
            if self.left < 0:
                gate.wait(20)
            return super().read()

    return Hanging


@pytest.mark.usefixtures("_quick")
def test_a_read_that_never_returns_is_given_up_and_holds_up_nobody(tmp_path: Path):
    gate, stop, causes, opened = threading.Event(), threading.Event(), [], []
    path = write_video(tmp_path / "clip.avi")

    def connect() -> Any:
        opened.append(time.monotonic())
        return hanging(path, 5 if len(opened) < 3 else 1000, gate)()

    def report(state: State, reason: str, cause: Cause | None) -> None:
        causes.extend([cause] if cause else [])

    frames = list(observed(Live("camera", connect, timeout=0.5), stop, report))
    gate.set()
    assert len(frames) == 5 + 5 + FRAMES
    assert causes == [Cause.STALLED, Cause.STALLED]
    assert all(0.5 <= later - earlier < 5 for earlier, later in pairwise(opened))


@pytest.mark.usefixtures("_quick")
def test_a_driver_that_never_answers_keeps_a_few_threads_and_is_opened_again_when_it_does(tmp_path: Path):
    gate, stop, opened, told = threading.Event(), threading.Event(), [], []
    stuck, path = [], write_video(tmp_path / "clip.avi")

    def connect() -> Any:
        opened.append(time.monotonic())
        return hanging(path, 1000 if gate.is_set() else 1, gate)()

    def report(state: State, reason: str, cause: Cause | None) -> None:
        if "never returned" in reason:
            told.append(len(opened))
            stuck.append(sum(thread.name == "read camera" for thread in threading.enumerate()))
        if len(told) == 3:
            gate.set()

    frames = list(observed(Live("camera", connect, timeout=0.2), stop, report))
    assert told[0] == told[1] == told[2]
    assert stuck[:3] == [MOST_STUCK] * 3
    assert len(frames) >= MOST_STUCK + FRAMES


def test_stop_is_noticed_while_a_read_hangs(tmp_path: Path):
    gate, stop = threading.Event(), threading.Event()
    frames = Live("camera", hanging(write_video(tmp_path / "clip.avi"), 1, gate), timeout=30).frames(stop, print)
    next(frames)
    stop.set()
    started = time.monotonic()
    assert list(frames) == []
    gate.set()
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("_quick")
def test_a_clock_that_leaps_costs_at_most_a_reconnection(tmp_path: Path):
    leaps = iter([0.0] * 3 + [3600.0] * 5 + [0.0] * 10_000)
    source = Live(
        "camera",
        partial(opened, write_video(tmp_path / "clip.avi")),
        clock=lambda: time.monotonic() + next(leaps),
    )
    reading = read(source, stop_after=FRAMES - 1)
    times = [frame.time for frame in reading.frames]
    assert times == sorted(times)
    assert times[-1] < 60


def test_the_stall_limit_follows_the_rate_of_a_slow_stream():
    limit = StallLimit(3.0)
    assert limit.seconds(None) == limit.seconds(25.0) == 3.0
    assert limit.seconds(0.5) == 20.0
    for _ in range(100):
        limit.seen(4.0)
    assert limit.seconds(25.0) == pytest.approx(40.0)
    limit.seen(3600.0)
    assert limit.seconds(25.0) == 60.0


def test_a_stream_that_is_slower_than_it_says_is_waited_for_longer_until_its_rate_is_known():
    limit = StallLimit(3.0)
    for expected in (6.0, 12.0):
        limit.doubt()
        assert limit.seconds(25.0) == expected
    limit.seen(0.04)
    assert limit.seconds(25.0) == 3.0
    for _ in range(100):
        limit.doubt()
    assert limit.seconds(25.0) == 60.0


@pytest.mark.usefixtures("_quick")
def test_a_patient_source_waits_for_its_stream(tmp_path: Path):
    left = ["refused", "refused", ""]

    def connect() -> OpenCVDecoder:
        if reason := left.pop(0):
            raise SourceError(f"camera: {reason}", Cause.REFUSED)
        return opened(write_video(tmp_path / "clip.avi"))

    reading = read(Live("camera", connect, patient=True))
    assert reading.order == [*(State.CONNECTING, State.RETRYING, State.RETRYING), State.LIVE, State.ENDED]
    assert len(reading.frames) == FRAMES


@pytest.mark.parametrize("lived", [0.0, 11.0])
def test_delays_grow_until_the_stream_has_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lived: float):
    monkeypatch.setattr(reconnect, "FIRST_DELAY", 0.02)
    broken, now = cut(write_video(tmp_path / "broken.avi"), 0.5), [0.0]
    source = stream(broken, broken, broken, broken, "refused", "refused")
    source._clock = lambda: now[0]
    delays, stop = [], threading.Event()

    def report(state: State, reason: str, cause: Cause | None = None) -> None:
        delays.append(reason)

    with pytest.raises(SourceError):
        for _ in source.frames(stop, report):
            now[0] += lived
    told = [float(reason.split()[-2]) for reason in delays[:4]]
    assert len(delays) == 5
    assert told[0] == 0.0
    assert (told[3] >= 0.1) == (lived == 0.0)
