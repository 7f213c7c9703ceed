"""Against a real RTSP server on loopback, in a process of its own; skipped where the system's Python has none."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamer.sources import SourceError, State, open_source
from streamer.sources.network import explain

PYTHON = Path("/usr/bin/python3")
ABSENT = 77


class Server:
    """Run `rtsp_server.py`; `port` stays the same across restarts."""

    def __init__(self, *options: str) -> None:
        self.options = options
        self.port = "0"
        self.start()

    def start(self) -> None:
        command = [str(PYTHON), str(Path(__file__).with_name("rtsp_server.py")), "--port", self.port, *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().split()
        if not ready:
            _, reason = self.process.communicate()
            assert self.process.returncode == ABSENT, reason
            pytest.skip(reason.strip())
        self.port = ready[1]

    def send(self, what: signal.Signals) -> None:
        os.kill(self.process.pid, what)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def url(self, login: str = "", path: str = "live") -> str:
        return f"rtsp://{login + '@' if login else ''}127.0.0.1:{self.port}/{path}"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    if not PYTHON.is_file():
        pytest.skip(f"no {PYTHON}, whose PyGObject runs the RTSP server")
    servers: list[Server] = []

    def start(*options: str) -> Server:
        servers.append(Server(*options))
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


def refused(url: str) -> str:
    states: list[State] = []
    with pytest.raises(SourceError) as caught:
        list(open_source(url).frames(threading.Event(), lambda state, reason: states.append(state)))
    assert states == [State.CONNECTING, State.FAILED]
    return str(caught.value)


def test_a_camera_gives_live_frames_until_stop(serve: Callable[..., Server]):
    server = serve()
    source = open_source(server.url())
    stop, states, frames = threading.Event(), [], []
    for frame in source.frames(stop, lambda state, reason: states.append((state, reason))):
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
    assert states == [(State.CONNECTING, ""), (State.LIVE, "")]


@pytest.mark.parametrize("method", ["basic", "digest"])
def test_a_camera_that_wants_a_password_gets_it_and_nobody_else_does(serve: Callable[..., Server], method: str):
    server = serve("--login", "viewer:se%cret/1", "--method", method)
    source = open_source(server.url("viewer:se%25cret%2F1"))
    with closing(source.frames(threading.Event(), lambda state, reason: None)) as frames:
        assert next(frames).stream == source.name == server.url()
    assert explain(server.url("viewer:se%25cret%2F1"), 3.0).startswith("the server answers, but sends no video")
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

    def report(state: State, reason: str) -> None:
        states.append((state, reason))
        if state is State.RETRYING and len(states) == 3:
            server.start()

    for frame in source.frames(stop, report):
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
    assert set(order[3:-1]) <= {State.RETRYING}
    assert order[-1] == State.LIVE
    assert states[2][1].startswith(f"{server.url()}: connection lost; next try in ")
    assert not any("secret" in reason for _, reason in states)


def test_a_camera_that_freezes_is_noticed_and_found_again(serve: Callable[..., Server]):
    server = serve()
    source = open_source(server.url())
    stop, states = threading.Event(), []

    def report(state: State, reason: str) -> None:
        states.append((state, reason))
        if state is State.RETRYING:
            server.send(signal.SIGCONT)

    for frame in source.frames(stop, report):
        if frame.index == 5:
            server.send(signal.SIGSTOP)
        if len(states) > 2 and states[-1][0] is State.LIVE:
            stop.set()
    assert [state for state, _ in states][:3] == [State.CONNECTING, State.LIVE, State.RETRYING]
    assert states[2][1].startswith(f"{server.url()}: no picture for 3 s; next try in ")
    assert states[-1][0] is State.LIVE


def test_a_camera_that_stays_away_is_given_up_after_its_retries(serve: Callable[..., Server]):
    server = serve()
    states = []
    frames = open_source(server.url(), retries=1).frames(threading.Event(), lambda state, reason: states.append(state))
    next(frames)
    server.kill()
    with pytest.raises(SourceError, match="connection refused"):
        list(frames)
    assert states == [State.CONNECTING, State.LIVE, State.RETRYING, State.FAILED]
