"""Threads from camera to result: one capture thread a source, one for `perceive`, one for `express`, and the caller's.

    capture (one a source) -> slot a source -> perceive -> express -> caller

A full slot makes an offline source wait and a live one drop its older frame, before any work was spent on it. A stage
takes input only when its output has room, so nothing ages inside. The first exception of any thread is raised to the
caller; sources may fail on their own (see `Capture`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar, runtime_checkable

from engines.finite import Finite
from streamer.channel import Cancelled, Channel
from streamer.shedding import Ladder, SheddingSettings
from streamer.sources import Cause, Source, SourceError, State, observed
from streamer.sources.reconnect import StallLimit
from streamer.stages import Express, Perceive
from streamer.types import Frame, Result
from streamer.watching.metrics import Metrics

log = logging.getLogger(__name__)

In = TypeVar("In", Frame, Result)


@runtime_checkable
class Closable(Protocol):
    """Be closed when the run is over."""

    def close(self) -> None:
        """Free what is held."""
        ...


OnState = Callable[[str, State, str, Cause | None], None]
Event = tuple[str, State, str, Cause | None]
"""A stream, its new state, why, and the cause of a failure."""

STALLED_AFTER = 2.0  # seconds without a frame of a live source, longer for slow ones
JOIN_TIMEOUT = 30.0  # seconds; opening an unreachable camera may take twice `source.timeout`, which is at most 10
POLL = 0.25  # seconds between looks at the states of the sources while no result comes


@dataclass(frozen=True)
class SourceState:
    """Say what a source does, why, the cause of a failure, and since when (seconds since 1970)."""

    state: State
    reason: str
    cause: Cause | None
    since: float


class Capture:
    """Read one source on a thread of its own into its slot; remember how that went.

    Written by the capture thread, read by the caller's.
    """

    def __init__(self, source: Source, frames: Channel[Frame], events: SimpleQueue[Event]) -> None:
        self.source = source
        self.captured = 0
        self.dropped = 0
        self.failure: SourceError | None = None
        self.first_frame_at: float | None = None
        self.last_frame_at: float | None = None
        self.stall_limit = StallLimit(STALLED_AFTER)
        self.stop = threading.Event()
        self._frames = frames
        self._events = events

    def read(self) -> None:
        """Put the source's frames until it ends, fails or is stopped."""
        name = self.source.name

        def report(state: State, reason: str, cause: Cause | None) -> None:
            self._events.put((name, state, reason, cause))

        try:
            for frame in observed(self.source, self.stop, report):
                self.captured += 1
                if self.last_frame_at is None:
                    self.first_frame_at = frame.captured_at
                else:
                    self.stall_limit.seen(frame.captured_at - self.last_frame_at)
                self.last_frame_at = frame.captured_at
                self.dropped += self._frames.send(name, [frame], live=self.source.live)
        except SourceError as error:
            self.failure = error


