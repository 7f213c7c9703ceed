"""Records as events to a message broker: `--events kafka://...` or `mqtt://...` (extra `cluster`).

    caller's loop -> EventSink -> Spool (a bounded queue on disk) -> deliver thread -> Publisher -> broker

Every event is in the spool until the broker has acknowledged it, over restarts too: at least once. `key` is the same
for every delivery of a record, so that whoever reads can leave out repetitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, Protocol

from engines.errors import UserError

PUBLISHERS = {"kafka": "streamer.events.kafka:KafkaPublisher", "mqtt": "streamer.events.mqtt:MqttPublisher"}
PUBLISHERS["mqtts"] = PUBLISHERS["mqtt"]


class Event(NamedTuple):
    """Hold what is delivered: its place in the spool, its key and the record as JSON with the key in it."""

    place: int
    key: str
    value: bytes


class Publisher(Protocol):
    """Bring events to a broker; used by one thread."""

    def publish(self, events: Sequence[Event]) -> list[int]:
        """Deliver the events in order and return the places of those that the broker acknowledged.

        Raises OSError with a reason where the broker cannot be reached.
        """
        ...

    def close(self) -> None:
        """Leave the broker."""
        ...


def open_publisher(url: str) -> Publisher:
    """Return the publisher for a URL; it connects when it publishes.

    Raises UserError for another scheme or without a topic, MissingPackage without the extra `cluster`.
    """
    scheme = url.partition("://")[0]
    if scheme not in PUBLISHERS:
        raise UserError(f"--events: expected {', '.join(f'{name}://' for name in PUBLISHERS)}, found '{scheme}'")
    module, name = PUBLISHERS[scheme].split(":")
    publisher: Publisher = getattr(import_module(module), name)(url)
    return publisher
