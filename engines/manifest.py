"""Checksums of the shipped models: `zoo/manifest.json` maps file names to sha256."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from engines.errors import UserError

ZOO = Path(__file__).parent / "zoo"


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def listed_sha256(path: Path) -> str | None:
    """Return the sha256 that the manifest beside `path` lists for it, None without a manifest or an entry."""
    return _entries(path.parent).get(path.name)


def verify(path: Path, expected: str | None) -> None:
    """Compare a file with a sha256 (None: the manifest's entry, if there is one).

    Raises UserError on a mismatch, FileNotFoundError where the file is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a model file, found none")
    expected = expected or listed_sha256(path)
    if expected and (found := sha256_of(path)) != expected.lower():
        raise UserError(f"{path}: expected sha256 {expected}, found {found}; the file is damaged or another version")


def write_entry(path: Path) -> None:
    """Add `path` to the manifest beside it."""
    _write(path.parent, {**_entries(path.parent), path.name: sha256_of(path)})


def remove_entry(path: Path) -> None:
    """Remove `path` from the manifest beside it, where it is listed."""
    entries = _entries(path.parent)
    if entries.pop(path.name, None):
        _write(path.parent, entries)


def _entries(folder: Path) -> dict[str, str]:
    manifest = folder / "manifest.json"
    try:
        entries: Any = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
    except ValueError as error:
        raise UserError(f"{manifest}: expected the sha256 of the models beside it as JSON: {error}") from error
    if not isinstance(entries, dict):
        raise UserError(f"{manifest}: expected the sha256 of the models beside it by name, found no JSON object")
    return entries


def _write(folder: Path, entries: dict[str, str]) -> None:
    text = json.dumps(dict(sorted(entries.items())), indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
