"""Logs as tables: CSV, and Parquet by PyArrow (extra `parquet`), one row a face, a frame, a change of state or a gap.

The keys of the schema become columns in its order: a box four, a mapping one for each name that it may hold, the faces
of a frame their number.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Literal, Protocol, Self, get_args, get_origin

from engines.errors import MissingPackage, UserError
from streamer.emotions import EMOTIONS
from streamer.faces.regions import PARTS
from streamer.records.reading import read_log, trusting
from streamer.records.schema import SCHEMA, FaceRecord, FrameRecord, GapRecord, Record, SourceRecord

Rows = Literal["face", "frame", "source", "gap"]
Names = dict[str, list[str]]
Columns = dict[str, type]
"""Names and types (int, float, str, bool) of the columns, in order."""

MODELS: dict[str, type[Record]] = {"face": FaceRecord, "frame": FrameRecord, "source": SourceRecord, "gap": GapRecord}
CORNERS = ("x1", "y1", "x2", "y2")
OF_FRAME = ("stream", "index", "time", "wall_time")  # what a face's row repeats of its frame
BATCH = 10_000  # rows written at once
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")  # with which what spreadsheets run begins


def convert(log: Path, table: Path, rows: Rows = "face", *, bom: bool = False) -> int:
    """Write a log as a table, whose suffix says the kind; return the number of rows.

    bom: begin CSV with the mark by which spreadsheets see that it is UTF-8. The table gets its name when it is whole.
    Raises UserError for an unknown suffix or what is no log, OSError, and MissingPackage where PyArrow is missing.
    """
    if table.suffix not in WRITERS:
        raise UserError(f"{table}: cannot write a table as '{table.suffix}': expected {' or '.join(WRITERS)}")
    writer = WRITERS[table.suffix]
    if bom and writer is not CsvWriter:
        raise UserError(f"{table}: only CSV has a byte order mark: expected a name like {table.stem}.csv")
    with trusting(log):
        return _convert(log, table, rows, MarkedCsvWriter if bom else writer)


def _convert(log: Path, table: Path, rows: Rows, kind: type[Writer]) -> int:
    columns = columns_of(rows, names_in(read_log(log)))
    found, count = rows_of(rows, read_log(log)), 0
    unfinished = table.with_name(f"{table.stem}.part{table.suffix}")
    try:
        with kind(unfinished, columns) as writer:
            while batch := list(islice(found, BATCH)):
                writer.write(batch)
                count += len(batch)
        os.replace(unfinished, table)
    except OSError as error:
        raise OSError(f"{table}: cannot write the table: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def columns_of(rows: Rows, names: Names) -> Columns:
    """Return the columns of a kind of row; names: what the mappings among its keys hold, by key."""
    columns: Columns = {"run": str}
    if rows == "face":
        columns |= {name: kind for name, kind in _columns(FrameRecord, names).items() if name in OF_FRAME}
    return columns | _columns(MODELS[rows], names)


def rows_of(rows: Rows, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one kind, as values by column."""
    run = ""
    for record in records:
        if record["type"] == "run":
            run = record.get("run", "")
        elif record["type"] == "frame" and rows == "face":
            of_frame = {"run": run} | _flat({name: record.get(name) for name in OF_FRAME})
            yield from (of_frame | _flat(face) for face in record["faces"])
        elif record["type"] == rows:
            yield {"run": run} | _flat(record)


def _columns(model: type[Record], names: Names) -> Columns:
    columns: Columns = {}
    for name, field in model.model_fields.items():
        kind, outer = field.annotation, get_origin(field.annotation)
        if NoneType in get_args(kind):
            kind = next(one for one in get_args(kind) if one is not NoneType)
            outer = get_origin(kind)
        if outer is dict:
            columns |= {f"{name}_{one}": float for one in names.get(name, ())}
        elif kind == list[float]:
            columns |= {f"{name}_{corner}": float for corner in CORNERS}
        elif outer is list:
            columns[name] = int
        elif outer is not Literal:
            columns[name] = next(one for one in (bool, int, float, str) if one in (kind, *get_args(kind)))
    return columns


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            row |= {f"{name}_{one}": part for one, part in value.items()}
        elif isinstance(value, list) and (not value or isinstance(value[0], dict)):
            row[name] = len(value)
        elif isinstance(value, list):
            row |= {f"{name}_{corner}": part for corner, part in zip(CORNERS, value, strict=False)}
        else:  # file names may hold what is not Unicode
            row[name] = value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
    return row


def names_in(records: Iterable[dict[str, Any]]) -> Names:
    """Return what the mappings of faces hold, so that logs of one network make one schema, whatever was seen.

    Parts of the face are the same for all; the labels are those that the run tells, or those of ours. What a log holds
    besides comes behind.
    """
    labels: dict[str, None] = {}
    found: dict[str, dict[str, None]] = {"probabilities": labels, "visible": dict.fromkeys(PARTS)}
    for record in records:
        if record["type"] == "run":
            labels.update(dict.fromkeys(record.get("labels") or EMOTIONS))
        for face in record.get("faces", ()):
            for name, value in face.items():
                if isinstance(value, dict):
                    found.setdefault(name, {}).update(dict.fromkeys(value))
    return {name: list(values) for name, values in found.items()}


class Writer(Protocol):
    """Write rows into a file; made with its path and columns."""

    def __init__(self, path: Path, columns: Columns) -> None: ...

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class CsvWriter:
    """Write CSV; a missing value is an empty cell, and text that a spreadsheet would run begins with an apostrophe."""

    ENCODING = "utf-8"

    def __init__(self, path: Path, columns: Columns) -> None:
        self._file = path.open("w", encoding=self.ENCODING, newline="")
        self._writer = csv.DictWriter(self._file, list(columns), extrasaction="ignore")
        self._writer.writeheader()

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows."""
        self._writer.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class MarkedCsvWriter(CsvWriter):
    """Write CSV with the mark by which spreadsheets see that it is UTF-8."""

    ENCODING = "utf-8-sig"


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


class ParquetWriter:
    """Write Parquet with types and, in the metadata, the schema's version. Raises MissingPackage without PyArrow."""

    def __init__(self, path: Path, columns: Columns) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingPackage("Parquet needs PyArrow: pip install 'emotion-streamer[parquet]'") from error
        kinds = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
        metadata = {"streamer.schema": str(SCHEMA)}
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()], metadata=metadata)
        self._table = pa.Table
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Add rows."""
        self._writer.write_table(self._table.from_pylist(list(rows), self._schema))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()


WRITERS: dict[str, type[Writer]] = {".csv": CsvWriter, ".parquet": ParquetWriter}
