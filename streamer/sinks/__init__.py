"""Where results go. A sink is a context manager that the caller's loop writes to, in the caller's thread.

Sink (protocol) <- VideoSink    annotated video         streamer.sinks.video
                <- LogSink      JSON Lines              streamer.sinks.log
                <- WindowSink   a window, [window]      streamer.sinks.window
                <- PerStream    a sink for every stream
                <- Enduring     a sink whose failures do not end the run
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from streamer.types import Result
from streamer.watching.metrics import Metrics

__all__ = ["ClosableSink", "Enduring", "PerStream", "Sink", "StateSink"]


class Sink(Protocol):
    """Take results. What can be wrong with its target is found when it is made, before any work is done.

    wants_picture: whether `write` needs the annotated picture.
    """

    wants_picture: bool

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Take a result and its annotated picture, (H, W, 3) uint8 BGR, which is shared and not to be written to.

        Raises OSError where the target cannot be written.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish and close the target, after an error too."""
        ...


@runtime_checkable
class StateSink(Protocol):
    """Take changes of a source's state too."""

    def write_state(self, stream: str, state: str, reason: str, cause: str | None = None) -> None:
        """Take a source's new state, why, and the cause of a failure. Raises OSError where the target takes no more."""
        ...


@runtime_checkable
class ClosableSink(Protocol):
    """Be closed by a person, as a window is; that ends the run."""

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        ...


class Enduring:
    """Pass results to a sink, and let the run go on while writing fails.

    The first failure of a target and its recovery are reported once each; every result is another try; losses are
    counted, in metrics too. tell: shows a line to the user.
    """

    def __init__(self, name: str, sink: Sink, metrics: Metrics, tell: Callable[[str], None]) -> None:
        self.sink = sink
        self.wants_picture = sink.wants_picture
        self.failure: OSError | None = None
        self.lost = 0
        self._name, self._metrics, self._tell = name, metrics, tell
        self._failing: set[str] = set()  # targets: streams where each has its own, else one
        metrics.lost.labels(name).inc(0)
        metrics.failing.labels(name).set(0)

    @property
    def closed(self) -> bool:
        """Tell whether a person has closed the sink, so that the run is to end."""
        return isinstance(self.sink, ClosableSink) and self.sink.closed

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Hand the result on, or count it as lost."""
        target = result.frame.stream if isinstance(self.sink, PerStream) else ""
        self._try(lambda: self.sink.write(result, picture), target)

    def write_state(self, stream: str, state: str, reason: str, cause: str | None = None) -> None:
        """Hand a state on to a sink that takes states, or count it as lost."""
        sink = self.sink
        if isinstance(sink, StateSink):
            self._try(lambda: sink.write_state(stream, state, reason, cause))

    def _try(self, write: Callable[[], None], target: str = "") -> None:
        try:
            write()
        except OSError as error:
            self.lost += 1
            self._metrics.lost.labels(self._name).inc()
            if target not in self._failing:
                self.failure = self.failure or error
                self._tell(f"{error}; the run goes on, and tries again with every result")
            self._failing.add(target)
        else:
            if target not in self._failing:
                return
            self._failing.remove(target)
            of = f" of {target}" if target else ""
            self._tell(f"{self._name}{of}: can be written again; {self.lost} records were lost so far")
        self._metrics.failing.labels(self._name).set(bool(self._failing))


class PerStream:
    """Give every stream a sink of its own: at once for those known, with its first result for any other."""

    def __init__(self, open_sink: Callable[[str], Sink], streams: Iterable[str], *, wants_picture: bool = True) -> None:
        self.wants_picture = wants_picture
        self._open_sink = open_sink
        self._sinks: dict[str, Sink] = {}
        self._stack = ExitStack()
        with ExitStack() as opened:
            opened.push(self._stack)
            for stream in streams:
                self._add(stream)
            opened.pop_all()

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Hand the result to its stream's sink."""
        stream = result.frame.stream
        (self._sinks.get(stream) or self._add(stream)).write(result, picture)

    def _add(self, stream: str) -> Sink:
        sink = self._sinks[stream] = self._stack.enter_context(self._open_sink(stream))
        return sink

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
