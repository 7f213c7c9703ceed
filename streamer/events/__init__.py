"""Records as events to a message broker: `--events kafka://...` or `mqtt://...` (extra `cluster`).

    caller's loop -> EventSink -> Spool (a bounded queue on disk) -> deliver thread -> Publisher -> broker

Every event is in the spool until the broker has acknowledged it, over restarts too: at least once. `key` is the same
for every delivery of a record, so that whoever reads can leave out repetitions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import SplitResult, urlsplit

from engines.errors import UserError
from streamer.sources.redact import redact

PUBLISHERS = {"kafka": "streamer.events.kafka:KafkaPublisher", "mqtt": "streamer.events.mqtt:MqttPublisher"}
PUBLISHERS["mqtts"] = PUBLISHERS["mqtt"]


class Event(NamedTuple):
    """Hold what is delivered: its place in the spool, its key and the record as JSON with the key in it."""

    place: int
    key: str
    value: bytes


@dataclass(frozen=True)
class Tls:
    """Name the PEM files of a connection with TLS.

    ca: who signed the broker's certificate; those that the system trusts unless given. certificate, key: how we prove
    who we are, where the broker asks for that; the key may lie in the certificate's file.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if self.key and not self.certificate:
            raise UserError("events.key: expected events.certificate beside it")
        for name in ("ca", "certificate", "key"):
            path = getattr(self, name)
            if path and not path.is_file():
                raise UserError(f"events.{name} {path}: expected a PEM file, found none")


class Publisher(Protocol):
    """Bring events to a broker; used by one thread."""

    def publish(self, events: Sequence[Event], left: Callable[[], float]) -> list[int]:
        """Deliver the events in order and return the places of those that the broker acknowledged.

        left: how many seconds it may still take; it may shrink at any time. Raises OSError with a reason where the
        broker cannot be reached.
        """
        ...

    def close(self) -> None:
        """Leave the broker."""
        ...


def open_publisher(url: str, tls: Tls = Tls()) -> Publisher:
    """Return the publisher for a URL; it connects when it publishes.

    Raises UserError for another scheme, without a topic or for wrong files of TLS, MissingPackage without the extra
    `cluster`.
    """
    scheme = url.partition("://")[0]
    if scheme not in PUBLISHERS:
        raise UserError(f"--events: expected {', '.join(f'{name}://' for name in PUBLISHERS)}, found '{scheme}'")
    module, name = PUBLISHERS[scheme].split(":")
    publisher: Publisher = getattr(import_module(module), name)(url, tls)
    return publisher


def split_address(url: str, expected: str) -> tuple[SplitResult, str]:
    """Return the parts of a broker's URL, and its topic. Raises UserError where one is missing; expected: its form."""
    try:
        parts = urlsplit(url)
        hosts, topic = parts.netloc.rpartition("@")[2], parts.path.strip("/")
    except ValueError:  # whose text may hold a part of a password
        hosts = topic = ""
    if not hosts or not topic or "@" in topic:
        raise UserError(
            f"--events {redact(url)}: expected {expected}; in a password '/' is %2F, '?' is %3F, '#' is %23"
        )
    return parts, topic
