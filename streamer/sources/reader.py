"""A connection read on a thread of its own, so that a blocked read can be abandoned.

OpenCV's own deadlines do not suffice: they are fixed before the stream's rate is known, and drivers ignore them. An
abandoned reader ends as soon as its call returns, and nobody waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.sources.source import Cause, SourceError, frame_count, frame_rate, read_on

FAILURES_IN_A_ROW = 30  # reads; packets that were damaged on the way
AT_ONCE = 0.2  # s; reads of a closed connection fail within, those of damaged packets take as long as these to come
GOODBYE = 0.5  # s that closing waits for a read to return

Picture = tuple[NDArray[np.uint8], float]
"""A (H, W, 3) uint8 BGR image and the monotonic time at which it was read."""


class Reader:
    """Open a connection and read it until its end; one picture waits to be taken.

    connect: opens it, or raises SourceError. fps: nominal frame rate, known with the first picture, or None.
    """

    def __init__(self, name: str, connect: Callable[[], cv2.VideoCapture]) -> None:
        self.fps: float | None = None
        self._name, self._connect = name, connect
        self._condition = threading.Condition()
        self._picture: Picture | None = None
        self._over = self._given_up = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"read {name}", daemon=True)
        self._thread.start()

    def take(self, timeout: float) -> Picture | None:
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
            self._read()
        except cv2.error as error:  # this stream's failure, like any other loss
            self._error = SourceError(f"{self._name}: {' '.join(str(error).split())}")
        except BaseException as error:  # handed to whoever takes
            self._error = error
        with self._condition:
            self._over = True
            self._condition.notify_all()

    def _read(self) -> None:
        capture = self._connect()
        try:
            self.fps, length, count = frame_rate(capture), frame_count(capture), 0
            while not self._given_up:
                asked = time.monotonic()
                image, _ = read_on(capture, FAILURES_IN_A_ROW)
                if image is None:
                    if length and count >= 0.9 * length:  # the length of a recording is an estimate
                        return
                    raise self._loss(time.monotonic() - asked)
                count += 1
                self._put((image, time.monotonic()))
        finally:
            capture.release()

    def _put(self, picture: Picture) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._picture is None or self._given_up)
            self._picture = picture
            self._condition.notify_all()

    def _loss(self, waited: float) -> SourceError:
        if waited < AT_ONCE:
            return SourceError(f"{self._name}: connection lost", Cause.LOST)
        if waited > 1:
            return SourceError(f"{self._name}: no picture for {waited:.0f} s", Cause.STALLED)
        return SourceError(f"{self._name}: {FAILURES_IN_A_ROW} pictures in a row cannot be decoded", Cause.CORRUPT)
