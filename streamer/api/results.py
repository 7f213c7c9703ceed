"""The loop over what is watched: an iterator that frees its threads however it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator

from engines.errors import UserError
from streamer.closing import Closing
from streamer.types import Result


class Results(Iterator[Result], Closing):
    """Give the results of one call of `watch`, one after another; belongs to one thread at a time.

    Threads and models are freed at the end, and when the loop is left before: by `break` or an exception, as soon as
    nothing refers to this any more; by `with` or `close` for certain.

    stop: asks for the end where a thread waits for a result.
    """

    def __init__(self, results: Generator[Result, None, None], stop: Callable[[], None]) -> None:
        self._results, self._stop = results, stop
        self._turn = threading.Lock()

    def __next__(self) -> Result:
        if not self._turn.acquire(blocking=False):
            raise UserError("results of watch: expected one thread to take them, found another that is waiting for one")
        try:
            return next(self._results)
        finally:
            self._turn.release()

    def close(self) -> None:
        """End what is watched and free its threads; later calls do nothing.

        Any thread may call; where another waits for a result, the loop there ends with what was still read.
        """
        self._stop()
        if self._turn.acquire(blocking=False):
            try:
                self._results.close()
            finally:
                self._turn.release()
