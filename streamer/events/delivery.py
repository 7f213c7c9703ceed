"""Deliver what waits in the spool to a broker, on a thread of its own; a broker that is away is tried again."""

from __future__ import annotations

import logging
import random
import sqlite3
import threading
import time
from collections.abc import Sequence

from streamer.events import Event, Publisher
from streamer.events.spool import Spool
from streamer.watching.metrics import Metrics

log = logging.getLogger(__name__)

BATCH = 500  # events published at once
QUIET = 0.05  # s between looks at an empty spool
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # s before a broker that is away is tried again
LAST_CHANCE = 5.0  # s that the end of a run waits for the broker
GOODBYE = 1.0  # s more for a call that does not heed it
TRIES = 5  # of one event alone; after so many, it is set aside if the broker takes the next one


class Delivery:
    """Publish the events of a spool in order until it is closed. name: of the broker, without credentials.

    An event that the broker never takes, though it takes others, is set aside (`Spool.set_aside`), and counted.
    """

    def __init__(self, name: str, publisher: Publisher, spool: Spool, metrics: Metrics) -> None:
        self._name, self._publisher, self._spool, self._metrics = name, publisher, spool, metrics
        self._closing = threading.Event()
        self._ends = float("inf")
        self._error: BaseException | None = None
        self._failures, self._told = 0, ""  # in a row, and what was said of them
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
        self._thread.join(LAST_CHANCE + GOODBYE)
        if self._thread.is_alive():  # a call that does not return is left to itself
            log.warning("%s: the broker holds up a call; left without goodbye", self._name)
        else:
            self._publisher.close()
        if left := len(self._spool):
            log.warning("%s: %d events wait in %s for the next run", self._name, left, self._spool.path)
        self._spool.close()

    def _run_thread(self) -> None:
        try:
            self._deliver()
        except BaseException as error:  # handed to the caller's loop by the next record
            self._error = error

    def _left(self) -> float:
        """Return how many seconds the run waits for the broker yet."""
        return self._ends - time.monotonic()

    def _deliver(self) -> None:
        """Publish what waits, in order, until the sink is closed; a broker that is away is tried again."""
        while True:
            last = self._closing.is_set()  # read first: the next line sees all that was put before
            events: Sequence[Event] = ()
            try:
                events = self._spool.head(1 if self._failures else BATCH)
                self._metrics.waiting.labels(self._name).set(len(self._spool))
                if last and (not events or self._left() <= 0):
                    return
                if not events:
                    self._closing.wait(QUIET)
                    continue
                self._publish(events)
            except (OSError, sqlite3.Error) as error:
                if not self._set_aside(events, error) and self._wait(self._failed(error)):
                    return

    def _publish(self, events: Sequence[Event]) -> None:
        """Bring events to the broker, and forget those that it has. Raises OSError where it has not taken all."""
        done = set(self._publisher.publish(events, self._left))
        self._spool.remove([event for event in events if event.place in done])
        if len(done) < len(events):
            raise OSError(f"{len(events) - len(done)} events were not acknowledged")
        if self._failures:
            log.warning("%s: delivers events again", self._name)
        self._failures, self._told = 0, ""

    def _failed(self, error: Exception) -> float:
        """Tell a trouble once; return how many seconds to wait before another try."""
        if str(error) != self._told:
            self._told = str(error)
            log.warning("%s: cannot deliver events: %s; they wait on disk", self._name, error)
        self._failures += 1
        return min(FIRST_DELAY * float(1 << min(self._failures - 1, 10)), LONGEST_DELAY) * random.uniform(0.8, 1.2)

    def _set_aside(self, events: Sequence[Event], reason: Exception) -> bool:
        """Set an event aside that failed often, alone, where the broker takes the next one; tell whether it was."""
        if self._failures < TRIES or not events:
            return False
        try:
            following = self._spool.head(2)[1:]
            if not following:
                return False
            self._publish(following)
            self._spool.set_aside(events[0], str(reason))
        except (OSError, sqlite3.Error):  # it is the broker's fault, or the disk's
            return False
        self._metrics.set_aside.labels(self._name).inc()
        log.warning("%s: an event that is refused was set aside in %s: %s", self._name, self._spool.aside, reason)
        return True

    def _wait(self, seconds: float) -> bool:
        """Wait before another try; tell whether there is none, as the run has ended."""
        if not self._closing.wait(seconds):
            return False
        time.sleep(min(FIRST_DELAY, max(0.0, self._left())))
        return self._left() <= 0
