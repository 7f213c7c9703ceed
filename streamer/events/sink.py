"""The sink that turns records into events, which wait in the spool for their delivery."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamer.events import Publisher
from streamer.events.delivery import Delivery
from streamer.events.spool import Spool
from streamer.records.schema import WallClock, encode, frame_record, identity, source_record
from streamer.types import Result
from streamer.watching.metrics import Metrics


class EventSink:
    """Hand every record to a broker, by way of the spool. name: of the broker, without credentials."""

    wants_picture = False

    def __init__(self, name: str, publisher: Publisher, spool: Spool, metrics: Metrics, run: str) -> None:
        self._spool, self._run, self._clock = spool, run, WallClock()
        self._delivery = Delivery(name, publisher, spool, metrics)

    def write(self, result: Result, picture: NDArray[np.uint8] | None = None) -> None:
        """Put the event of a frame into the spool. Raises OSError where that is full."""
        self._put(frame_record(result, self._clock))

    def write_state(self, stream: str, state: str, reason: str, cause: str | None = None) -> None:
        """Put the event of a source's new state into the spool."""
        self._put(source_record(stream, state, reason, cause, self._clock))

    def _put(self, record: Mapping[str, Any]) -> None:
        self._delivery.check()
        key = identity(self._run, record)
        self._spool.put(key, encode({"key": key, "run": self._run, **record}).rstrip(b"\n"))

    def __enter__(self) -> Self:
        self._delivery.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._delivery.close()
