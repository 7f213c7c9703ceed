r"""The log of a run as JSON Lines; docs/log.md describes every key. Written in the caller's thread.

A line is in the file, whole, when `write` returns. Only a kill in the middle of `write` can tear the last one, and
`read_log` leaves that out.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from streamer.types import Face, Result

log = logging.getLogger(__name__)

SCHEMA = 1


class LogSink:
    """Write one line for the run, then one for every frame and every change of a source's state.

    about: what the run's line shall also say (versions, configuration, models, sources), as JSON values.
    Raises OSError in one line where the file cannot be written, now or later.
    """

    wants_picture = False

    def __init__(self, path: Path, about: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._wall_offset = time.time() - time.monotonic()  # taken once, so that wall times do not jump
        self._size = 0
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._failure(error) from error
        head = {"type": "run", "schema": SCHEMA, "started": _iso(time.time())}
        try:
            self._append(head | dict(about or {}) | head)
        except BaseException:
            os.close(self._file)
            raise

    def write(self, result: Result, picture: NDArray[np.uint8] | None = None) -> None:
        """Write the line of a frame. Raises RuntimeError where a number is not finite."""
        frame = result.frame
        record = {
            "type": "frame",
            "stream": frame.stream,
            "index": frame.index,
            "time": round(frame.time, 6),
            "wall_time": _iso(frame.captured_at + self._wall_offset),
            "faces": [_face(face) for face in result.faces],
        }
        self._append(record)

    def write_state(self, stream: str, state: str, reason: str) -> None:
        """Write that a source is now in another state, and why ('' where there is nothing to say)."""
        now = _iso(time.monotonic() + self._wall_offset)
        self._append({"type": "source", "stream": stream, "state": str(state), "reason": reason, "wall_time": now})

    def _append(self, record: dict[str, Any]) -> None:
        try:
            line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except ValueError as error:
            place = " ".join(str(record[key]) for key in ("type", "stream", "index") if key in record)
            raise RuntimeError(f"{self.path}: expected finite numbers to log, found others in {place}") from error
        data = (line + "\n").encode("utf-8", "backslashreplace")  # file names may hold what is not Unicode
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError as error:
            self._drop_torn_line()
            raise self._failure(error) from error
        self._size += len(data)

    def _drop_torn_line(self) -> None:
        try:
            os.ftruncate(self._file, self._size)
        except OSError as error:  # a pipe or device
            log.debug("%s: cannot be cut to whole lines: %s", self.path, error)

    def _failure(self, error: OSError) -> OSError:
        return OSError(f"{self.path}: cannot write the log: {error.strerror}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log, that of the run first; a torn last line, as of a log being written, is left out.

    Raises ValueError with file and line number where it is not a log of schema 1.
    """
    number = 0
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith("\n"):
                log.warning("%s: left out line %d, which has no end", path, number)
                return
            record = _parse(line, f"{path}, line {number}")
            if number == 1 and (record.get("type"), record.get("schema")) != ("run", SCHEMA):
                found = f"type {record.get('type')!r} of schema {record.get('schema')!r}"
                raise ValueError(f"{path}, line 1: expected type 'run' of schema {SCHEMA}, found {found}")
            yield record
    if not number:
        raise ValueError(f"{path}: expected a log, found an empty file")


def _parse(line: str, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: expected a JSON object, found {line[:40]!r}") from error
    if not isinstance(record, dict) or "type" not in record:
        raise ValueError(f"{place}: expected a JSON object with a type, found {line[:40]!r}")
    return record


def _face(face: Face) -> dict[str, Any]:
    expression = face.expression
    return {
        "id": face.track_id,
        "box": [_rounded(value, 1) for value in face.box],
        "score": _rounded(face.score, 4),
        "label": expression and expression.label,
        "confidence": expression and _rounded(expression.confidence, 4),
        "probabilities": expression and {name: _rounded(value, 4) for name, value in expression.probabilities.items()},
        "region": expression and expression.region,
        "reliability": _rounded(expression.reliability, 4)
        if expression and expression.reliability is not None
        else None,
        "stable": expression and expression.stable,
        "detected_time": round(face.detected_time, 6),
        "classified_time": expression and round(expression.time, 6),
    }


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits) + 0.0  # no -0.0


def _iso(seconds: float) -> str:
    """Write seconds since 1970 as ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
