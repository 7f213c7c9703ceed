"""A video with an end, a file or a clip on a web server: read completely and in order, in the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import cv2

from streamer.sources.container import Promise, read_promise
from streamer.sources.source import Report, SourceError, check_utf8, frame_count, frame_rate, read_on
from streamer.types import Frame

FALLBACK_PERIOD = 0.04  # s, for containers that state no rate
LONGEST_STEP = 3600.0  # s; a time that jumps further is broken
FAILURES_AT_END = 2000  # reads; a damaged stretch of this many packets can be stepped over
TEXT_ART = {b"ansi", b"xbin"}  # the codecs with which FFmpeg draws text files


class Video:
    """Read every frame of a finite video.

    Times are the container's, from 0 and rising; where one is missing, runs back or leaps, the nominal period is added
    instead. The video is incomplete when the file is shorter than its container states; or when fewer frames were read
    than the header lists and, besides, some packet failed or the pictures end well before their track does.
    """

    live = False

    def __init__(self, text: str, name: str, connect: Callable[[], tuple[cv2.VideoCapture, Promise]]) -> None:
        self.name = name
        self.fps: float | None = None
        self.total: int | None = None
        self._text = text
        self._connect = connect

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Yield all frames, then raise SourceError if some are missing; `stop` ends it at the next frame."""
        capture, promise = self._connect()
        try:
            self.fps, self.total = frame_rate(capture), frame_count(capture)
            if self.total and self.fps and promise.duration and promise.duration < 0.9 * self.total / self.fps:
                self.total = round(promise.duration * self.fps)  # the header counts frames that an edit list hides
            clock, index, broken = _Clock(capture, self.fps), 0, False
            while not stop.is_set():
                image, failed = read_on(capture, FAILURES_AT_END)
                captured_at = time.monotonic()
                if image is None:
                    break
                broken |= failed > 0 and index > 0
                yield Frame(image, self.name, index, clock.tick(), captured_at)
                index += 1
        finally:
            capture.release()
        if not stop.is_set():
            self._check(index, broken, clock.end, promise)

    def _check(self, read: int, broken: bool, end: float, promise: Promise) -> None:
        """Raise SourceError where `read` frames that end at `end` s are less than was promised."""
        fewer = self.total is None or read < self.total
        short = promise.duration is not None and end + max(0.5, 0.05 * promise.duration) < promise.duration
        if promise.missing or (fewer and (broken or short)) or not read:
            fault = "truncated" if promise.missing else "damaged"
            listed = f"header says {self.total} frames, {read}" if self.total and fewer else f"{read} frames"
            raise SourceError(f"{self._text}: {fault}: {listed} could be read")


class _Clock:
    """Turn the container's times into seconds since the first frame that only rise."""

    def __init__(self, capture: cv2.VideoCapture, fps: float | None) -> None:
        self._capture = capture
        self._period = self._longest = 1 / fps if fps else FALLBACK_PERIOD
        self._origin: float | None = None
        self._time = 0.0

    def tick(self) -> float:
        """Return the time of the frame that was just read."""
        position = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        if self._origin is None:
            self._origin = position
            return 0.0
        step = position - self._origin - self._time
        step = step if 0 < step <= LONGEST_STEP else self._period
        self._longest = max(self._longest, step)
        self._time += step
        return self._time

    @property
    def end(self) -> float:
        """Return when the newest frame may end: it may last as long as the longest before it."""
        return self._time + self._longest


def open_file(path: Path) -> tuple[cv2.VideoCapture, Promise]:
    """Open a video file. Raises SourceError where it holds no video that can be decoded."""
    check_utf8(str(path))
    try:
        promise = read_promise(path)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    capture = cv2.VideoCapture(f"file:{path}", cv2.CAP_FFMPEG)  # without 'file:' FFmpeg takes 'a:b.mp4' for a protocol
    codec = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    if capture.isOpened() and codec.to_bytes(4, "little") not in TEXT_ART:
        return capture, promise
    capture.release()
    if promise.missing:
        raise SourceError(f"{path}: truncated: the list of its frames is missing, nothing can be read")
    raise SourceError(f"{path}: neither a picture nor a video that can be decoded")
