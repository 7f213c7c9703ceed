"""Clients that are many, silent, slow or wrong: health answers, the streams go on, and who has the token is served."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from streamer.service.control import Desk
from streamer.watching.door import Door, Peer
from tests.attacks import Attacker, kinds
from tests.make import pipeline
from tests.service.cameras import Camera
from tests.service.served import TOKEN, Served, served


@contextmanager
def running(door: Door, requests: int = 20) -> Iterator[Served]:
    """Run a service around a door."""
    desk, ready = Desk(), threading.Event()
    one = pipeline(Camera("good"), on_poll=desk.work, keep_open=True)

    def analyse() -> None:
        with one as results:
            for _ in results:
                ready.set()

    thread = threading.Thread(target=analyse)
    thread.start()
    try:
        assert ready.wait(30)
        with served(one, desk, door, requests) as service:
            yield service
    finally:
        one.stop()
        thread.join()


@pytest.fixture
def service() -> Iterator[Served]:
    with running(Door()) as one:
        yield one


def watch(service: Served, seconds: float, *, asks: bool = True) -> None:
    """Check for so long that health answers, that results keep coming, and whether the right token is served."""
    took, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends or len(took) < 6:
        before = service.pipeline.captures["good"].captured
        took.append(service.seconds("/healthz" if len(took) % 2 else "/metrics"))
        if asks:
            assert service.ask() == 200
        limit = time.monotonic() + 10
        while service.pipeline.captures["good"].captured <= before:
            assert time.monotonic() < limit, "the stream stands still"
            time.sleep(0.01)
    assert sorted(took)[len(took) * 8 // 10] < 1, took


@pytest.mark.parametrize("kind", kinds())
def test_an_attack_harms_neither_health_nor_streams_nor_who_has_the_token(service, kind, caplog):
    with Attacker(service.port, kind, connections=100, token=TOKEN) as attacker:
        watch(service, 1.0, asks=TOKEN.encode() not in kinds(TOKEN)[kind][0])
        assert len(service.door) <= service.door.most
    assert attacker.counts["opened"] >= 100
    assert attacker.counts["shut"] > 0
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


def test_a_thousand_connections_from_many_addresses_are_borne(service):
    names = ("silent", "slow head", "garbage", "wrong tokens")
    with Attacker(service.port, *names, connections=1000, origins=50) as attacker:
        watch(service, 3.0, asks=False)
        assert len(service.door) <= service.door.most
    assert attacker.counts["opened"] >= 1000
    assert service.ask() == 200


def test_health_bears_an_attack_on_itself(service):
    with Attacker(service.health.port, "silent", "slow head", "endless head", "garbage", connections=200):
        for _ in range(10):
            assert service.seconds() < 5
            time.sleep(0.1)
        assert len(service.health.door) <= service.health.door.most


def test_wrong_tokens_at_a_rate_are_refused_and_the_right_one_is_not(service):
    with Attacker(service.port, "wrong tokens", connections=150) as attacker:
        for _ in range(10):
            assert service.ask() == 200
    assert attacker.counts["429"] > attacker.counts["401"] > 0


def closed_within(service: Served, *parts: bytes, pause: float = 0.1, reads: bool = True, seconds: float = 20) -> bytes:
    """Send parts, the last again and again; return what was answered once the service closes the connection."""
    answer, ends = b"", time.monotonic() + 20
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.settimeout(0.1)
        for part in parts:
            client.sendall(part)
        while time.monotonic() < ends:
            try:
                if parts:
                    client.send(parts[-1])
                if not (data := client.recv(4096)):
                    return answer
                answer += data
            except TimeoutError:
                pass
            except OSError:
                return answer
    raise AssertionError("still open")


def test_who_is_silent_or_slow_is_shut_out():
    with running(Door(seconds=1.0)) as service:
        assert closed_within(service) == b""
        assert closed_within(service, b"GET /health HTTP/1.1\r\nHost: a\r\nX-", b"a") == b""
        for name in ("slow body", "endless body", "endless chunks"):
            first, _ = kinds(TOKEN)[name]
            answer = closed_within(service, first, b" ")
            assert answer.startswith((b"HTTP/1.1 413", b"HTTP/1.1 401")) or (name == "slow body" and answer == b"")
        answer = closed_within(service, b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", b"")  # idle after an answer
        assert answer.startswith(b"HTTP/1.1 200")
        assert service.ask() == 200
        limit = time.monotonic() + 10
        while len(service.door):
            assert time.monotonic() < limit
            time.sleep(0.05)


def test_who_takes_no_answer_is_shut_out():
    with running(Door(seconds=1.0), requests=1_000_000) as service, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        client.settimeout(20)
        client.connect(("127.0.0.1", service.port))
        client.sendall(f"GET /x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode() * 1500)
        limit = time.monotonic() + 20
        while len(service.door):
            assert time.monotonic() < limit
            time.sleep(0.05)
        with pytest.raises(ConnectionError):
            while client.recv(65536):
                pass
            raise ConnectionError("the end without a reset")


def test_the_api_speaks_no_websocket(service):
    first, _ = kinds()["bad frames"]
    with socket.create_connection(("127.0.0.1", service.port), 10) as client:
        client.sendall(first)
        assert client.recv(4096).startswith(b"HTTP/1.1 401")


def test_who_waits_longest_makes_room():
    shut: list[Peer] = []
    door = Door(most=4, each=2)
    for port in (1, 2, 3):
        door.enter(("a", port), partial(shut.append, ("a", port)))
    assert shut == [("a", 1)]
    door.know(("a", 2))
    door.enter(("a", 4), partial(shut.append, ("a", 4)))
    assert shut == [("a", 1), ("a", 3)]  # not the one that is answered
    for other in "bcd":
        door.enter((other, 1), partial(shut.append, (other, 1)))
    assert shut[2:] == [("a", 4)]
    for other in "bcd":
        door.know((other, 1))
    door.enter(("e", 1), partial(shut.append, ("e", 1)))
    assert shut[3:] == [("e", 1)]  # all others are being answered
    door.rest(("a", 2))
    door.enter(("e", 1), partial(shut.append, ("e", 1)))
    assert shut[4:] == [("a", 2)]
    door.leave(("e", 1))
    door.leave(("e", 1))
    assert len(door) == 3


def test_what_takes_too_long_is_shut_whoever_it_is():
    shut: list[int] = []
    door = Door(seconds=5.0)
    for port in (1, 2, 3):
        door.enter(("a", port), partial(shut.append, port))
    door.know(("a", 1))
    door.sweep(time.monotonic() + 4)
    assert shut == []
    door.sweep(time.monotonic() + 6)
    assert sorted(shut) == [1, 2, 3]
    assert len(door) == 0


def test_the_addresses_of_one_ipv6_user_are_one():
    shut: list[str] = []
    door = Door(each=2)
    for end in ("1", "2", "ffff:3%eth0", "ffff:4"):
        door.enter((f"2001:db8::{end}", 1), partial(shut.append, end))
    assert shut == ["1", "2"]
