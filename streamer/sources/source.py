"""What every source is: its states, its errors, its protocol."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from enum import StrEnum
from threading import Event
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.sources.redact import redact
from streamer.types import Frame, NoFrame


class State(StrEnum):
    """Name what a source is doing."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    RETRYING = "retrying"
    ENDED = "ended"
    FAILED = "failed"


class Cause(StrEnum):
    """Name why a source gives no frames."""

    REFUSED = "refused"
    UNAUTHORISED = "unauthorised"
    NOT_FOUND = "not found"
    UNREACHABLE = "unreachable"
    STALLED = "stalled"
    LOST = "lost"
    CORRUPT = "corrupt"
    OTHER = "other"


TO_BGR = {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}  # by channels

Report = Callable[[State, str, Cause | None], None]
"""Take a change of state, its reason ('' where there is none) and, of a failure, its cause.

Called from the thread that runs `frames`.
"""


class SourceError(OSError, UserError):
    """Tell in one line, without credentials, why a source gives no (more) frames; `cause` sorts the reasons."""

    def __init__(self, message: str, cause: Cause = Cause.OTHER) -> None:
        super().__init__(printable(message))
        self.cause = cause


class Source(Protocol):
    """Give the frames of one stream.

    name: short and without credentials. live: whether frames are lost while nobody reads. fps: nominal frame rate,
    known after the first frame, or None. total: number of frames where it is known, else None.
    """

    name: str
    live: bool
    fps: float | None
    total: int | None

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Open on the first `next`, yield frames until the end or until `stop` is set, release in `finally`.

        Ends are told by returning and raising, see `observed`; `report` is for what happens in between.
        Raises SourceError before the first frame where there is nothing to read, and after the last readable one
        where something is missing or the stream is lost for good.
        """
        ...


class Picture(NamedTuple):
    """Hold a (H, W, 3) uint8 BGR picture, upright, of square pixels, and its container's time of it in seconds."""

    image: NDArray[np.uint8]
    time: float


class Decoder(Protocol):
    """Give the pictures of one opened file or connection, from one thread.

    fps: nominal rate, total: number of pictures, exact or estimated, duration: seconds of them; each None where it is
    not known. broken: reads or packets so far that gave no picture. marred: pictures that were given though part of
    them is made up, as far as the library tells. bursts: whether pictures come a segment at a time (HLS), so that only
    their times say when each is due.
    """

    fps: float | None
    total: int | None
    duration: float | None
    broken: int
    marred: int
    bursts: bool

    def read(self) -> Picture | None:
        """Return the next picture, None at the end or where no more can be read. Raises SourceError for what it is."""
        ...

    def close(self) -> None:
        """Free the file or connection."""
        ...


def observed(source: Source, stop: Event, report: Report) -> Iterator[Frame]:
    """Pass on a source's frames and report all its states: connecting, live, what it tells itself, ended or failed."""
    now = State.CONNECTING

    def tell(state: State, reason: str, cause: Cause | None = None) -> None:
        nonlocal now
        if state != now or reason:
            now = state
            report(state, reason, cause)

    report(now, "", None)
    try:
        frames = source.frames(stop, tell)
        try:
            for frame in frames:
                if frame.stream != source.name:
                    raise NoFrame(f"expected frames of its own, found one of '{frame.stream}'")
                tell(State.LIVE, "")
                yield frame
        finally:
            if isinstance(frames, Generator):
                frames.close()
    except NoFrame as error:  # this source's failure, not the end of the others
        failure = SourceError(f"{source.name}: {error}", Cause.CORRUPT)
        report(State.FAILED, str(failure), failure.cause)
        raise failure from error
    except SourceError as error:
        report(State.FAILED, str(error), error.cause)
        raise
    report(State.ENDED, "", None)


def printable(text: str) -> str:
    """Return a file's name as text that can be written anywhere: of bytes that are not UTF-8 their escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def check_utf8(text: str) -> None:
    """Raise SourceError for a name that OpenCV cannot open: one that is not UTF-8 ends the process."""
    if printable(text) != text:
        raise SourceError(f"{redact(text)}: expected a name in UTF-8, found other bytes: rename it")


def as_bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return what a camera gave, grey, with transparency or 16 bits a value too, as (H, W, 3) uint8 BGR.

    What has another form is returned as it is, and refused as a frame.
    """
    image = (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.dtype == np.uint8 and image.ndim in (2, 3) and channels in TO_BGR:
        image = np.asarray(cv2.cvtColor(image, TO_BGR[channels]))
    return image


def unique_names(names: Iterable[str]) -> list[str]:
    """Make stream names unique by numbering repeated ones: cam, cam-2, cam-3."""
    unique: dict[str, None] = {}
    for name in names:
        number, numbered = 1, name
        while numbered in unique:
            number += 1
            numbered = f"{name}-{number}"
        unique[numbered] = None
    return list(unique)
