"""The control API over real HTTP, and `streamer serve` as a process of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest
from prometheus_client import generate_latest

from engines.errors import UserError
from streamer.config import Config, ServeConfig
from streamer.service import streams
from streamer.service.control import Desk, create_app
from streamer.service.guard import Guard, Turnstile
from streamer.service.serve import check_reach
from streamer.service.server import listen, serving
from streamer.service.streams import Streams
from streamer.types import Step
from streamer.watching.door import Door
from tests.make import SAMPLE, pipeline
from tests.service.cameras import Camera

TOKEN = "long-enough-token"


@pytest.fixture
def service():
    """Run an empty pipeline and its API; yield the pipeline and a client without a token."""
    config, desk, ready, parts = (
        Config(serve={"port": 0, "files": True, "requests": 1000}),
        Desk(),
        threading.Event(),
        [],
    )

    def on_poll():
        desk.work()

    def analyse():
        with pipeline(on_poll=on_poll, keep_open=True) as results:
            parts.append(results)
            ready.set()
            for _ in results:
                pass

    thread = threading.Thread(target=analyse)
    thread.start()
    ready.wait()
    [empty] = parts
    door = Door()
    app = Guard(create_app(Streams(config, empty), desk), door, token=TOKEN, requests=1000)
    with listen(config.serve) as opened, serving(app, opened, door):
        port = opened.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False) as client:
            yield empty, client
    empty.stop()
    thread.join()


@pytest.fixture
def client(service):
    """Return a client that shows the token."""
    service[1].headers["Authorization"] = f"Bearer {TOKEN}"
    return service[1]


def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_streams_are_added_listed_and_removed_and_their_names_are_free_again(service, client):
    for _ in range(2):
        added = client.post("/streams", json={"source": str(SAMPLE), "name": "clip"})
        assert (added.status_code, added.json()["name"]) == (201, "clip")
        until(lambda: client.get("/streams/clip").json()["state"] == "ended")
        one = client.get("/streams/clip").json()
        assert one["frames"] == one["results"] == 175
        assert client.get("/streams").json() == [one]
        assert client.delete("/streams/clip").status_code == 202
        until(lambda: client.get("/streams").json() == [])
    assert b'stream="clip"' not in generate_latest(service[0].metrics.registry)


def test_a_camera_that_is_not_there_is_waited_for(client):
    assert client.post("/streams", json={"source": "rtsp://127.0.0.1:9/x"}).status_code == 201
    until(lambda: client.get("/streams").json()[0]["state"] == "retrying", 20)
    [camera] = client.get("/streams").json()
    assert camera["reason"].startswith("rtsp://127.0.0.1:9/x: connection refused; next try in ")
    assert client.get(f"/streams/{camera['name']}").json()["state"] == "retrying"
    assert client.delete(f"/streams/{camera['name']}").status_code == 202  # though its name holds slashes
    until(lambda: client.get("/streams").json() == [])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{no json", "expected JSON: expecting property name enclosed in double quotes at character 1"),
        (b"[]", "input should be a valid dictionary"),
        (b"{}", "'source': field required"),
        (b'{"source": ""}', "'source': string should have at least 1 character"),
        (b'{"source": "0", "name": "a/b"}', "'name': string should match pattern"),
        (b'{"source": "0", "speed": 2}', "unknown key 'speed'"),
        (b'{"source": "gopher://x/y"}', "unknown kind of URL"),
        (b'{"source": "missing.mp4"}', "missing.mp4"),
    ],
)
def test_a_malformed_wish_is_refused_in_one_line(client, body, reason):
    answer = client.post("/streams", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert reason.lower() in answer.json()["error"].lower()
    assert "\n" not in answer.json()["error"]
    assert client.get("/streams").json() == []


def test_unknown_taken_and_unauthorised_have_their_status(service):
    client = service[1]
    refused = client.get("/streams")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert client.get("/streams", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.post("/streams", json={"source": "0"}).status_code == 401
    assert client.get("/health").json() == {"streams": 0, "load": 0.0, "shed": ""}
    for moved in ("/healthz", "/readyz", "/metrics"):
        answer = client.get(moved)
        assert (answer.status_code, "listener of their own" in answer.json()["error"]) == (404, True)
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    assert client.delete("/streams/none").status_code == 404
    assert client.get("/streams/none").status_code == 404
    assert client.get("/elsewhere").json() == {"error": "Not Found"}
    assert client.put("/streams").status_code == 405
    client.post("/streams", json={"source": str(SAMPLE), "name": "clip"})
    again = client.post("/streams", json={"source": str(SAMPLE), "name": "clip"})
    assert (again.status_code, "a stream is named 'clip'" in again.json()["error"]) == (409, True)


def test_cameras_that_are_not_there_take_no_room_of_others(client):
    for number in range(streams.UNMEASURED):
        assert client.post("/streams", json={"source": f"rtsp://127.0.0.1:9/{number}"}).status_code == 201
    until(lambda: {one["state"] for one in client.get("/streams").json()} == {"retrying"}, 60)
    assert client.post("/streams", json={"source": "rtsp://127.0.0.1:9/more"}).status_code == 201


def test_bodies_that_are_too_long_or_of_unknown_length_are_refused(client):
    assert client.post("/streams", content=b" " * 20_000).status_code == 413
    head = (
        f"POST /streams HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {'9' * 15}\r\n\r\n"
    )
    with socket.create_connection((client.base_url.host, client.base_url.port), 30) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
    assert client.post("/streams", content=iter([b"{", b"}"])).status_code == 413


def test_no_stream_is_added_where_there_is_no_room(service):
    running, client = service
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    running.ladder.step = Step.FRAMES
    full = client.post("/streams", json={"source": str(SAMPLE)})
    assert (full.status_code, "retry-after" in full.headers) == (503, True)
    running.ladder.step = Step.NONE
    assert client.post("/streams", json={"source": str(SAMPLE)}).status_code == 201


def test_ended_streams_that_nobody_removes_are_bounded_too(service, monkeypatch):
    running, client = service
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    monkeypatch.setattr(streams, "LISTED", 1 / Config().serve.streams)  # one in all
    assert client.post("/streams", json={"source": str(SAMPLE), "name": "clip"}).status_code == 201
    until(lambda: client.get("/streams/clip").json()["state"] == "ended")
    refused = client.post("/streams", json={"source": str(SAMPLE)})
    assert (refused.status_code, "1 streams are listed" in refused.json()["error"]) == (503, True)
    client.delete("/streams/clip")
    until(lambda: not running.captures)
    assert client.post("/streams", json={"source": str(SAMPLE)}).status_code == 201


def test_streams_count_for_admission_by_what_is_measured_of_them(service, monkeypatch):
    running, client = service
    client.headers["Authorization"] = f"Bearer {TOKEN}"
    monkeypatch.setattr(streams, "open_source", lambda text, **settings: Camera(text))

    def add():
        return client.post("/streams", json={"source": f"rtsp://camera/{time.monotonic_ns()}"})

    assert [add().status_code for _ in range(streams.UNMEASURED)] == [201] * streams.UNMEASURED
    refused = add()
    assert (refused.status_code, refused.json()["error"]) == (
        503,
        "4 streams have just begun: what they take is not measured yet",
    )
    monkeypatch.setattr(streams, "MEASURED_AFTER", 0.2)
    until(lambda: all(capture.first_frame_at for capture in running.captures.values()))
    time.sleep(0.3)
    assert add().status_code == 201
    # A newcomer is not in the load yet: four streams take 0.7, so six would take more than 0.9.
    monkeypatch.setattr(streams, "MEASURED_AFTER", 60.0)
    list(running.captures.values())[-1].first_frame_at = None
    for capture in list(running.captures.values())[:4]:
        capture.first_frame_at -= 100
    running.ladder.load = 0.7
    running.ladder.look = lambda now, busy: None
    assert "load 0.70 with 4 streams" in add().json()["error"]


def test_what_a_client_can_mend_is_answered_with_422_in_words(client, monkeypatch):
    def refuse(text, **settings):
        raise UserError("expected\nanother source")

    monkeypatch.setattr(streams, "open_source", refuse)
    answer = client.post("/streams", json={"source": "rtsp://camera/1"})
    assert (answer.status_code, answer.json()) == (422, {"error": "expected another source"})


@pytest.mark.parametrize("source", ["/etc/passwd", "0\n", "/dev/video0\n", "./0"])
def test_files_are_refused_unless_allowed(source):
    board = Streams(Config(), pipeline(keep_open=True))
    desk = Desk()
    wishes = [desk.ask(lambda: board.add(type("Wish", (), {"source": source, "name": None})()))]
    desk.work()
    assert "files of this machine need serve.files" in str(wishes[0].exception())


def test_a_client_that_asks_too_often_waits():
    turnstile = Turnstile(5)
    assert [turnstile.admit("a", 0.0) for _ in range(11)] == [True] * 10 + [False]
    assert turnstile.admit("b", 0.0)
    assert turnstile.admit("a", 0.2)
    for number in range(5000):
        turnstile.admit(str(number), 1.0)
    assert len(turnstile._clients) <= 1024


def test_too_many_requests_are_told_so():
    empty, door = pipeline(keep_open=True), Door()
    app = Guard(create_app(Streams(Config(), empty), Desk()), door, token=TOKEN, requests=2)
    with listen(ServeConfig(port=0)) as opened, serving(app, opened, door):
        url = f"http://127.0.0.1:{opened.getsockname()[1]}/streams"
        with httpx.Client(trust_env=False) as client:
            answers = [client.get(url) for _ in range(60)]
    told = {answer.status_code: answer for answer in answers}
    assert set(told) == {401, 429}
    assert told[429].headers["retry-after"] == "1"


def test_an_open_address_needs_a_token_of_ones_own():
    check_reach(ServeConfig(address="localhost"), None)
    check_reach(ServeConfig(address="0.0.0.0"), TOKEN)
    with pytest.raises(ValueError, match="give a token with --token"):
        check_reach(ServeConfig(address="0.0.0.0"), None)
    with pytest.raises(ValueError, match="at least 8 characters"):
        check_reach(ServeConfig(), "short")
    with pytest.raises(ValueError, match="expected an IP address"):
        check_reach(ServeConfig(address="my.host"), TOKEN)


def test_a_port_that_is_taken_is_one_line():
    with (
        listen(ServeConfig(port=0)) as opened,
        pytest.raises(OSError, match=r"serve\.port: 127\.0\.0\.1:\d+ cannot be opened"),
        listen(ServeConfig(port=opened.getsockname()[1])),
    ):
        pass


def test_serve_runs_until_a_signal_and_keeps_its_log(tmp_path):
    command = [sys.executable, "-m", "streamer", "serve", str(SAMPLE), "--set", "serve.port=0", "--log", "out.jsonl"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        while not (lines and "ended" in lines[-1]):
            lines.append(process.stderr.readline())
            assert lines[-1], f"ended early: {lines}"
        url, token = re.search(r"(http://\S+)/streams, token (\S+)", "".join(lines)).groups()
        answer = httpx.get(f"{url}/streams", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        assert answer.json()[0]["results"] == 175
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143
    assert (tmp_path / "out.jsonl").read_text().count('"type":"frame"') == 175


def test_sources_of_one_name_are_numbered(client):
    for name in ("sample", "sample-2"):
        assert client.post("/streams", json={"source": str(SAMPLE)}).json()["name"] == name
