"""What signals ask for. Handlers are called here, not sent signals, but in processes of their own.

OpenVINO gives the thread that loads it another stack for signals, which does not outlive it: after tests that did, this
process may have none.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamer.service.signals import Signals, noted_signals
from tests.make import start
from tests.media import write_video


def send(signals: Signals, *numbers: int) -> None:
    for number in numbers:
        signals.on_signal(number, None)


def test_any_number_of_sighups_is_one_reload_and_ends_nothing() -> None:
    with noted_signals(reloads=True) as signals:
        assert signal.getsignal(signal.SIGHUP) == signals.on_signal
        assert not signals.take_reload()
        send(signals, signal.SIGHUP, signal.SIGHUP, signal.SIGHUP)
        assert [signals.take_reload(), signals.take_reload()] == [True, False]
        send(signals, signal.SIGHUP)
        assert signals.take_reload()
        send(signals, signal.SIGHUP)  # nobody looks any more
        assert signals.ending is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_was_asked_to_reload(number: int) -> None:
    with noted_signals(reloads=True) as signals:
        send(signals, signal.SIGHUP, number, signal.SIGHUP)
        assert signals.ending == number


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN])
def hangup(request: pytest.FixtureRequest) -> Iterator[signal.Handlers]:
    """Return what SIGHUP does in a terminal, and under nohup."""
    before = signal.signal(signal.SIGHUP, request.param)
    yield request.param
    signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_closes_ends_what_cannot_reload_and_does_not_kill_it(hangup: signal.Handlers) -> None:
    with noted_signals(reloads=False) as signals:
        assert signal.getsignal(signal.SIGHUP) == (signals.on_signal if hangup == signal.SIG_DFL else signal.SIG_IGN)
        send(signals, signal.SIGHUP, signal.SIGHUP)
        assert (signals.ending, signals.take_reload()) == (signal.SIGHUP, False)
        send(signals, signal.SIGTERM)
        assert signals.ending == signal.SIGTERM
    assert signal.getsignal(signal.SIGHUP) == hangup


def test_the_second_signal_that_ends_kills() -> None:
    program = """
import os, signal
from streamer.service.signals import noted_signals
with noted_signals(reloads=True):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(os.getpid(), number)
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == -signal.SIGINT


def test_bursts_of_sighups_do_not_end_a_run(tmp_path: Path) -> None:
    clip, log = write_video(tmp_path / "clip.avi", 1500), tmp_path / "out.jsonl"
    running = start("run", clip, "--log", log)
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_bytes().count(b"\n") > 8) and time.monotonic() < deadline:
        time.sleep(0.02)
    for _ in range(5):
        for _ in range(200):  # some of which find the one before noted but not yet served
            running.send_signal(signal.SIGHUP)
            time.sleep(0.0002)
        time.sleep(0.02)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert "configuration reloaded: nothing changed" in errors
    assert log.read_bytes().count(b'"type":"frame"') == 1500
