"""Sources without an end, webcams and network streams: read as they come, and opened again when they are lost."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.sources.source import Report, SourceError, State, frame_count, frame_rate, read_on
from streamer.types import Frame

FAILURES_IN_A_ROW = 30  # reads; packets that were damaged on the way
FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # s before the stream is opened again

Picture = tuple[NDArray[np.uint8], float]
"""A (H, W, 3) uint8 BGR image and the monotonic time at which it was read."""


class Live:
    """Read a stream that goes on while nobody looks.

    connect: open it, or raise SourceError; called again after each loss. retries: openings that may fail in a row once
    the stream has lived; None tries for ever. Index and time go on across connections; time is counted from the first
    frame ever. The first opening is tried once.

    `stop` is noticed at the next picture, and at once while waiting to retry. A stream that hangs holds the thread for
    its deadline in a read, for twice its deadline and a name look-up while it is opened (see `open_url`).
    """

    live = True

    def __init__(self, name: str, connect: Callable[[], cv2.VideoCapture], *, retries: int | None = None) -> None:
        self.name = name
        self.fps: float | None = None
        self.total: int | None = None
        self._connect = connect
        self._retries = retries

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Yield frames until `stop`, or the end of a recording; see `Source.frames`."""
        report(State.CONNECTING, "")
        start: float | None = None
        with closing(self._pictures(stop, report)) as pictures:
            for index, (image, read_at) in enumerate(pictures):
                start = read_at if start is None else start
                yield Frame(image, self.name, index, read_at - start, read_at, live=True)

    def _pictures(self, stop: Event, report: Report) -> Generator[Picture, None, None]:
        """Yield the pictures of one connection after another."""
        failed, lived = 0, False
        while not stop.is_set():
            try:
                with closing(self._connection(stop)) as connection:
                    for picture in connection:
                        if failed or not lived:
                            report(State.LIVE, "")
                        failed, lived = 0, True
                        yield picture
            except SourceError as error:
                if stop.is_set():
                    return
                failed += 1
                if not lived or (self._retries is not None and failed > self._retries):
                    report(State.FAILED, str(error))
                    raise
                delay = min(FIRST_DELAY * 2 ** min(failed - 1, 10), LONGEST_DELAY) * random.uniform(0.8, 1.2)
                report(State.RETRYING, f"{error}; next try in {delay:.1f} s")
                stop.wait(delay)
            else:
                if not stop.is_set():
                    report(State.ENDED, "")
                return

    def _connection(self, stop: Event) -> Generator[Picture, None, None]:
        """Yield what one connection gives; return at the end of a recording. Raises SourceError when it is lost."""
        capture = self._connect()
        read = 0
        try:
            self.fps, length = frame_rate(capture), frame_count(capture)
            asked = time.monotonic()
            while not stop.is_set():
                image, _ = read_on(capture, FAILURES_IN_A_ROW)
                read_at = time.monotonic()
                if image is not None:
                    read += 1
                    yield image, read_at
                    asked = time.monotonic()
                elif length and read >= 0.9 * length:  # the length of a recording is an estimate
                    return
                else:
                    waited = read_at - asked
                    reason = f"no picture for {waited:.0f} s" if waited > 1 else "connection lost"
                    raise SourceError(f"{self.name}: {reason}")
        finally:
            capture.release()


def open_webcam(index: int, width: int | None, height: int | None, fps: float | None) -> cv2.VideoCapture:
    """Open a webcam and ask for a size and rate, which it may refuse. Raises SourceError where it does not open."""
    capture = cv2.VideoCapture(index)
    if not capture.isOpened():
        raise SourceError(f"camera-{index}: cannot be opened: {_cameras()}")
    if (width or 0) > 640 or (height or 0) > 480:  # uncompressed, USB 2 carries few such pictures a second
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    wishes = {cv2.CAP_PROP_FRAME_WIDTH: width, cv2.CAP_PROP_FRAME_HEIGHT: height, cv2.CAP_PROP_FPS: fps}
    for key, value in wishes.items():
        if value:
            capture.set(key, value)
    return capture


def _cameras() -> str:
    """Say which cameras there are, where the system tells (Linux does)."""
    found = sorted(int(path.name[5:]) for path in Path("/dev").glob("video*") if path.name[5:].isdecimal())
    if found:
        return f"there are {', '.join(map(str, found))}; is it in use elsewhere, or forbidden to this user?"
    return "no camera was found" if sys.platform == "linux" else "is it plugged in, and free?"
