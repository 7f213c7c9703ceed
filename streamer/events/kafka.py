"""Events to Kafka, by confluent-kafka: kafka://host:9092[,host:9092]/topic?librdkafka.option=value."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from engines.errors import MissingPackage, UserError
from streamer.events import Event
from streamer.sources import redact

TIMEOUT = 10.0  # s that a batch may take until all of it is acknowledged


class KafkaPublisher:
    """Publish with the record's key as the message's, so that all deliveries of it go to one partition, in order."""

    def __init__(self, url: str) -> None:
        try:
            from confluent_kafka import KafkaException, Producer
        except ImportError as error:
            raise MissingPackage("kafka:// needs confluent-kafka: pip install 'emotion-streamer[cluster]'") from error
        parts = urlsplit(url)
        self._topic = parts.path.strip("/")
        if not parts.netloc or not self._topic:
            raise UserError(f"--events {redact(url)}: expected kafka://host:port/topic")
        options: dict[str, Any] = {
            "bootstrap.servers": parts.netloc.rpartition("@")[2],
            "enable.idempotence": True,
            "message.timeout.ms": round(TIMEOUT * 1000),
            "linger.ms": 5,
            "log_level": 0,
            **dict(parse_qsl(parts.query)),
        }
        self._failure = KafkaException
        try:
            self._producer = Producer(options)
        except KafkaException as error:
            raise UserError(f"--events {redact(url)}: {error.args[0].str()}") from error

    def publish(self, events: Sequence[Event]) -> list[int]:
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
        self._producer.flush(TIMEOUT + 1)
        if not done:
            raise OSError(reasons[0] if reasons else f"no answer within {TIMEOUT:g} s")
        return done

    def close(self) -> None:
        """Leave the broker; what it has not acknowledged stays in the spool."""
        self._producer.purge()
        self._producer.flush(1)
