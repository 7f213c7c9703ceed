"""Logs read back: all parts of a log in order, whole records only, and a list of what is wrong with them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engines.errors import UserError
from streamer.records.journal import parts
from streamer.records.schema import SCHEMA, problem_of

log = logging.getLogger(__name__)

Lines = Iterator[tuple[str, dict[str, Any]]]
"""Where each record stands ('out.jsonl, line 3') and the record."""


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a log and of its closed parts, each run's own first.

    A last line without an end, as of a log that is being written or was torn, is left out with a warning.
    Raises FileNotFoundError where there is no log, and UserError with file and line number where it is not one of
    this schema.
    """
    run = None
    for _, record in read_lines(path):
        if record["type"] != "run":
            yield record
        elif record.get("run") is None or record.get("run") != run:  # else the head of the run's next part
            run = record.get("run")
            yield record


@contextmanager
def trusting(path: Path | str) -> Iterator[None]:
    """Use records without checking each; raise UserError where one turns out not to be as the schema says.

    An error that no record is to blame for stays what it is.
    """
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        if next(problems(Path(path)), None) is None:
            raise
        raise UserError(f"{path}: a record is not as schema {SCHEMA} says: see `streamer log validate`") from error


def read_lines(path: Path) -> Lines:
    """Yield every line of a log with its place, the heads of all parts too; see `read_log`."""
    files, empty = parts(path), True
    if not files:
        raise FileNotFoundError(f"{path}: expected a log, found no such file")
    for file in files:
        for place, record in _read_file(file):
            empty = False
            yield place, record
    if empty:
        raise UserError(f"{path}: expected a log, found an empty file")


def _read_file(path: Path) -> Lines:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}, line {number}"
            if not line.endswith(b"\n"):
                log.warning("%s has no end: left out", place)
                return
            record = _parse(line, place)
            if (number == 1 or record["type"] == "run") and (record["type"], record.get("schema")) != ("run", SCHEMA):
                found = f"type {record['type']!r} of schema {record.get('schema')!r}"
                raise UserError(f"{place}: expected type 'run' of schema {SCHEMA}, found {found}")
            yield place, record


def _parse(line: bytes, place: str) -> dict[str, Any]:
    shown = line[:40].decode("utf-8", "replace")
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: expected a JSON object, found {shown!r}") from error
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        raise UserError(f"{place}: expected a JSON object with a type, found {shown!r}")
    return record


def problems(path: Path) -> Iterator[str]:
    """Yield what is wrong with a log, with file and line: values, and frames that are repeated or out of order.

    Raises what `read_lines` raises.
    """
    newest: dict[tuple[Any, str], tuple[int, float]] = {}
    run = None
    for place, record in read_lines(path):
        problem = problem_of(record)
        if problem:
            yield f"{place}: {problem}"
        elif record["type"] == "run":
            run = record["run"]
        elif record["type"] == "frame":
            stream, now = record["stream"], (record["index"], record["time"])
            before = newest.get((run, stream))
            if before and (now[0] <= before[0] or now[1] < before[1]):
                yield f"{place}: frame {now[0]} at {now[1]} s of '{stream}' follows frame {before[0]} at {before[1]} s"
            newest[run, stream] = now
        elif record["type"] == "source" and record["state"] == "connecting":  # a stream that has its name anew
            newest.pop((run, record["stream"]), None)
