"""The journal: lines appended to a file so that no crash tears or repeats one, in parts of bounded size and age.

Owned by the thread that appends. A thread of its own flushes to the disk every `sync` seconds and deletes old parts;
one lock guards the file. A line is in the file, whole, when `append` returns: a kill can tear only the one being
written. A power cut takes at most what was written since the last flush. A torn tail is cut off when the journal is
next appended to, and left out when it is read.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

log = logging.getLogger(__name__)

TAIL = 1 << 16  # bytes read at once while looking for the end of the last whole line
PARTS_A_RETENTION = 10  # a part is closed after this share of the retention, so that deletion is timely


@dataclass(frozen=True)
class JournalSettings:
    """Set flushing, rotation and retention of a log.

    sync: seconds between flushes to the disk. rotate_bytes, rotate_seconds: size and age at which the file is closed as
    a numbered part and a new one begun. append: continue an earlier run's file instead of replacing it. retention:
    seconds after which parts are deleted.
    """

    sync: Annotated[float, Field(gt=0)] = 1.0
    rotate_bytes: Annotated[int, Field(ge=1024)] | None = None
    rotate_seconds: Annotated[float, Field(gt=0)] | None = None
    append: bool = False
    retention: Annotated[float, Field(gt=0)] | None = None


class Journal:
    """Append lines to `path`; from `start` on they are flushed to the disk, until `close`.

    head: gives the first line of part 1, 2, ... of this run, with its end. now: seconds since 1970, against which the
    age of parts is measured.
    Raises OSError where the file cannot be written or another process writes it.
    """

    def __init__(
        self,
        path: Path,
        head: Callable[[int], bytes],
        settings: JournalSettings | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._head, self._settings, self._now = head, settings or JournalSettings(), now
        self._part, self._size, self._began, self._empty = 0, 0, 0.0, True
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._unflushed = False
        self._flush_error: OSError | None = None
        self._undeleted: set[Path] = set()
        self._thread = threading.Thread(target=self._keep, name=f"journal {path.name}", daemon=True)
        kept = self._settings.retention
        ages = (self._settings.rotate_seconds, kept and kept / PARTS_A_RETENTION)
        self._longest = min((age for age in ages if age), default=None)
        self._file = self._open()
        self._plain = stat.S_ISREG(os.fstat(self._file).st_mode)  # a pipe or device has no size
        try:
            if not self._settings.append:
                for part in _numbered_parts(self.path):
                    part.unlink()
            self._cut(self._end() if self._settings.append else 0)
            self._begin_part()
        except BaseException:
            os.close(self._file)
            raise

    def append(self, line: bytes) -> None:
        """Write one line, which brings its end. Raises OSError where the disk takes no more; nothing of it stays."""
        with self._lock:
            if self._flush_error:
                error, self._flush_error = self._flush_error, None
                raise error
            if self._due(len(line)):
                self._rotate()
            self._write(line)
            self._empty = False

    def start(self) -> None:
        """Begin to flush."""
        self._thread.start()

    def close(self) -> None:
        """Flush and close. Raises OSError where the last lines cannot be brought to the disk."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            _flush(self._file)
        finally:
            os.close(self._file)

    def _open(self) -> int:
        if self.path.exists() and not self.path.is_file():
            return self._open_pipe()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise OSError(0, "another run writes it") from None
        except OSError as error:
            log.debug("%s: cannot be locked: %s", self.path, error)
        return file

    def _open_pipe(self) -> int:
        """Open a pipe or device to write alone: a pipe whose reader has left then fails, and does not fill for ever."""
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise OSError(0, "nobody reads this pipe: start its reader first") from None
            raise
        os.set_blocking(file, True)
        return file

    def _begin_part(self) -> None:
        self._part += 1
        self._size = os.fstat(self._file).st_size
        self._began, self._empty = self._now(), True
        self._write(self._head(self._part))

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            self._cut(self._size)
            raise
        self._size += len(line)
        self._unflushed = True

    def _due(self, more: int) -> bool:
        """Tell whether the file is to be closed before `more` bytes; never while it holds nothing but its head."""
        limit = self._settings.rotate_bytes
        large = limit is not None and self._size + more > limit
        old = self._longest is not None and self._now() - self._began >= self._longest
        return self._plain and not self._empty and (large or old)

    def _rotate(self) -> None:
        """Close the file as a part and begin the next; a crash in between leaves the parts and no file."""
        _flush(self._file)
        target = numbered(self.path, _next_number(self.path))
        before = self._file, self._part, self._size, self._began, self._empty
        there = self.path.exists()  # else it was taken away: nothing is left to name, the next file begins
        if there:
            os.rename(self.path, target)
        try:
            self._file = self._open()
            self._begin_part()
        except OSError:  # such as a full disk: go on in the file there is
            if self._file != before[0]:
                os.close(self._file)
            if there:
                os.rename(target, self.path)
            self._file, self._part, self._size, self._began, self._empty = before
            raise
        os.close(before[0])
        flush_folder(self.path.parent)

    def _keep(self) -> None:
        """Flush what was written and delete what is too old, until the journal is closed."""
        while not self._closing.wait(self._settings.sync):
            try:
                self._flush_what_is_new()
            except OSError as error:  # told by the next append; the next round tries again
                self._flush_error, self._unflushed = error, True
            if self._settings.retention:
                self._forget(self._settings.retention)

    def _flush_what_is_new(self) -> None:
        """Flush outside of the lock: a slow disk does not hold up the appending thread."""
        with self._lock:
            if not self._unflushed:
                return
            file = os.dup(self._file)  # fails where too many files are open
            self._unflushed = False
        try:
            _flush(file)
        finally:
            os.close(file)

    def _forget(self, retention: float) -> None:
        with self._lock, suppress(OSError):  # a full disk is told by the next append
            if self._due(0):
                self._rotate()
        with suppress(OSError):  # the folder cannot be listed now
            for part in parts(self.path)[:-1]:
                self._delete(part, retention)

    def _delete(self, part: Path, retention: float) -> None:
        try:
            if self._now() - part.stat().st_mtime > retention:
                part.unlink()
                log.info("%s: deleted, older than the retention of %g s", part, retention)
        except FileNotFoundError:
            pass
        except OSError as error:
            if part not in self._undeleted:  # it is tried again and again
                log.warning("%s: cannot be deleted after the retention of %g s: %s", part, retention, error.strerror)
            self._undeleted.add(part)

    def _end(self) -> int:
        """Return where the last whole line ends."""
        end = os.fstat(self._file).st_size
        while end > 0:
            start = max(0, end - TAIL)
            found = os.pread(self._file, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0

    def _cut(self, size: int) -> None:
        if self._plain:
            os.ftruncate(self._file, size)


def numbered(path: Path, number: int) -> Path:
    """Return the name of a closed part: out.000001.jsonl."""
    return path.with_name(f"{path.stem}.{number:06d}{path.suffix}")


def parts(path: Path) -> list[Path]:
    """Return the files of a log, oldest first: its closed parts, then the file of that name, if it is there."""
    return [*_numbered_parts(path), *([path] if path.exists() else [])]


def _numbered_parts(path: Path) -> Iterator[Path]:
    pattern = re.compile(rf"{re.escape(path.stem)}\.(\d{{6,}}){re.escape(path.suffix)}")
    found = path.parent.iterdir() if path.parent.is_dir() else ()
    numbers = {one: int(match[1]) for one in found if (match := pattern.fullmatch(one.name))}
    return iter(sorted(numbers, key=lambda one: numbers[one]))


def _next_number(path: Path) -> int:
    taken = [int(part.name.removesuffix(path.suffix).rpartition(".")[2]) for part in _numbered_parts(path)]
    return max(taken, default=0) + 1


def _flush(file: int) -> None:
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a pipe or device
            raise


def flush_folder(folder: Path) -> None:
    """Make a new name in a folder last over a power cut."""
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
