"""Against a real RTSP server on loopback, in a process of its own; skipped where the system's Python has none."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from streamer.sources import Cause, SourceError, State, observed, open_source
from streamer.sources.network import explain
from tests.faults import Link, Server, ServerAbsent
from tests.make import pipeline


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*options: str) -> Server:
        try:
            servers.append(Server(*options))
        except ServerAbsent as absent:
            pytest.skip(str(absent))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def refused(url: str) -> str:
    states: list[State] = []
    with pytest.raises(SourceError) as caught:
        list(observed(open_source(url), threading.Event(), lambda state, reason, cause: states.append(state)))
    assert states == [State.CONNECTING, State.FAILED]
    return str(caught.value)


def test_a_camera_gives_live_frames_until_stop(serve: Callable[..., Server]):
    server = serve()
    source = open_source(server.url())
    stop, states, frames = threading.Event(), [], []
    for frame in observed(source, stop, lambda state, reason, cause: states.append((state, reason))):
        frames.append(frame)
        if len(frames) == 10:
            stop.set()
    assert (source.name, source.live, source.fps, source.total) == (server.url(), True, 25.0, None)
    assert [frame.index for frame in frames] == list(range(10))
    assert all(frame.live and frame.stream == server.url() and frame.image.shape == (120, 160, 3) for frame in frames)
    times = [frame.time for frame in frames]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert frames[0].image.max() > 200  # a white ball on black
    assert states == [(State.CONNECTING, ""), (State.LIVE, ""), (State.ENDED, "")]


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_camera_that_wants_a_password_gets_it_and_nobody_else_does(serve: Callable[..., Server], method: str):
    server = serve("--login", "viewer:se%cret/1", "--method", method)
    source = open_source(server.url("viewer:se%25cret%2F1"))
    frames: Any = source.frames(threading.Event(), lambda state, reason, cause: None)
    with closing(frames):
        assert next(frames).stream == source.name == server.url()
    assert explain(server.url("viewer:se%25cret%2F1"), 3.0)[0].startswith("the server answers, but sends no video")
    for login in ("viewer:wrong", "other:se%25cret%2F1", ""):
        assert refused(server.url(login)) == f"{server.url()}: unauthorised (401): check user and password"


def test_a_path_that_the_camera_does_not_have_is_told(serve: Callable[..., Server]):
    server = serve()
    assert (
        refused(server.url("me:secret", "nothing")) == f"{server.url(path='nothing')}: not found (404): check the path"
    )


def test_a_camera_that_restarts_is_found_again(serve: Callable[..., Server]):
    server = serve("--login", "viewer:secret")
    source = open_source(server.url("viewer:secret"))
    stop, states, indices, times = threading.Event(), [], [], []

    def report(state: State, reason: str, cause: Cause | None) -> None:
        states.append((state, reason))
        if state is State.RETRYING and len(states) == 3:
            server.start()

    for frame in observed(source, stop, report):
        indices.append(frame.index)
        times.append(frame.time)
        lives = [state for state, _ in states].count(State.LIVE)
        if lives == 1 and frame.index == 5:
            server.kill()
        if lives == 2:
            stop.set()
    assert indices == list(range(len(indices)))
    assert times == sorted(times)
    order = [state for state, _ in states]
    assert order[:3] == [State.CONNECTING, State.LIVE, State.RETRYING]
    assert set(order[3:-2]) <= {State.RETRYING}
    assert order[-2:] == [State.LIVE, State.ENDED]
    assert states[2][1].startswith(f"{server.url()}: connection lost; next try in ")
    assert not any("secret" in reason for _, reason in states)


def test_a_camera_that_freezes_is_noticed_and_found_again(serve: Callable[..., Server]):
    server = serve()
    source = open_source(server.url())
    stop, states = threading.Event(), []

    def report(state: State, reason: str, cause: Cause | None) -> None:
        states.append((state, reason))
        if state is State.RETRYING:
            server.send(signal.SIGCONT)

    for frame in observed(source, stop, report):
        if frame.index == 5:
            server.send(signal.SIGSTOP)
        if [state for state, _ in states].count(State.LIVE) == 2:
            stop.set()
    assert [state for state, _ in states][:3] == [State.CONNECTING, State.LIVE, State.RETRYING]
    assert states[2][1].startswith(f"{server.url()}: no picture for 3 s; next try in ")
    assert [state for state, _ in states][-2:] == [State.LIVE, State.ENDED]


def test_a_camera_that_stays_away_is_given_up_after_its_retries(serve: Callable[..., Server]):
    server = serve()
    states = []
    source = open_source(server.url(), retries=1)
    frames = observed(source, threading.Event(), lambda state, reason, cause: states.append(state))
    next(frames)
    server.kill()
    with pytest.raises(SourceError, match="connection refused"):
        list(frames)
    assert states == [State.CONNECTING, State.LIVE, State.RETRYING, State.FAILED]


def survive(url: str, faults: list[tuple[Callable[[], None], Callable[[], None]]], **settings: float):
    """Read a stream through faults, each given as what breaks and what mends it; return shapes and causes.

    A fault is mended once its loss was told, or its effect was seen for 5 s without one; frames must come after each.
    """
    shapes, causes, stop = [], [], threading.Event()
    broken_at, lost, left = 0.0, threading.Event(), list(faults)
    mend = None

    def report(state: State, reason: str, cause: Cause | None) -> None:
        if cause:
            causes.append(cause)
            lost.set()
            if mend:
                mend()

    for frame in observed(open_source(url, **settings), stop, report):
        shapes.append(frame.image.shape[:2])
        if mend is None and frame.index >= 5:
            if not left:
                stop.set()
                continue
            broken_at, (fault, mend) = time.monotonic(), left.pop(0)
            lost.clear()
            fault()
        elif mend and (lost.is_set() or time.monotonic() - broken_at > 5):
            mend()
            mend = None
    return shapes, causes


def nothing() -> None:
    pass


def test_another_resolution_codec_or_password_after_a_restart_is_taken_up(serve: Callable[..., Server]):
    server = serve("--login", "viewer:secret")
    login = ("--login", "viewer:secret")
    times: list[int] = []

    def give_the_password_back() -> None:
        times.append(1)
        if len(times) == 2:  # the first loss is the restart itself, then comes the refusal
            server.restart(*login)

    shapes, causes = survive(
        server.url("viewer:secret"),
        [
            (lambda: server.restart(*login, "--size", "320x240"), nothing),
            (lambda: server.restart(*login, "--codec", "jpeg"), nothing),
            (lambda: server.restart("--login", "viewer:another"), give_the_password_back),
        ],
    )
    assert [shapes[0], *(two for one, two in pairwise(shapes) if one != two)] == [(120, 160), (240, 320), (120, 160)]
    assert Cause.UNAUTHORISED in causes
    assert set(causes) <= {Cause.LOST, Cause.UNAUTHORISED, Cause.REFUSED}


@pytest.mark.parametrize(
    "mode", ["cut", "hold", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("corrupt", "drop", "slow"))]
)
def test_a_link_that_damages_the_stream_is_survived(serve: Callable[..., Server], mode: str):
    server = serve()
    with Link(server.port) as link:

        def damage() -> None:
            link.mode = mode

        def mend() -> None:
            link.mode = "pass"

        shapes, causes = survive(server.url(port=link.port), [(damage, mend)], timeout=1.0)
    assert set(shapes) == {(120, 160)}
    assert len(causes) < 10
    if mode in ("cut", "hold"):
        assert causes[0] is {"cut": Cause.LOST, "hold": Cause.STALLED}[mode]


def test_a_failing_camera_does_not_hold_up_another(serve: Callable[..., Server]):
    good, bad = serve(), serve()
    gaps, before = [], None
    sources = [open_source(good.url()), open_source(bad.url())]
    seen: Counter[str] = Counter()
    with pipeline(*sources) as results:
        for result in results:
            seen[result.frame.stream] += 1
            if seen[bad.url()] == 5 and before is None:
                bad.send(signal.SIGSTOP)
                before = time.monotonic()
            if before and result.frame.stream == good.url():
                gaps.append(time.monotonic() - before)
                before = time.monotonic()
            if len(gaps) == 100:
                results.stop()
        bad.send(signal.SIGCONT)
    assert sorted(gaps)[95] < 0.2
