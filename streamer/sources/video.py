"""A video with an end, read completely and in order, in the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import cv2

from streamer.sources.container import Promise, read_promise
from streamer.sources.opencv_decoder import EXTRA, OpenCVDecoder
from streamer.sources.source import Decoder, Report, SourceError, check_utf8
from streamer.types import Frame

FALLBACK_PERIOD = 0.04  # s, for containers that state no rate
LONGEST_STEP = 3600.0  # s; a time that jumps further is broken
FAILURES_AT_END = 2000  # reads; a damaged stretch of this many packets can be stepped over
TEXT_ART = {b"ansi", b"xbin"}  # the codecs with which FFmpeg draws text files


class Video:
    """Read every frame of a finite video; see `check_complete` for what makes it incomplete.

    Times are the container's, from 0 and rising; where one is missing, runs back or leaps, the nominal period is added
    instead.
    """

    live = False

    def __init__(self, text: str, name: str, connect: Callable[[], tuple[Decoder, Promise]]) -> None:
        self.name = name
        self.fps: float | None = None
        self.total: int | None = None
        self._text = text
        self._connect = connect

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Yield all frames, then raise SourceError if some are missing or marred; `stop` ends it at the next frame."""
        decoder, promise = self._connect()
        try:
            self.fps, self.total = decoder.fps, promised_frames(decoder, promise)
            clock, index = Clock(self.fps), 0
            while not stop.is_set() and (picture := decoder.read()):
                yield Frame(picture.image, self.name, index, clock.tick(picture.time), time.monotonic())
                index += 1
            if not stop.is_set():
                check_complete(self._text, index, decoder, clock.end, promise)
        finally:
            decoder.close()


def promised_frames(decoder: Decoder, promise: Promise) -> int | None:
    """Return how many frames there are: fewer than the header counts where an edit list hides some."""
    total, fps = decoder.total, decoder.fps
    if total and fps and promise.duration and promise.duration < 0.9 * total / fps:
        return round(promise.duration * fps)
    return total


def check_complete(text: str, read: int, decoder: Decoder, end: float, promise: Promise) -> None:
    """Raise SourceError where `read` frames that end at `end` s are not all that was promised, or not whole.

    That is so when the file is shorter than its container states; or when fewer frames were read than the header lists
    and, besides, some packet failed or the pictures end well before their track does; or when pictures are marred.
    """
    total = promised_frames(decoder, promise)
    fewer = total is None or read < total
    short = promise.duration is not None and end + max(0.5, 0.05 * promise.duration) < promise.duration
    if read == 1 and (short or (total or 0) > 1) and not (promise.missing or decoder.broken or has_pyav()):
        raise SourceError(f"{text}: OpenCV reads one picture of it, as of a cover before the video: {EXTRA}")
    if promise.missing or (fewer and (decoder.broken or short)) or not read:
        fault = "truncated" if promise.missing else "damaged"
        listed = f"header says {total} frames, {read}" if total and fewer else f"{read} frames"
        raise SourceError(f"{text}: {fault}: {listed} could be read")
    if decoder.marred:
        raise SourceError(f"{text}: damaged: {decoder.marred} of {read} frames could not be read whole")


class Clock:
    """Turn the container's times into seconds since the first frame that only rise."""

    def __init__(self, fps: float | None) -> None:
        self._period = self._longest = 1 / fps if fps else FALLBACK_PERIOD
        self._origin: float | None = None
        self._time = 0.0

    def tick(self, position: float) -> float:
        """Return the time of a frame that was just read, by the time that its container states."""
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


def has_pyav() -> bool:
    """Tell whether the extra `video` is installed."""
    return find_spec("av") is not None


def open_file(path: Path, hardware: bool = False) -> tuple[Decoder, Promise]:
    """Open a video file. Raises SourceError where it holds no video that can be decoded."""
    check_utf8(str(path))
    try:
        promise = read_promise(path)
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or error}") from error
    decoder = _by_pyav(path, hardware) if has_pyav() else _by_opencv(path, hardware)
    if decoder:
        return decoder, promise
    if promise.missing:
        raise SourceError(f"{path}: truncated: the list of its frames is missing, nothing can be read")
    raise SourceError(f"{path}: neither a picture nor a video that can be decoded")


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """Give what FFmpeg opens as this very file.

    It takes 'a:b.mp4' for a protocol, and 'shot%d.sgi', or a folder of such a name, for a row of pictures beside it.
    """
    if "%" not in str(path):
        yield f"file:{path}"
        return
    with path.open("rb") as file:
        yield f"file:/dev/fd/{file.fileno()}"


def _by_pyav(path: Path, hardware: bool) -> Decoder | None:
    from av.error import FFmpegError

    from streamer.sources.av_decoder import AvDecoder

    try:
        with address_of(path) as address:
            return AvDecoder(address, str(path), hardware=hardware)
    except FFmpegError:
        return None


def _by_opencv(path: Path, hardware: bool) -> Decoder | None:
    if hardware:
        raise SourceError(f"{path}: source.decode=hw needs PyAV: {EXTRA}")
    with address_of(path) as address:
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG)
    codec = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    if capture.isOpened() and codec.to_bytes(4, "little") not in TEXT_ART:
        return OpenCVDecoder(capture, str(path), FAILURES_AT_END)
    capture.release()
    return None
