from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamer.events import Event, delivery, open_publisher
from streamer.events.sink import EventSink
from streamer.events.spool import Spool
from streamer.watching.metrics import Metrics
from tests.make import SAMPLE, result, streamer

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
MOCK = """
import time
from confluent_kafka import Producer
cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
[broker] = cluster.list_topics(timeout=10).brokers.values()
print(f"{broker.host}:{broker.port}", flush=True)
time.sleep(600)
"""


def until(reached: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.02)
    return reached()


def sink(url: str, spool: Path, metrics: Metrics | None = None, most: int = 1 << 20) -> EventSink:
    return EventSink("broker", open_publisher(url), Spool(spool, most), metrics or Metrics(), "run")


# Kafka, on librdkafka's own mock cluster in a process of its own


@pytest.fixture
def kafka() -> Iterator[subprocess.Popen[str]]:
    pytest.importorskip("confluent_kafka", reason="needs confluent-kafka (extra cluster)")
    with subprocess.Popen([sys.executable, "-c", MOCK], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.address = process.stdout.readline().strip()  # type: ignore[attr-defined]
        yield process
        process.kill()


def consumed(address: str, count: int, seconds: float = 30.0) -> list[tuple[str, dict[str, Any]]]:
    """Read every partition of the topic from its start until there are `count` different keys."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "log_level": 0})
    partitions = consumer.list_topics("faces", timeout=10).topics["faces"].partitions
    consumer.assign([TopicPartition("faces", number, 0) for number in partitions])
    found: list[tuple[str, dict[str, Any]]] = []
    deadline = time.monotonic() + seconds
    while len({key for key, _ in found}) < count and time.monotonic() < deadline:
        message = consumer.poll(0.1)
        if message is not None and not message.error():
            found.append((message.key().decode(), json.loads(message.value())))
    consumer.close()
    return found


def test_kafka_gets_every_record_under_its_key(kafka, tmp_path: Path):
    with sink(f"kafka://{kafka.address}/faces", tmp_path / "s") as events:
        for index in range(50):
            events.write(result(index))
        events.write_state("cam", "ended", "")
    found = consumed(kafka.address, 51)
    assert len(found) == 51
    frames = {key.rpartition("/")[0] for key, value in found if value["type"] == "frame"}
    assert frames == {f"run/cam/frame/{at}" for at in range(50)}
    assert all(key == value["key"] and value["run"] == "run" for key, value in found)


def test_a_kafka_broker_that_goes_away_and_comes_back_misses_nothing(
    kafka, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("streamer.events.kafka.TIMEOUT", 1.0)
    metrics = Metrics()
    with sink(f"kafka://{kafka.address}/faces", tmp_path / "s", metrics) as events:
        for index in range(20):
            events.write(result(index))
        assert until(lambda: len(events._spool) == 0)
        os.kill(kafka.pid, signal.SIGSTOP)
        for index in range(20, 60):
            events.write(result(index))
        assert until(lambda: "they wait on disk" in caplog.text)
        assert until(lambda: metrics.value("streamer_events_waiting", sink="broker") == 40)
        os.kill(kafka.pid, signal.SIGCONT)
        assert until(lambda: "delivers events again" in caplog.text)
    assert {key.rpartition("/")[0] for key, _ in consumed(kafka.address, 60)} == {
        f"run/cam/frame/{at}" for at in range(60)
    }


# MQTT, on mosquitto


class Mosquitto:
    """Run the broker; `port` stays the same across restarts."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.config = folder / "mosquitto.conf"
        self.config.write_text("\n".join([f"listener {self.port} 127.0.0.1", *(lines or ["allow_anonymous true"])]))
        self.start()

    def start(self) -> None:
        command = [str(MOSQUITTO), "-c", str(self.config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert until(self.answers)

    def answers(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Listener:
    """Collect what is published on a topic, again after each loss of the broker."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.values: list[dict[str, Any]] = []
        self.subscribed = threading.Event()
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe("home/faces", 1)
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_disconnect = lambda *_: self.subscribed.clear()
        self.client.on_message = lambda client, data, message: self.values.append(json.loads(message.payload))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.subscribed.wait(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt (extra cluster)")
    if not MOSQUITTO:
        pytest.skip("needs mosquitto, a Debian package")
    broker = Mosquitto(tmp_path)
    yield broker
    broker.kill()


def test_mqtt_gets_every_record_in_order(mosquitto: Mosquitto, tmp_path: Path):
    listener = Listener(mosquitto.port)
    with sink(f"mqtt://127.0.0.1:{mosquitto.port}/home/faces", tmp_path / "s") as events:
        for index in range(50):
            events.write(result(index))
    assert until(lambda: len(listener.values) >= 50)
    listener.close()
    assert [value["index"] for value in listener.values] == list(range(50))


def test_an_mqtt_broker_that_restarts_misses_nothing(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    listener = Listener(mosquitto.port)
    with sink(f"mqtt://127.0.0.1:{mosquitto.port}/home/faces", tmp_path / "s") as events:
        for index in range(10):
            events.write(result(index))
        assert until(lambda: len(listener.values) >= 10)
        mosquitto.kill()
        assert until(lambda: not listener.subscribed.is_set())
        for index in range(10, 30):
            events.write(result(index))
        assert until(lambda: "they wait on disk" in caplog.text)
        listener.close()
        mosquitto.start()
        second = Listener(mosquitto.port)
        assert until(lambda: "delivers events again" in caplog.text)
        assert until(lambda: len(events._spool) == 0)
    second.close()
    assert [value["index"] for value in listener.values] == list(range(10))
    assert {value["index"] for value in second.values} == set(range(10, 30))


def test_a_wrong_password_keeps_the_events_for_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt (extra cluster)")
    if not MOSQUITTO:
        pytest.skip("needs mosquitto, a Debian package")
    monkeypatch.setattr("streamer.events.mqtt.TIMEOUT", 0.5)
    monkeypatch.setattr(delivery, "LAST_CHANCE", 0.1)
    broker = Mosquitto(tmp_path, "allow_anonymous false")
    with sink(f"mqtt://me:secret@127.0.0.1:{broker.port}/home/faces", tmp_path / "s") as events:
        events.write(result(0))
        assert until(lambda: "check user and password" in caplog.text)
    broker.kill()
    assert "1 events wait in" in caplog.text
    assert "secret" not in caplog.text
    spool = Spool(tmp_path / "s", 1000)
    assert [event.key.rpartition("/")[0] for event in spool.head(9)] == ["run/cam/frame/0"]
    spool.close()


@pytest.mark.parametrize("hangs_up", [False, True])
def test_an_mqtt_broker_that_acknowledges_nothing_leaves_the_events_in_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs_up: bool
):
    pytest.importorskip("paho.mqtt", reason="needs paho-mqtt (extra cluster)")
    monkeypatch.setattr("streamer.events.mqtt.TIMEOUT", 0.5)
    accepted = bytes([0x20, 3, 0, 0, 0])  # CONNACK of MQTT 5
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(accepted)
                while connection.recv(4096) and not hangs_up:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        publisher = open_publisher(f"mqtt://127.0.0.1:{listener.getsockname()[1]}/faces")
        with pytest.raises(OSError, match="the broker does not acknowledge"):
            publisher.publish([Event(1, "a", b"{}"), Event(2, "b", b"{}")], lambda: 60.0)
        publisher.close()
        thread.join(10)
    assert not thread.is_alive()


# The spool, and bad requests


class Held:
    """Acknowledge nothing until `open` is set, then every second event only."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.published: list[str] = []

    def publish(self, events, left):
        if not self.open.is_set():
            raise OSError("away")
        self.published += [event.key for event in events]
        return [event.place for event in events[::2]]

    def close(self) -> None:
        pass


def test_what_waits_survives_a_restart_and_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(delivery, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(delivery, "LAST_CHANCE", 0.05)
    held = Held()
    for run in ("a", "b"):
        with EventSink("broker", held, Spool(tmp_path / "s", 1 << 20), Metrics(), run) as events:
            for index in range(3):
                events.write(result(index))
    held.open.set()
    waiting = Spool(tmp_path / "s", 1 << 20)
    with EventSink("broker", held, waiting, Metrics(), "c"):
        assert until(lambda: len(set(held.published)) == 6 and not len(waiting))
    first = list(dict.fromkeys(held.published))
    assert [key.rpartition("/")[0] for key in first] == [
        f"{run}/cam/frame/{index}" for run in ("a", "b") for index in range(3)
    ]
    spool = Spool(tmp_path / "s", 1 << 20)
    assert len(spool) == 0
    spool.close()


def test_a_bug_in_the_delivery_reaches_the_caller(tmp_path: Path):
    class Broken(Held):
        def publish(self, events, left):
            raise KeyError("bug")

    with EventSink("broker", Broken(), Spool(tmp_path / "s", 1 << 20), Metrics(), "a") as events:
        events.write(result(0))
        assert until(lambda: not any(thread.name == "events broker" for thread in threading.enumerate()))
        with pytest.raises(KeyError, match="bug"):
            events.write(result(1))


def test_an_event_too_large_for_kafka_is_told_and_waits(kafka, tmp_path: Path, caplog, monkeypatch):
    monkeypatch.setattr(delivery, "LAST_CHANCE", 0.1)
    with sink(f"kafka://{kafka.address}/faces?message.max.bytes=1000", tmp_path / "s") as events:
        events.write(result(0))
        events.write_state("cam", "failed", "x" * 5000)
        assert until(lambda: "Message size too large" in caplog.text)
    assert "1 events wait in" in caplog.text


def test_a_full_spool_refuses_more_and_takes_it_again_when_there_is_room(tmp_path: Path):
    spool = Spool(tmp_path / "s", 100)
    spool.put("a", b"x" * 60)
    with pytest.raises(OSError, match="the broker is away, and 0 MiB of events wait already"):
        spool.put("b", b"x" * 60)
    spool.remove(spool.head(1))
    spool.put("c", b"x" * 60)
    assert [event.key for event in spool.head(9)] == ["c"]
    with pytest.raises(OSError, match="cannot keep events: database is locked"):
        Spool(tmp_path / "s", 100)
    spool.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://x/y", "expected kafka://, mqtt://, mqtts://, found 'http'"),
        ("kafka://broker:9092", "expected kafka://host:port/topic"),
        ("mqtt:///topic", "expected mqtt://host:port/topic"),
        ("mqtt://broker:123456/faces", "expected mqtt://host:port/topic, the port a number up to 65535"),
        (
            "mqtts://me:secret@broker:abc/faces",
            "--events mqtts://broker:***/faces: expected mqtts://host:port/topic, the",
        ),
        ("mqtt://[::1/faces", "--events mqtt://***/faces: expected mqtt://host:port/topic"),
        ("kafka://[::1/faces", "--events kafka://***/faces: expected kafka://host:port/topic"),
        ("kafka://me:pa/ss@broker:9092/faces", "--events kafka://broker:9092/faces: expected kafka://host:port/topic"),
        ("mqtt://broker/+/faces", "expected mqtt://host:port/topic without '+', '#' and '?'"),
        ("mqtt://broker/faces/#", "expected mqtt://host:port/topic without '+', '#' and '?'"),
        ("mqtt://broker/faces?qos=2", "expected mqtt://host:port/topic without '+', '#' and '?'"),
        ("kafka://b:9/t?no.such.option=1", 'No such configuration property: "no.such.option"'),
    ],
)
def test_a_wrong_address_is_refused(url: str, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        open_publisher(url)


def test_a_run_delivers_its_events(mosquitto: Mosquitto, tmp_path: Path):
    listener = Listener(mosquitto.port)
    url = f"mqtt://127.0.0.1:{mosquitto.port}/home/faces"
    done = streamer("run", SAMPLE, "--events", url, "--set", f"events.spool={tmp_path / 's'}")
    assert done.returncode == 0, done.stderr
    frames = [value for value in listener.values if value["type"] == "frame"]
    listener.close()
    assert [frame["index"] for frame in frames] == list(range(len(frames)))
    assert len(frames) > 100
    assert frames[-1]["faces"][0]["label"]


@pytest.mark.slow
def test_a_run_whose_broker_is_away_goes_on_and_says_where_the_events_wait(tmp_path: Path):
    spool = tmp_path / "s"
    done = streamer("run", SAMPLE, "--events", "mqtt://127.0.0.1:9/t", "--set", f"events.spool={spool}")
    assert done.returncode == 0
    assert f"events wait in {spool} for the next run" in done.stderr
    left = Spool(spool, 1)
    assert len(left) > 100
    left.close()
