"""Where results go. A sink is a context manager that the caller's loop writes to, in the caller's thread.

Sink (protocol) <- VideoSink    annotated video         streamer.sinks.video
                <- LogSink      JSON Lines              streamer.sinks.log
                <- WindowSink   a window, [window]      streamer.sinks.window
                <- PerStream    a sink for every stream
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from streamer.types import Result

__all__ = ["PerStream", "Sink"]


class Sink(Protocol):
    """Take results. What can be wrong with its target is found when it is made, before any work is done.

    wants_picture: whether `write` needs the annotated picture.
    """

    wants_picture: bool

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Take a result and its annotated picture, (H, W, 3) uint8 BGR, which is shared and not to be written to.

        Raises OSError where the target takes no more.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish and close the target, after an error too."""
        ...


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
