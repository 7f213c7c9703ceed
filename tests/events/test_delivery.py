"""Brokers that refuse one event, or take their time at the end of a run; the spool when its file is no good; TLS."""

from __future__ import annotations

import gc
import json
import shutil
import socket
import sqlite3
import subprocess
import time
import warnings
from contextlib import ExitStack
from pathlib import Path

import pytest

from engines.errors import UserError
from streamer.config import Config
from streamer.events import Event, Tls, delivery, open_publisher
from streamer.events.sink import EventSink
from streamer.events.spool import Spool
from streamer.sinks.outputs import Outputs, open_sinks
from streamer.watching.metrics import Metrics
from tests.conftest import ListSource, picture
from tests.events.test_events import Listener, Mosquitto, mosquitto, until
from tests.make import result

__all__ = ["mosquitto"]  # a fixture


class Picky:
    """Take every event but those of some frames; a batch that holds one of those is taken up to there."""

    def __init__(self, *refused: int, away: bool = False) -> None:
        self.refused, self.away = refused, away
        self.taken: list[int] = []
        self.asked = 0

    def publish(self, events, left):
        self.asked += 1
        done = []
        for event in events:
            index = json.loads(event.value)["index"]
            if self.away or index in self.refused:
                break
            self.taken.append(index)
            done.append(event.place)
        if not done:
            raise OSError("message too large")
        return done

    def close(self) -> None:
        pass


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(delivery, "LONGEST_DELAY", 0.01)


@pytest.mark.usefixtures("_quick")
def test_an_event_that_the_broker_never_takes_is_set_aside_counted_and_can_be_read(tmp_path: Path):
    picky, metrics, spool = Picky(3, 7), Metrics(), Spool(tmp_path / "s.sqlite", 1 << 20)
    with EventSink("broker", picky, spool, metrics, "run") as events:
        for index in range(12):
            events.write(result(index))
        assert until(lambda: len(spool) == 0)
    assert picky.taken == [index for index in range(12) if index not in (3, 7)]
    assert metrics.value("streamer_events_refused_total", sink="broker") == 2
    aside = [json.loads(line) for line in (tmp_path / "s.refused.jsonl").read_text().splitlines()]
    assert [(one["refused"], one["index"]) for one in aside] == [("message too large", 3), ("message too large", 7)]


@pytest.mark.usefixtures("_quick")
def test_nothing_is_set_aside_while_the_broker_takes_nothing_at_all(tmp_path: Path):
    picky, spool = Picky(away=True), Spool(tmp_path / "s.sqlite", 1 << 20)
    with EventSink("broker", picky, spool, Metrics(), "run") as events:
        for index in range(5):
            events.write(result(index))
        assert until(lambda: picky.asked > 3 * delivery.TRIES)
        assert len(spool) == 5
        picky.away = False
        assert until(lambda: len(spool) == 0)
    assert picky.taken == list(range(5))
    assert not (tmp_path / "s.refused.jsonl").exists()


def test_what_is_set_aside_does_not_grow_for_ever(tmp_path: Path):
    spool = Spool(tmp_path / "s", 1000)
    for index in range(50):
        spool.put("k", b'{"index":%d,"text":"%s"}' % (index, b"x" * 100))
        spool.set_aside(spool.head(1)[0], "why")
    files = sorted(tmp_path.glob("s.refused*"))
    assert [file.name for file in files] == ["s.refused.jsonl", "s.refused.old.jsonl"]
    assert all(file.stat().st_size < 2000 for file in files)
    assert json.loads(files[0].read_text().splitlines()[-1])["index"] == 49
    spool.close()


class Slow(Picky):
    """Take each batch after a second."""

    def publish(self, events, left):
        time.sleep(min(1.0, max(0.0, left())))
        return super().publish(events[:1], left)


