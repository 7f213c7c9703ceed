"""Events to Kafka, by confluent-kafka: kafka://[user:password@]host:9092[,host:9092]/topic?librdkafka.option=value."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote

from engines.errors import MissingPackage, UserError
from streamer.events import Event, Tls, split_address
from streamer.sources import redact

TIMEOUT = 10.0  # s that a batch may take until all of it is acknowledged
OPTION = re.compile(r"[a-z]+(?:\.[a-z0-9]+)*")
SLICE = 0.2  # s between looks at how much time is left


class KafkaPublisher:
    """Publish with the record's key as the message's, so that all deliveries of it go to one partition, in order.

    User and password log in by SASL PLAIN, with TLS unless an option says otherwise.
    """

    def __init__(self, url: str, tls: Tls) -> None:
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError as error:
            raise MissingPackage("kafka:// needs confluent-kafka: pip install 'emotion-streamer[cluster]'") from error
        parts, self._topic = split_address(url, "kafka://host:port/topic")
        given = dict(parse_qsl(parts.query))
        if not all(map(OPTION.fullmatch, given)):  # one that is none may be a part of a password
            raise UserError(f"--events {redact(url)}: expected options like ?security.protocol=SASL_SSL")
        options: dict[str, Any] = {
            "bootstrap.servers": parts.netloc.rpartition("@")[2],
            "enable.idempotence": True,
            "message.timeout.ms": round(TIMEOUT * 1000),
            "linger.ms": 5,
            "log_level": 0,
            **_security(parts, tls),
            **given,
        }
        self._failure = KafkaException
        try:
            self._producer = Producer(options)
        except KafkaException as error:
            raise UserError(f"--events {redact(url)}: {error.args[0].str()}") from error

    def publish(self, events: Sequence[Event], left: Callable[[], float]) -> list[int]:
        """Deliver; see `Publisher`."""
        done: list[int] = []
        reasons: list[str] = []

        def note(place: int, error: Any, message: Any) -> None:
            if error is None:
                done.append(place)
            else:
                reasons.append(str(error.str()))

        for event in events:
            key = event.key.encode("utf-8", "backslashreplace")
            try:
                self._producer.produce(self._topic, event.value, key, on_delivery=partial(note, event.place))
            except (self._failure, BufferError) as error:  # such as one that is larger than message.max.bytes
                reasons.append(str(error))
                break
        ends = time.monotonic() + TIMEOUT + 1
        while len(self._producer) and (seconds := min(ends - time.monotonic(), left())) > 0:
            self._producer.flush(min(SLICE, seconds))
        if not done:
            raise OSError(reasons[0] if reasons else f"no answer within {TIMEOUT:g} s")
        return done

    def close(self) -> None:
        """Leave the broker; what it has not acknowledged stays in the spool."""
        self._producer.purge()
        self._producer.flush(1)


def _security(parts: SplitResult, tls: Tls) -> dict[str, str]:
    """Return the options for what the URL says of user and password, and for files of TLS."""
    files = {"ssl.ca.location": tls.ca, "ssl.certificate.location": tls.certificate, "ssl.key.location": tls.key}
    found = {name: str(path) for name, path in files.items() if path}
    if found:
        found["security.protocol"] = "SSL"
    if parts.username:
        found |= {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}
        found |= {"sasl.username": unquote(parts.username), "sasl.password": unquote(parts.password or "")}
    return found
