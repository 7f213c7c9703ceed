"""A bounded queue on disk between the caller's loop and the thread that delivers, in SQLite; safe from both threads."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from streamer.events import Event


class Spool:
    """Keep events until they are taken out; what an earlier run left comes first.

    most: bytes of events that wait at once. Raises OSError where the file cannot be opened, or another run uses it.
    """

    def __init__(self, path: Path, most: int) -> None:
        self.path, self._most = path, most
        self.aside = path.with_name(f"{path.stem}.refused.jsonl")
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = sqlite3.connect(path, timeout=0.5, check_same_thread=False, isolation_level=None)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        try:
            # exclusive: two runs that deliver the same events would double them all
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._data.execute(f"PRAGMA {pragma}")
            self._data.execute("CREATE TABLE IF NOT EXISTS events (place INTEGER PRIMARY KEY, key TEXT, value BLOB)")
            # counted once: SQLite counts by reading every row, while the caller's loop waits for the lock
            counts = self._data.execute("SELECT count(*), coalesce(sum(length(value)), 0) FROM events")
            [[self._count, self._size]] = counts
        except (sqlite3.Error, OSError) as error:
            self._data.close()
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> OSError:
        return OSError(f"{self.path}: cannot keep events: {getattr(error, 'strerror', None) or error}")

    def __len__(self) -> int:
        return int(self._count)

    def put(self, key: str, value: bytes) -> None:
        """Add an event. Raises OSError where the spool or the disk is full."""
        with self._lock:
            if self._size + len(value) > self._most:
                raise OSError(f"{self.path}: the broker is away, and {self._most >> 20} MiB of events wait already")
            try:
                self._data.execute("INSERT INTO events (key, value) VALUES (?, ?)", (key, value))
            except sqlite3.Error as error:
                raise self._failure(error) from error
            self._count += 1
            self._size += len(value)

    def head(self, most: int) -> list[Event]:
        """Return the events that wait longest."""
        with self._lock:
            rows = self._data.execute("SELECT place, key, value FROM events ORDER BY place LIMIT ?", (most,))
            return [Event(*row) for row in rows]

    def remove(self, events: Sequence[Event]) -> None:
        """Forget events that were delivered."""
        with self._lock:
            self._data.execute("BEGIN")
            try:
                self._data.executemany("DELETE FROM events WHERE place = ?", [(event.place,) for event in events])
                self._data.execute("COMMIT")
            except sqlite3.Error:
                if self._data.in_transaction:  # a full disk or a broken one has ended it
                    self._data.execute("ROLLBACK")
                raise
            self._count -= len(events)
            self._size -= sum(len(event.value) for event in events)

    def set_aside(self, event: Event, reason: str) -> None:
        """Move an event out of the way into the file `aside`, one line of JSON with the reason as `refused`.

        Of that file and the one before it, each holds as many bytes as may wait. Raises OSError.
        """
        if self.aside.exists() and self.aside.stat().st_size + len(event.value) > self._most:
            self.aside.replace(self.aside.with_suffix(".old.jsonl"))
        with self.aside.open("ab") as file:
            file.write(b'{"refused":' + json.dumps(reason).encode() + b"," + event.value.lstrip()[1:] + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.remove([event])

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        self._data.close()
