"""The log of a run as JSON Lines, kept by a journal and written in the caller's thread; docs/log.md tells every key."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamer.records.journal import Journal, JournalSettings
from streamer.records.schema import SCHEMA, WallClock, encode, frame_record, source_record
from streamer.types import Result


class LogSink:
    """Write one line for the run, then one for every frame and every change of a source's state.

    about: what the run's line shall also say (versions, configuration, models, sources), as JSON values. run: its id.
    Raises OSError in one line where the file cannot be written, now or later. What is lost meanwhile is counted, and
    recorded as a gap once the file can be written again.
    """

    wants_picture = False

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any] | None = None,
        settings: JournalSettings | None = None,
        *,
        run: str | None = None,
        clock: WallClock | None = None,
    ) -> None:
        self.path = path
        self._clock = clock or WallClock()
        self._lost, self._lost_since, self._reason = 0, "", ""
        own = {
            "type": "run",
            "schema": SCHEMA,
            "run": run or uuid.uuid4().hex,
            "part": 1,
            "started": self._clock.stamp(),
        }
        more = {name: value for name, value in (about or {}).items() if name not in own}

        def head(part: int) -> bytes:
            return encode(own | {"part": part} | more)

        try:
            self._journal = Journal(path, head, settings)
        except OSError as error:
            raise self._failure(error) from error

    def write(self, result: Result, picture: NDArray[np.uint8] | None = None) -> None:
        """Write the line of a frame. Raises RuntimeError where a number is not finite."""
        self._append(frame_record(result, self._clock))

    def write_state(self, stream: str, state: str, reason: str, cause: str | None = None) -> None:
        """Write that a source is now in another state, why ('' where there is nothing to say), and the cause."""
        self._append(source_record(stream, state, reason, cause, self._clock))

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            line = encode(record)
        except RuntimeError as error:
            raise RuntimeError(f"{self.path}: {error}") from error
        try:
            if self._lost:
                self._journal.append(encode(self._gap()))
                self._lost = 0
            self._journal.append(line)
        except OSError as error:
            if not self._lost:
                self._lost_since, self._reason = self._clock.stamp(), error.strerror or str(error)
            self._lost += 1
            raise self._failure(error) from error

    def _gap(self) -> dict[str, Any]:
        stamps = {"since": self._lost_since, "wall_time": self._clock.stamp()}
        return {"type": "gap", "lost": self._lost, "reason": self._reason, **stamps}

    def _failure(self, error: OSError) -> OSError:
        return OSError(f"{self.path}: cannot write the log: {error.strerror or error}")

    def __enter__(self) -> Self:
        self._journal.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._journal.close()
        except OSError as failed:
            raise self._failure(failed) from failed
