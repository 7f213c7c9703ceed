"""Files that a command writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engines.errors import UserError


def check_replaces_none(targets: Iterable[Path], sources: Iterable[Path], choose: str = "--out") -> None:
    """Raise UserError with one line where writing a target would replace a source, by whatever name it goes.

    choose: what the user is to choose anew.
    """
    taken = {_identity(path) for path in sources if path.exists()}
    for path in targets:
        if path.exists() and _identity(path) in taken:
            raise UserError(f"{path}: is a source too, and would be replaced: choose another {choose}")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
