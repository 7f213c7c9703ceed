"""Streams that come back after a restart of the service, and the file that keeps them."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engines.errors import UserError
from streamer.config import Config
from streamer.service.control import Refused, Wish
from streamer.service.kept import Kept
from streamer.service.streams import Streams, reopen
from streamer.sources import SourceError, State
from tests.make import SAMPLE, pipeline
from tests.make import streamer as run_streamer

AWAY = "rtsp://me:hunter2@127.0.0.1:9/door"


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return found


def kept_in(path):
    with Kept(path) as kept:
        return kept.read()


# The file


def test_what_is_written_is_read_by_nobody_else_and_lasts(tmp_path):
    path = tmp_path / "streams.json"
    with Kept(path) as kept:
        assert kept.read() == {}
        before = os.umask(0)
        kept.write({"door": AWAY, "é": "1"})
        os.umask(before)
        assert kept.read() == {"door": AWAY, "é": "1"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert kept_in(path) == {"door": AWAY, "é": "1"}
    assert json.loads(path.read_text()) == {
        "state": 1, "streams": [{"name": "door", "source": AWAY}, {"name": "é", "source": "1"}],
    }  # fmt: skip


def test_a_link_stays_one_and_a_part_that_a_kill_left_is_replaced(tmp_path):
    path, link = tmp_path / "real" / "streams.json", tmp_path / "link.json"
    path.parent.mkdir()
    link.symlink_to(path)
    left = path.with_name("streams.json.tmp")
    left.write_text("{")
    left.chmod(0o644)
    with Kept(link) as kept:
        kept.write({"door": AWAY})
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == ["streams.json", "streams.json.lock"]


def test_what_is_there_stays_whole_where_no_more_can_be_written(tmp_path):
    with Kept(tmp_path / "streams.json") as kept:
        kept.write({"door": AWAY})
        kept._unfinished.mkdir()  # so that the new one cannot be opened
        with pytest.raises(OSError, match=r"serve\.state: .*cannot be written"):
            kept.write({"other": AWAY})
        assert kept.read() == {"door": AWAY}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"state": 2, "streams": []}', b'{"state": 1}',
        b'{"state": 1, "streams": [{"name": "a"}]}', b'{"state": 1, "streams": [{"name": "", "source": "0"}]}',
        b'{"state": 1, "streams": [{"name": "a", "source": "0", "speed": 2}]}',
        b'{"state": 1, "streams": [{"name": "a", "source": "0"}, {"name": "a", "source": "1"}]}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_line_and_stays_as_it_is(tmp_path, text):
    path = tmp_path / "streams.json"
    path.write_bytes(text)
    with Kept(path) as kept, pytest.raises(UserError, match="expected the streams that `streamer serve` keeps") as told:
        kept.read()
    assert "\n" not in str(told.value)
    assert path.read_bytes() == text


def test_two_services_do_not_share_a_file(tmp_path):
    with Kept(tmp_path / "streams.json"), pytest.raises(OSError, match="another service keeps its streams there"):
        Kept(tmp_path / "streams.json")
    Kept(tmp_path / "streams.json").close()


def test_a_folder_that_is_not_there_or_a_file_that_is_none_is_one_line(tmp_path):
    with pytest.raises(OSError, match="cannot be written: No such file"):
        Kept(tmp_path / "none" / "streams.json")
    (tmp_path / "folder").mkdir()
    with Kept(tmp_path / "folder") as kept, pytest.raises(OSError, match="cannot be read: Is a directory"):
        kept.read()


# What is kept


@contextmanager
def board(path):
    """Run an empty pipeline with a board that keeps its streams in a file; yield a caller of its methods."""
    with Kept(path) as kept:
        asked = []
        boards: list[Streams] = []
        one = pipeline(keep_open=True, on_poll=lambda: [work() for work in (*asked, *(b.tidy for b in boards))])
        boards.append(Streams(Config(serve={"files": True}), one, kept))

        def call(function):
            answers = []

            def work():
                asked.remove(work)
                try:
                    answers.append(function(boards[0]))
                except Refused as error:
                    answers.append(error)

            asked.append(work)
            return until(lambda: answers)[0]

        thread = threading.Thread(target=lambda: [None for _ in one])
        thread.start()
        try:
            yield call, kept, one
        finally:
            one.stop()
            thread.join()


def test_removed_and_ended_streams_are_kept_no_more_and_stopped_ones_are(tmp_path):
    with board(tmp_path / "streams.json") as (call, kept, one):
        call(lambda streams: streams.add(Wish(source=AWAY, name="door")))
        call(lambda streams: streams.add(Wish(source=AWAY)))
        assert kept.read() == {"door": AWAY, "rtsp://127.0.0.1:9/door": AWAY}
        call(lambda streams: streams.add(Wish(source=str(SAMPLE), name="clip")))
        until(lambda: one.state("clip") is State.ENDED)
        until(lambda: list(kept.read()) == ["door", "rtsp://127.0.0.1:9/door"])
        call(lambda streams: streams.remove("door"))
        assert list(kept.read()) == ["rtsp://127.0.0.1:9/door"]
    assert list(kept_in(tmp_path / "streams.json")) == ["rtsp://127.0.0.1:9/door"]  # the end of all ends none


def test_a_stream_that_cannot_be_written_down_is_not_added_and_one_that_is_removed_goes(tmp_path):
    with board(tmp_path / "streams.json") as (call, kept, one):
        call(lambda streams: streams.add(Wish(source=AWAY, name="door")))
        kept._unfinished.mkdir()
        refused = call(lambda streams: streams.add(Wish(source=AWAY, name="yard")))
        assert (refused.status, "cannot be written" in str(refused)) == (503, True)
        refused = call(lambda streams: streams.remove("door"))
        assert (refused.status, "after a restart" in str(refused)) == (503, True)
        until(lambda: not one.captures)
        kept._unfinished.rmdir()
        call(lambda streams: streams.add(Wish(source=AWAY, name="yard")))
        assert list(kept.read()) == ["yard"]


def test_what_can_no_longer_be_opened_is_listed_as_failed():
    gone = reopen("clip", "clip.mp4", Config())
    with pytest.raises(SourceError, match=r"clip: expected a URL .*need serve\.files=true"):
        next(gone.frames(threading.Event(), lambda *told: None))
    gone = reopen("clip", "missing.mp4", Config(serve={"files": True}))
    with pytest.raises(SourceError, match=r"clip: missing\.mp4: no such file"):
        next(gone.frames(threading.Event(), lambda *told: None))


# The service


class Service:
    """Run `streamer serve` in a folder."""

    def __init__(self, folder, *arguments):
        more = ["--token", "long-enough-token", "--set", "serve.port=0", "--set", "serve.state=streams.json"]
        command = [sys.executable, "-m", "streamer", "serve", *map(str, arguments), *more]
        self.process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
        self.lines = []
        while not (self.lines and "control API" in self.lines[-1]):
            self.lines.append(self.process.stderr.readline())
            assert self.lines[-1], f"ended early: {self.lines}"
        self.health, self.port = (int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", "".join(self.lines[-2:])))

    def ask(self, method, path, body=None, port=None):
        headers = {"Authorization": "Bearer long-enough-token", "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=30)) as connection:
            connection.request(method, path, body and json.dumps(body), headers)
            return json.loads(connection.getresponse().read())

    def states(self):
        return {stream["name"]: stream["state"] for stream in self.ask("GET", "/streams")}

    def end(self, how):
        self.process.send_signal(how)
        self.lines.append(self.process.communicate(timeout=60)[1])
        return self.process.returncode


def test_streams_come_back_after_a_kill_and_after_an_end_with_their_names(tmp_path):
    first = Service(tmp_path)
    first.ask("POST", "/streams", {"source": AWAY, "name": "door"})
    first.ask("POST", "/streams", {"source": "rtsp://127.0.0.1:9/yard"})
    first.ask("POST", "/streams", {"source": AWAY, "name": "hall"})
    first.ask("DELETE", "/streams/hall")
    first.end(signal.SIGKILL)
    second = Service(tmp_path, "--log", "out.jsonl")
    waiting = {"door": "retrying", "rtsp://127.0.0.1:9/yard": "retrying"}
    until(lambda: second.states() == waiting)  # a camera that is not there is waited for, from the start on as well
    assert second.ask("GET", "/healthz", port=second.health)["sources"]["door"]["cause"] == "refused"
    assert second.end(signal.SIGTERM) == 143
    assert "hunter2" not in "".join(second.lines)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written[0]["sources"].keys() == waiting.keys()
    assert "hunter2" not in (tmp_path / "out.jsonl").read_text() + (tmp_path / "out.manifest.json").read_text()
    third = Service(tmp_path, SAMPLE)
    until(lambda: third.states() == {**waiting, "sample": "ended"})
    assert third.end(signal.SIGTERM) == 143
    assert kept_in(tmp_path / "streams.json") == {
        "door": AWAY,
        "rtsp://127.0.0.1:9/yard": "rtsp://127.0.0.1:9/yard",
    }


def test_a_stream_of_the_command_line_takes_the_place_of_one_of_its_name(tmp_path):
    shutil.copy(SAMPLE, tmp_path / "clip.mp4")
    with Kept(tmp_path / "streams.json") as kept:
        kept.write({"clip": AWAY})
    service = Service(tmp_path, "clip.mp4")
    assert service.states().keys() == {"clip"}
    service.end(signal.SIGTERM)
    assert "'clip' is left out: a stream of the command line has that name" in "".join(service.lines)
    assert kept_in(tmp_path / "streams.json") == {}


def test_a_damaged_or_misplaced_file_ends_the_service_at_once(tmp_path):
    state = tmp_path / "streams.json"
    state.write_text('{"state": 1, "streams": [')
    options = ("--set", f"serve.state={state}", "--set", "serve.port=0")
    done = run_streamer("serve", *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "expected the streams that `streamer serve` keeps there" in done.stderr
    state.unlink()
    done = run_streamer("serve", "--log", state, *options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "expected different files" in done.stderr
    done = run_streamer("serve", "--set", "serve.state=/nowhere/streams.json")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "/nowhere/streams.json: cannot be written" in done.stderr
    assert Path("/nowhere").exists() is False