def test_the_end_of_a_run_waits_no_longer_for_a_broker_that_works_slowly(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(delivery, "LAST_CHANCE", 0.5)
    events = EventSink("broker", Slow(), Spool(tmp_path / "s", 1 << 20), Metrics(), "run")
    with events:
        for index in range(100):
            events.write(result(index))
        ended = time.monotonic()
    assert time.monotonic() - ended < 0.5 + delivery.GOODBYE + 1
    left = Spool(tmp_path / "s", 1 << 20)
    assert len(left) > 90
    left.close()


class Stuck(Picky):
    def publish(self, events, left):
        time.sleep(2)
        return []


def test_a_call_that_does_not_return_does_not_hold_up_the_end(tmp_path: Path, monkeypatch, caplog):
    monkeypatch.setattr(delivery, "LAST_CHANCE", 0.1)
    monkeypatch.setattr(delivery, "GOODBYE", 0.1)
    with EventSink("broker", Stuck(), Spool(tmp_path / "s", 1 << 20), Metrics(), "run") as events:
        events.write(result(0))
        time.sleep(0.2)
        ended = time.monotonic()
    assert time.monotonic() - ended < 1
    assert "1 events wait in" in caplog.text


def test_video_and_log_are_whole_before_the_broker_gets_its_last_chance(tmp_path: Path, monkeypatch):
    video, seen = tmp_path / "o.mp4", []

    class Watching(Picky):
        def close(self) -> None:
            seen.append(video.exists())

    monkeypatch.setattr("streamer.sinks.outputs.open_publisher", lambda url, tls: Watching())
    outputs = Outputs(video=video, log=tmp_path / "o.jsonl", events="mqtt://broker/t")
    config = Config.model_validate({"events": {"spool": tmp_path / "s"}})
    with ExitStack() as stack:
        sinks = open_sinks(stack, outputs, config, ["rtsp://x"], [ListSource("x", 1, live=True)], Metrics())
        for index in range(5):
            sinks["video"].write(result(index), picture())
    assert seen == [True]


def test_a_spool_that_cannot_be_used_leaves_no_connection_open(tmp_path: Path):
    (tmp_path / "s").write_bytes(b"no database" * 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OSError, match="cannot keep events: file is not a database"):
            Spool(tmp_path / "s", 100)
        gc.collect()


def test_a_removal_that_fails_is_taken_back_and_can_be_tried_again(tmp_path: Path):
    spool = Spool(tmp_path / "s", 1000)
    spool.put("a", b"{}")
    with pytest.raises(sqlite3.Error):
        spool.remove([*spool.head(1), Event(object(), "b", b"{}")])
    assert len(spool) == len(spool.head(9)) == 1
    spool.remove(spool.head(1))
    assert len(spool) == len(spool.head(9)) == 0
    spool.close()


def test_a_removal_that_sqlite_itself_takes_back_says_why(tmp_path: Path):
    spool = Spool(tmp_path / "s", 1000)
    spool.put("a", b"{}")
    spool._data.execute(
        "CREATE TEMP TRIGGER broken BEFORE DELETE ON events BEGIN SELECT RAISE(ROLLBACK, 'the disk is broken'); END"
    )
    with pytest.raises(sqlite3.Error, match="the disk is broken"):
        spool.remove(spool.head(1))
    spool._data.execute("DROP TRIGGER broken")
    spool.remove(spool.head(1))
    assert len(spool) == len(spool.head(9)) == 0
    spool.close()


# TLS


def answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def run_openssl(folder: Path, *command: str) -> None:
    subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """Make an authority of our own, a certificate of the broker and one of ours."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    subject = ("-subj", "/CN=ours", "-days", "2", "-nodes")
    run_openssl(tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-keyout", "ca.key", "-out", "ca.pem", *subject)
    for name in ("broker", "client"):
        run_openssl(
            tmp_path, "req", "-newkey", "rsa:2048", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-nodes",
            "-subj", f"/CN={name}",
        )  # fmt: skip
        (tmp_path / "names").write_text("subjectAltName=IP:127.0.0.1")
        run_openssl(
            tmp_path, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "names",
        )  # fmt: skip
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho drops the socket that failed
def test_mqtt_speaks_tls_with_an_authority_and_certificates_of_ones_own(certificates: Path, mosquitto: Mosquitto):
    mosquitto.kill()
    plain = mosquitto.port + 1
    mosquitto.config.write_text(
        f"allow_anonymous true\nlistener {mosquitto.port} 127.0.0.1\ncafile {certificates}/ca.pem\n"
        f"certfile {certificates}/broker.pem\nkeyfile {certificates}/broker.key\nrequire_certificate true\n"
        f"user root\nlistener {plain} 127.0.0.1\n"
    )
    mosquitto.start()
    assert until(lambda: answers(plain))
    listener, url = Listener(plain), f"mqtts://127.0.0.1:{mosquitto.port}/home/faces"
    tls = Tls(certificates / "ca.pem", certificates / "client.pem", certificates / "client.key")
    spool = Spool(certificates / "s", 1 << 20)
    with EventSink("broker", open_publisher(url, tls), spool, Metrics(), "run") as events:
        events.write(result(0))
        assert until(lambda: len(spool) == 0)
    assert until(lambda: len(listener.values) == 1)
    listener.close()
    with pytest.raises(OSError, match="certificate verify failed"):
        open_publisher(url).publish([Event(1, "a", b"{}")], lambda: 5.0)


def test_files_of_tls_that_are_none_are_refused_in_one_line(certificates: Path):
    with pytest.raises(UserError, match=r"events.ca .*gone.pem: expected a PEM file, found none"):
        Tls(certificates / "gone.pem")
    with pytest.raises(UserError, match=r"events.key: expected events.certificate beside it"):
        Tls(key=certificates / "client.key")
    with pytest.raises(UserError, match=r"expected certificates and a key as PEM, found something else in .*names"):
        open_publisher("mqtts://broker/t", Tls(certificates / "names"))
    with pytest.raises(UserError, match=r"mqtt://broker/t: expected mqtts://host:port/topic, as events.ca"):
        open_publisher("mqtt://broker/t", Tls(certificates / "ca.pem"))


def test_kafka_gets_user_password_and_files(certificates: Path):
    pytest.importorskip("confluent_kafka", reason="needs confluent-kafka (extra cluster)")
    from streamer.events import split_address
    from streamer.events.kafka import _security

    parts, topic = split_address("kafka://me:p%40ss%2Fword@a:9092,b:9092/t", "kafka://host:port/topic")
    assert topic == "t"
    assert _security(parts, Tls(certificates / "ca.pem")) == {
        "ssl.ca.location": str(certificates / "ca.pem"),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
        "sasl.password": "p@ss/word",
    }
    open_publisher("kafka://me:secret@127.0.0.1:9/t", Tls(certificates / "ca.pem")).close()
    with pytest.raises(UserError, match="kafka://127.0.0.1:9/t: ") as refused:
        open_publisher("kafka://me:secret@127.0.0.1:9/t", Tls(certificates / "names"))
    assert "secret" not in str(refused.value)
