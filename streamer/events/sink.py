"""The sink that turns records into events, and the thread that delivers them."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamer.events import Publisher
from streamer.events.spool import Spool
from streamer.records.schema import WallClock, encode, frame_record, identity, source_record
from streamer.types import Result
from streamer.watching.metrics import Metrics

log = logging.getLogger(__name__)

BATCH = 500  # events published at once
QUIET = 0.05  # s between looks at an empty spool
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # s before a broker that is away is tried again
LAST_CHANCE = 5.0  # s that the end of a run waits for the broker


class EventSink:
    """Hand every record to a broker, by way of the spool. name: of the broker, without credentials."""

    wants_picture = False

    def __init__(self, name: str, publisher: Publisher, spool: Spool, metrics: Metrics, run: str) -> None:
        self._name, self._publisher, self._spool = name, publisher, spool
        self._metrics, self._run, self._clock = metrics, run, WallClock()
        self._closing = threading.Event()
        self._ends = float("inf")
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run_thread, name=f"events {name}", daemon=True)

    def write(self, result: Result, picture: NDArray[np.uint8] | None = None) -> None:
        """Put the event of a frame into the spool. Raises OSError where that is full."""
        self._put(frame_record(result, self._clock))

    def write_state(self, stream: str, state: str, reason: str, cause: str | None = None) -> None:
        """Put the event of a source's new state into the spool."""
        self._put(source_record(stream, state, reason, cause, self._clock))

    def _put(self, record: Mapping[str, Any]) -> None:
        if self._error:
            raise self._error
        key = identity(self._run, record)
        self._spool.put(key, encode({"key": key, "run": self._run, **record}).rstrip(b"\n"))

    def _run_thread(self) -> None:
        try:
            self._deliver()
        except BaseException as error:  # handed to the caller's loop by the next record
            self._error = error

    def _deliver(self) -> None:
        """Publish what waits, in order, until the sink is closed; a broker that is away is tried again."""
        failures, told = 0, ""
        while True:
            try:
                last = self._closing.is_set()  # read first: the next line sees all that was put before
                events = self._spool.head(BATCH)
                self._metrics.waiting.labels(self._name).set(len(self._spool))
                if not events and last:
                    return
                if not events:
                    self._closing.wait(QUIET)
                    continue
                done = set(self._publisher.publish(events))
                self._spool.remove([event for event in events if event.place in done])
                if len(done) < len(events):
                    raise OSError(f"{len(events) - len(done)} events were not acknowledged")
            except (OSError, sqlite3.Error) as error:
                if str(error) != told:
                    told = str(error)
                    log.warning("%s: cannot deliver events: %s; they wait on disk", self._name, error)
                failures += 1
                delay = min(FIRST_DELAY * 2 ** min(failures - 1, 10), LONGEST_DELAY) * random.uniform(0.8, 1.2)
                if self._wait(delay):
                    return
            else:
                if failures:
                    log.warning("%s: delivers events again", self._name)
                failures, told = 0, ""

    def _wait(self, seconds: float) -> bool:
        """Wait before another try; tell whether there is none, as the run has ended."""
        if not self._closing.wait(seconds):
            return False
        time.sleep(min(FIRST_DELAY, max(0.0, self._ends - time.monotonic())))
        return time.monotonic() >= self._ends

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends = time.monotonic() + LAST_CHANCE
        self._closing.set()
        self._thread.join()
        self._publisher.close()
        if left := len(self._spool):
            log.warning("%s: %d events wait in %s for the next run", self._name, left, self._spool.path)
        self._spool.close()
