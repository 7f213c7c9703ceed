"""CSV files, row by row, with errors that name file, line and column."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from engines.errors import UserError


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield line number and cells of each row; spaces around column names and cells do not count.

    Raises FileNotFoundError, or UserError for a missing column or cell.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file}: expected a CSV file with the columns {', '.join(columns)}, found none")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.DictReader(lines)
        found = {name.strip(): name for name in table.fieldnames or ()}
        missing = [name for name in columns if name not in found]
        if missing:
            raise UserError(f"{file}: missing column {', '.join(missing)}; found {', '.join(found) or 'an empty file'}")
        for row in table:
            cells = {name: row[found[name]] for name in columns}
            empty = [name for name, cell in cells.items() if cell is None]
            if empty:
                raise UserError(f"{file}, line {table.line_num}: the row ends before column {', '.join(empty)}")
            yield table.line_num, {name: cell.strip() for name, cell in cells.items()}


def whole_number(text: str, low: int, high: int, source: str) -> int:
    """Read a number in low..high. Raises UserError that names its source."""
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise UserError(f"{source}: expected a number in {low}-{high}, found '{text}'")
    return number


def first_existing(folder: Path, names: Sequence[str]) -> Path:
    """Return the first of `names` in a folder. Raises FileNotFoundError that lists them all."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder}: expected {' or '.join(names)}, found neither; is data.path right?")