class Worker(Generic[In]):
    """Call a stage with what comes through a channel, on a thread of its own; know what that takes.

    Counted by that thread, read by others. busy: seconds of work so far; cost: seconds a frame, smoothed.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[list[In]], list[Result]],
        forget: Callable[[str], None],
        inside: Channel[In],
        outside: Channel[Result],
    ) -> None:
        self.name = name
        self.inside: Channel[In] = inside
        self.outside = outside
        self.gone: SimpleQueue[str] = SimpleQueue()  # streams that were removed, for the stage to forget
        self.busy = self.cost = 0.0
        self._call: Callable[[list[In]], list[Result]] = call
        self._forget = forget

    def work(self, metrics: Metrics, most: Callable[[], int | None]) -> None:
        """Work until the channel ends; most: how many frames the next call may hold."""
        while True:
            self.outside.wait_for_room(self.name)
            items = self.inside.take(most=most())
            if items is None:
                return
            self._forget_gone()
            started = time.monotonic()
            with metrics.stage(self.name, len(items)):
                done = self._call(items)
            seconds = time.monotonic() - started
            self.busy += seconds
            self.cost += 0.2 * (seconds / len(items) - self.cost)
            self.outside.put(self.name, done)

    def _forget_gone(self) -> None:
        with suppress(Empty):
            while True:
                self._forget(self.gone.get_nowait())


class Pipeline:
    """Run sources through two stages: `with Pipeline(...) as results: for result in results: ...`.

    A loop without `with` enters and leaves by itself. When all results were given, the failure of a source is raised;
    `failures` holds those of all.

    perceive: maps frames, at most one a stream, to results without expressions; express: completes results. Each is
    called by one thread only. on_state: called in the caller's thread for every change of a source's state; on_poll:
    there too, several times a second even while no result comes.
    keep_open: go on without sources until `stop` (sources are then added while running). owned: engines and detectors
    to close when the threads have ended. shedding: the latency that live streams keep, and what they do without for it.
    checks: count answers of networks that are no numbers, for the metrics.

    states: what every source does, by stream; turned_at: monotonic time at which the caller's loop last turned, None
    before it did. Both are written by the caller's thread and may be read by any.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        perceive: Perceive,
        express: Express,
        *,
        metrics: Metrics | None = None,
        on_state: OnState | None = None,
        on_poll: Callable[[], None] | None = None,
        keep_open: bool = False,
        owned: Sequence[Closable] = (),
        shedding: SheddingSettings | None = None,
        checks: Sequence[Finite] = (),
    ) -> None:
        self.ladder = Ladder(shedding)
        self.metrics = metrics or Metrics()
        self.captures: dict[str, Capture] = {}
        self.states: dict[str, SourceState] = {}
        self.turned_at: float | None = None
        self._on_state = on_state
        self._on_poll = on_poll
        self._keep_open = keep_open
        self._owned = owned
        self._checks = checks
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._untold: list[Event] = []
        self._given: Counter[str] = Counter()  # results handed to the caller, by stream
        self._leaving: set[str] = set()
        self._error: BaseException | None = None
        self._entered = False
        self._frames: Channel[Frame] = Channel(["pipeline"])  # closed when no source can be added any more
        perceived: Channel[Result] = Channel(["perceive"])
        self._results: Channel[Result] = Channel(["express"])
        self._channels = self._frames, perceived, self._results
        self._perceive = Worker(
            "perceive", lambda frames: perceive(frames, self.ladder.step), perceive.forget, self._frames, perceived
        )
        self._express = Worker("express", express, express.forget, perceived, self._results)
        self._threads = [
            self._thread("perceive", self._run_worker, self._perceive, self._most),
            self._thread("express", self._run_worker, self._express, lambda: None),
        ]
        self._capture_threads: dict[str, threading.Thread] = {}
        for source in sources:
            self._prepare(source)

    def __enter__(self) -> Self:
        self._entered = True
        for thread in (*self._threads, *self._capture_threads.values()):
            thread.start()
        if not self._keep_open:
            self._frames.close("pipeline")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for channel in self._channels:
            channel.cancel()
        deadline = time.monotonic() + JOIN_TIMEOUT
        threads = *self._capture_threads.values(), *self._threads
        if threading.current_thread() in threads:  # garbage collection, in one of ours, found that nobody iterates
            return  # all end by themselves, and the models go with what refers to them
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.error("the thread %s did not end within %.0f s", thread.name, JOIN_TIMEOUT)
        self._tell_states(ends=True)
        if any(thread.is_alive() for thread in self._threads):  # a stage that still works would work on what is gone
            log.error("engines and detectors stay open: a stage still works with them")
            return
        for one in self._owned:
            one.close()

    def __iter__(self) -> Iterator[Result]:
        if self._entered:
            yield from self._loop()
        else:
            with self:
                yield from self._loop()

    def _loop(self) -> Iterator[Result]:
        while True:
            try:
                results = self._results.take(POLL)
            except Cancelled:
                results = None
            self._tell_states()
            self.turned_at = now = time.monotonic()
            self.ladder.look(now, {worker.name: worker.busy for worker in (self._perceive, self._express)})
            self.metrics.step.set(self.ladder.step)
            self.metrics.load.set(self.ladder.load)
            for check in self._checks:
                self.metrics.record_refused(dict(check.refused))
            if self._on_poll:
                self._on_poll()
            if results is None:
                break
            for result in results:
                self._given[result.frame.stream] += 1
                self._record(result)
                yield result
        self._raise_failure()

    def stop(self) -> None:
        """End all sources; what they have captured is still analysed."""
        for capture in tuple(self.captures.values()):
            capture.stop.set()
        self._frames.close("pipeline")

    def add(self, source: Source) -> None:
        """Start one more source while running. Raises ValueError where its name is taken."""
        self._prepare(source)
        self._capture_threads[source.name].start()

    def remove(self, stream: str) -> None:
        """End one source; its last frames are still analysed, then its name is free again.

        Raises ValueError where there is no such stream.
        """
        if stream not in self.captures:
            raise ValueError(f"no stream '{stream}': expected one of {', '.join(self.captures) or '(none)'}")
        self.captures[stream].stop.set()
        self._leaving.add(stream)
        if self.state(stream) in (State.ENDED, State.FAILED):
            self._free(stream)

    def _free(self, stream: str) -> None:
        """Drop all that is known of a stream whose last result was given."""
        self._capture_threads.pop(stream).join()  # it has told its end, and only closes its slot yet
        self._leaving.discard(stream)
        for known in (self._given, self.captures, self.states):
            known.pop(stream, None)
        self.metrics.forget(stream)
        for worker in (self._perceive, self._express):
            worker.gone.put(stream)

    def state(self, stream: str) -> State:
        """Return what a source does; one that was not heard of yet is connecting."""
        return self.states[stream].state if stream in self.states else State.CONNECTING

    @property
    def captured(self) -> int:
        """Count the frames that all sources gave."""
        return sum(capture.captured for capture in self.captures.values())

    @property
    def failures(self) -> dict[str, SourceError]:
        """Return the sources that failed, by stream."""
        return {name: capture.failure for name, capture in self.captures.items() if capture.failure}

    def _prepare(self, source: Source) -> None:
        if source.name in self.captures:
            raise ValueError(f"two sources are named '{source.name}': a name is free again when its stream was removed")
        self._frames.open(source.name)
        capture = self.captures[source.name] = Capture(source, self._frames, self._events)
        self._capture_threads[source.name] = self._thread(f"capture {source.name}", self._run_capture, capture)

    def _thread(self, name: str, target: Callable[..., None], *args: object) -> threading.Thread:
        return threading.Thread(target=target, args=args, name=name, daemon=True)

    def _run_capture(self, capture: Capture) -> None:
        self._guard(capture.read)
        self._frames.close(capture.source.name)

    def _run_worker(self, worker: Worker[In], most: Callable[[], int | None]) -> None:
        self._guard(worker.work, self.metrics, most)
        worker.outside.close(worker.name)

    def _most(self) -> int | None:
        """Return the largest number of frames for the next tick that keeps the latency budget."""
        return self.ladder.frames(max(self._perceive.cost, self._express.cost))

    def _guard(self, function: Callable[..., None], *args: object) -> None:
        """Run a thread's function; the first exception of any thread ends the run and is raised to the caller."""
        try:
            function(*args)
        except Cancelled:
            pass
        except BaseException as error:  # the one broad except: it hands the error to the caller
            if self._error is None:
                self._error = error
            for channel in self._channels:
                channel.cancel()

    def _raise_failure(self) -> None:
        if self._error is not None:
            raise self._error
        if self.failures and not self._keep_open:
            raise next(iter(self.failures.values()))

    def _record(self, result: Result) -> None:
        capture = self.captures[result.frame.stream]
        self.metrics.record(result, captured=capture.captured, dropped=capture.dropped)
        if result.frame.live:
            self.ladder.observe(time.monotonic() - result.frame.captured_at)

    def _tell_states(self, *, ends: bool = False) -> None:
        """Pass on what the sources reported, the end of one only after its last result (or with `ends`)."""
        with suppress(Empty):
            while True:
                self._untold.append(self._events.get_nowait())
        told, self._untold = self._untold, []
        for event in told:
            stream, state, reason, cause = event
            if state in (State.ENDED, State.FAILED) and not ends and not self._complete(stream):
                self._untold.append(event)
            else:
                self._tell(stream, state, reason, cause)
                if stream in self._leaving and state in (State.ENDED, State.FAILED):
                    self._free(stream)
        self._notice_stalls()

    def _complete(self, stream: str) -> bool:
        capture = self.captures[stream]
        return self._given[stream] + capture.dropped >= capture.captured

    def _notice_stalls(self) -> None:
        """Tell of live sources whose frames stay away, and of their return."""
        now = time.monotonic()
        for name, capture in tuple(self.captures.items()):
            if not capture.source.live or capture.last_frame_at is None:
                continue
            age, limit = now - capture.last_frame_at, capture.stall_limit.seconds(capture.source.fps)
            if age > limit and self.state(name) is State.LIVE:
                self._tell(name, State.STALLED, f"no frame for {age:.1f} s")
            elif age <= limit and self.state(name) is State.STALLED:
                self._tell(name, State.LIVE, "")

    def _tell(self, stream: str, state: State, reason: str, cause: Cause | None = None) -> None:
        self.states[stream] = SourceState(state, reason, cause, time.time())
        self.metrics.record_state(stream, state, cause)
        if self._on_state:
            self._on_state(stream, state, reason, cause)
