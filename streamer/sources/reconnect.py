"""Webcams and network streams: read as they come, and opened again when they are lost.

What a web server sends may be a video with an end: that is known once it is open, and then it is read like a file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from threading import Event

from streamer.sources.reader import Reader, Taken
from streamer.sources.source import Cause, Decoder, Report, SourceError, State
from streamer.types import Frame

FIRST_DELAY, LONGEST_DELAY = 0.5, 10.0  # s before the stream is opened again
SETTLED = 10.0  # s that a stream must last for the delays to start small again
PERIODS = 10  # frame periods without a picture before a slow stream counts as stalled
LONGEST_LIMIT = 60.0  # s
SEGMENT = 30.0  # s that a stream in segments (HLS) may take for the next one
OPENING = 3  # deadlines that opening may take in all: to connect, to explain why not, and a name look-up
MOST_STUCK = 3  # readers given up whose calls have not returned; with so many, nothing is opened
POLL = 0.25  # s between looks at `stop`


class StallLimit:
    """Say how long a stream's next picture may take: the deadline, or longer for a stream that is slow by nature.

    deadline: s, for streams of the usual rates.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._period: float | None = None  # s between pictures, a moving average
        self._doubts = 0

    def doubt(self) -> None:
        """Learn that a connection gave one picture and then none in time: it may be slower than it says."""
        self._doubts += 1

    def seen(self, gap: float) -> None:
        """Learn from the seconds between two pictures."""
        self._doubts = 0
        self._period = gap if self._period is None else 0.9 * self._period + 0.1 * gap

    def seconds(self, fps: float | None) -> float:
        """Return the limit; fps: what the stream says of itself, used until its rate is known."""
        period = self._period or (1 / fps if fps else 0.0)
        return min(max(self._deadline, PERIODS * period) * float(1 << min(self._doubts, 10)), LONGEST_LIMIT)


class Live:
    """Read a live stream, and reopen it when it is lost.

    connect: open it, or raise SourceError; called again after each loss. timeout: s, see `StallLimit`. retries:
    openings that may fail in a row once the stream has lived; None tries for ever. patient: treat a stream that is not
    there at the start as one that was lost; else the first opening is tried once. may_end: read what states how long it
    is as a video: every frame, in media time, not opened again; `live` is then False from the first frame on. Index and
    time go on across connections; time is counted from the first frame ever. clock: monotonic seconds.

    `stop` is noticed within a quarter of a second, whatever the stream does.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Decoder],
        *,
        timeout: float = 3.0,
        retries: int | None = None,
        patient: bool = False,
        may_end: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.live = name, True
        self.fps: float | None = None
        self.total: int | None = None
        self._connect, self._timeout = connect, timeout
        self._retries, self._patient, self._may_end = retries, patient, may_end
        self._limit, self._clock = StallLimit(timeout), clock
        self._given_up: list[Reader] = []

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Yield frames until `stop`, or the end of a recording; see `Source.frames`."""
        start: float | None = None
        with closing(self._pictures(stop, report)) as pictures:
            for index, (image, time, read_at) in enumerate(pictures):
                start = read_at if start is None else start
                yield Frame(image, self.name, index, read_at - start if self.live else time, read_at, live=self.live)

    def _pictures(self, stop: Event, report: Report) -> Generator[Taken, None, None]:
        """Yield the pictures of one connection after another."""
        failed, step, lived = 0, 0, self._patient
        while not stop.is_set():
            began: float | None = None
            try:
                with closing(self._connection(stop)) as connection:
                    for picture in connection:
                        began = self._clock() if began is None else began
                        failed, lived = 0, True
                        yield picture
                return
            except SourceError as error:
                if stop.is_set():
                    return
                failed += 1
                step = 1 if began is not None and self._clock() - began >= SETTLED else step + 1
                if not (lived and self.live) or (self._retries is not None and failed > self._retries):
                    raise
                delay = min(FIRST_DELAY * 2 ** min(step - 1, 10), LONGEST_DELAY) * random.uniform(0.8, 1.2)
                report(State.RETRYING, f"{error}; next try in {delay:.1f} s", error.cause)
                stop.wait(delay)

    def _connection(self, stop: Event) -> Generator[Taken, None, None]:
        """Yield what one connection gives; return at the end of a recording. Raises SourceError when it is lost."""
        before: float | None = None
        count = 0
        with closing(self._new_reader()) as reader:
            try:
                while picture := self._next(reader, stop, opening=before is None):
                    self.fps, self.live = reader.fps, not reader.ends
                    self.total = reader.total if reader.ends else None
                    if before is not None:
                        self._limit.seen(picture.read_at - before)
                    before, count = picture.read_at, count + 1
                    yield picture
            except SourceError as error:
                if count == 1 and error.cause is Cause.STALLED:
                    self._limit.doubt()
                raise

    def _new_reader(self) -> Reader:
        """Open the connection; a driver that never answers must not cost a thread for every try, without end."""
        self._given_up = [one for one in self._given_up if one.alive]
        if len(self._given_up) >= MOST_STUCK:
            raise SourceError(
                f"{self.name}: {MOST_STUCK} earlier reads never returned: nothing is opened", Cause.STALLED
            )
        self._given_up.append(reader := Reader(self.name, self._connect, may_end=self._may_end))
        return reader

    def _next(self, reader: Reader, stop: Event, *, opening: bool) -> Taken | None:
        """Wait for a picture, None at the end or on `stop`. Raises SourceError where it takes too long."""
        limit = max(self._limit.seconds(reader.fps), SEGMENT if reader.bursts else 0)
        asked = self._clock()
        while not stop.is_set():
            try:
                return reader.take(POLL)
            except TimeoutError:
                waited = self._clock() - asked
                if waited >= limit + (OPENING * self._timeout if opening else 0):
                    raise SourceError(f"{self.name}: no picture for {waited:.0f} s", Cause.STALLED) from None
        return None
