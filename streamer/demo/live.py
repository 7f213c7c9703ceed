"""Browsers as live sources of one pipeline: a fixed number of seats, so that memory and threads have a bound.

A seat is a source for ever; who takes it is its guest. Engines, stages and results are the pipeline's; one thread hands
results to the guests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event

import numpy as np
from numpy.typing import NDArray

from streamer.build import build_stages
from streamer.config import Config
from streamer.sources import Report
from streamer.types import Frame, Result

log = logging.getLogger(__name__)

REST = 3.0  # seconds that a seat stays empty, until stages have forgotten its last guest
WAIT = 0.5  # seconds between looks at whether the run has ended

Deliver = Callable[[Result], None]


class Seat:
    """Be a live source whose frames a browser sends; only the newest one counts.

    `bring` is called by the guest's thread, `frames` runs in the pipeline's.
    """

    def __init__(self, name: str) -> None:
        self.name, self.live = name, True
        self.fps: float | None = None
        self.total: int | None = None
        self.deliver: Deliver | None = None
        self.free_since = -REST
        self._started = time.monotonic()
        self._fresh = threading.Condition()
        self._brought: tuple[int, NDArray[np.uint8], float] | None = None

    def bring(self, number: int, image: NDArray[np.uint8], captured_at: float) -> None:
        """Show a (H, W, 3) uint8 BGR picture with a number of the guest's, which comes back as `Frame.index`."""
        with self._fresh:
            self._brought = number, image, captured_at
            self._fresh.notify()

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Yield what is brought until `stop` is set."""
        while not stop.is_set():
            with self._fresh:
                if self._brought is None:
                    self._fresh.wait(WAIT)
                brought, self._brought = self._brought, None
            if brought:
                number, image, captured_at = brought
                yield Frame(image, self.name, number, captured_at - self._started, captured_at, live=True)


class LiveRoom:
    """Own the pipeline that serves all live guests, and the thread that hands out its results.

    seats: guests at a time. Raises UserError or OSError where the configuration does not work.
    """

    def __init__(self, config: Config, seats: int) -> None:
        self.config = config
        self.stages = build_stages(config)
        self._seats = {name: Seat(name) for name in (f"live-{number}" for number in range(1, seats + 1))}
        self._lock = threading.Lock()
        self._pipeline = self.stages.pipeline(list(self._seats.values()))
        self._thread = threading.Thread(target=self._run, name="live room", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """End all threads and close the engines."""
        self._pipeline.stop()
        self._thread.join()

    def has_place(self) -> bool:
        """Tell whether a seat is free, though it may still rest; none is after a failure."""
        with self._lock:
            return self.failure is None and any(seat.deliver is None for seat in self._seats.values())

    def take_seat(self, deliver: Deliver) -> Seat | None:
        """Give a guest a rested seat, whose results go to `deliver` in the room's thread; None where there is none."""
        now = time.monotonic()
        with self._lock:
            for seat in self._seats.values() if self.failure is None else ():
                if seat.deliver is None and now - seat.free_since >= REST:
                    seat.deliver = deliver
                    return seat
        return None

    def leave(self, seat: Seat) -> None:
        """Free a seat; the next guest begins with the configured smoothing."""
        with self._lock:
            seat.deliver, seat.free_since = None, time.monotonic()
        self.smooth(seat, True)

    def smooth(self, seat: Seat, wanted: bool) -> None:
        """Switch the smoothing over time of a guest's answers."""
        usual = self.config.expression
        self.stages.express.tune(seat.name, usual if wanted else replace(usual, smoothing=0.0, hold=0.0, settle=0.0))

    def _run(self) -> None:
        try:
            with self._pipeline as results:
                for result in results:
                    deliver = self._seats[result.frame.stream].deliver
                    if deliver:
                        deliver(result)
        except BaseException as error:  # of a thread: the page tells it, other tabs go on
            self.failure = error
            log.exception("the live demo has ended")
