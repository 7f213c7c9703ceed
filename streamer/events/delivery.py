"""Deliver what waits in the spool to a broker, on a thread of its own; a broker that is away is tried again."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time

from streamer.events import Publisher
from streamer.events.spool import Spool
from streamer.watching.metrics import Metrics

log = logging.getLogger(__name__)

BATCH = 500  # events published at once
QUIET = 0.05  # s between looks at an empty spool
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # s before a broker that is away is tried again
LAST_CHANCE = 5.0  # s that the end of a run waits for the broker


class Delivery:
    """Publish the events of a spool in order until it is closed. name: of the broker, without credentials."""

    def __init__(self, name: str, publisher: Publisher, spool: Spool, metrics: Metrics) -> None:
        self._name, self._publisher, self._spool, self._metrics = name, publisher, spool, metrics
        self._closing = threading.Event()
        self._ends = float("inf")
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run_thread, name=f"events {name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def check(self) -> None:
        """Raise what ended the thread, if something did."""
        if self._error:
            raise self._error

    def close(self) -> None:
        """Give the broker a last chance, then close it and the spool; what is left waits for the next run."""
        self._ends = time.monotonic() + LAST_CHANCE
        self._closing.set()
        self._thread.join()
        self._publisher.close()
        if left := len(self._spool):
            log.warning("%s: %d events wait in %s for the next run", self._name, left, self._spool.path)
        self._spool.close()

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
