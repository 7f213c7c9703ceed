"""A connection read on a thread of its own, so that a blocked read can be abandoned.

The libraries' own deadlines do not suffice: they are fixed before the stream's rate is known, and drivers ignore them.
An abandoned reader ends as soon as its call returns, and nobody waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.sources.container import Promise
from streamer.sources.opencv_decoder import FAILURES_IN_A_ROW
from streamer.sources.source import Cause, Decoder, SourceError
from streamer.sources.video import Clock, check_complete

AT_ONCE = 0.2  # s; reads of a closed connection fail within, those of damaged packets take as long as these to come
GOODBYE = 0.5  # s that closing waits for a read to return
LATEST = 1.0  # s that a picture may come too late for those behind it to catch up; by more, all are shown later
LEAP = 30.0  # s; a picture that is due later than that belongs to another count of time


class Taken(NamedTuple):
    """Hold a (H, W, 3) uint8 BGR image, its media time, in s from the first, and the monotonic time when it was due."""

    image: NDArray[np.uint8]
    time: float
    read_at: float


class Pace:
    """Say when each picture of a stream that comes in bursts is due, by its media time, in monotonic seconds."""

    def __init__(self) -> None:
        self._origin: float | None = None

    def due(self, time: float, now: float) -> float:
        """Return when a picture of a media time is due that was decoded now."""
        if self._origin is None or not -LATEST <= self._origin + time - now <= LEAP:
            self._origin = now - time
        return self._origin + time


class Reader:
    """Open a connection and read it until its end; one picture waits to be taken.

    connect: opens it, or raises SourceError. may_end: whether what states how long it is, is a video to be read to its
    end; `ends` then says so. fps: nominal frame rate, total: number of frames, known with the first picture, or None.
    """

    def __init__(self, name: str, connect: Callable[[], Decoder], *, may_end: bool = False) -> None:
        self.fps: float | None = None
        self.total: int | None = None
        self.ends = self.bursts = False
        self._name, self._connect, self._may_end = name, connect, may_end
        self._condition = threading.Condition()
        self._picture: Taken | None = None
        self._over = self._given_up = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> Taken | None:
        """Wait for the next picture; None at the end of a recording.

        Raises TimeoutError where none came in time, and what ended the connection.
        """
        with self._condition:
            if not self._condition.wait_for(lambda: self._picture or self._over, timeout):
                raise TimeoutError
            picture, self._picture = self._picture, None
            self._condition.notify_all()
            if picture is None and self._error:
                raise self._error
            return picture

    @property
    def alive(self) -> bool:
        """Tell whether a call of the connection has not returned yet."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Abandon the connection; a blocked read finishes later."""
        with self._condition:
            self._given_up = True
            self._condition.notify_all()
        self._thread.join(GOODBYE)

    def _run(self) -> None:
        try:
            decoder = self._connect()
            try:
                self._read(decoder)
            finally:
                decoder.close()
        except cv2.error as error:  # this stream's failure, like any other loss
            self._error = SourceError(f"{self._name}: {' '.join(str(error).split())}")
        except BaseException as error:  # handed to whoever takes
            self._error = error
        with self._condition:
            self._over = True
            self._condition.notify_all()

    def _read(self, decoder: Decoder) -> None:
        self.fps, self.total, self.bursts = decoder.fps, decoder.total, decoder.bursts
        self.ends = self._may_end and decoder.duration is not None
        clock, pace, count = Clock(decoder.fps), Pace(), 0
        while not self._given_up:
            asked = time.monotonic()
            picture = decoder.read()
            if picture is None:
                return self._end(decoder, count, clock.end, time.monotonic() - asked)
            count += 1
            at = clock.tick(picture.time)
            if decoder.bursts:
                self._wait_until(pace.due(at, time.monotonic()))
            self._put(Taken(picture.image, at, time.monotonic()))
        return None

    def _put(self, picture: Taken) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._picture is None or self._given_up)
            self._picture = picture
            self._condition.notify_all()

    def _wait_until(self, due: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._given_up, max(0.0, due - time.monotonic()))

    def _end(self, decoder: Decoder, count: int, end: float, waited: float) -> None:
        """Return at the end of a recording; raise SourceError where the connection was lost or something is missing."""
        if self.ends:
            check_complete(self._name, count, decoder, end, Promise(duration=decoder.duration))
        elif not decoder.total or count < 0.9 * decoder.total:  # the length of a recording is an estimate
            raise self._loss(waited)

    def _loss(self, waited: float) -> SourceError:
        if waited < AT_ONCE:
            return SourceError(f"{self._name}: connection lost", Cause.LOST)
        if waited > 1:
            return SourceError(f"{self._name}: no picture for {waited:.0f} s", Cause.STALLED)
        return SourceError(f"{self._name}: {FAILURES_IN_A_ROW} pictures in a row cannot be decoded", Cause.CORRUPT)
