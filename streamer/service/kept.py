"""The streams that were added over the API, in a file, so that they come back when the service does.

Belongs to the pipeline's thread. The file is JSON, `{"state": 1, "streams": [{"name": ..., "source": ...}]}`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engines.errors import UserError
from streamer.closing import Closing
from streamer.records.journal import flush_folder

log = logging.getLogger(__name__)

PRIVATE = 0o600  # addresses of cameras may hold passwords


class _Stream(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: Literal[1]
    streams: list[_Stream]

    @model_validator(mode="after")
    def _has_names_once(self) -> Self:
        if len({stream.name for stream in self.streams}) < len(self.streams):
            raise ValueError("a name twice")
        return self


class Kept(Closing):
    """Hold the file, whole at any time and readable by its owner alone, and keep a second service from it.

    Raises OSError where another service has it, or where its folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()  # a link stays one
        self._unfinished = self.path.with_name(self.path.name + ".tmp")
        try:
            self._lock = os.open(self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT, PRIVATE)
        except OSError as error:
            raise OSError(f"serve.state: {path}: cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise OSError(
                f"serve.state: {path}: another service keeps its streams there: choose another file"
            ) from error
        except OSError as error:  # some network drives know no locks
            log.debug("%s: cannot be locked: %s", self.path, error)

    def read(self) -> dict[str, str]:
        """Return the sources by name, none where there is no file yet.

        Raises OSError, and UserError where it is no such file; its text, which may hold passwords, is not shown.
        """
        try:
            read = _State.model_validate(json.loads(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise OSError(f"serve.state: {self.path}: cannot be read: {error.strerror}") from error
        except (ValidationError, ValueError, RecursionError) as error:
            raise UserError(
                f"serve.state: {self.path}: expected the streams that `streamer serve` keeps there, found something "
                "else or a part: mend it, or move it away to begin without"
            ) from error
        return {stream.name: stream.source for stream in read.streams}

    def write(self, streams: Mapping[str, str]) -> None:
        """Replace the sources by name, wholly or not at all, whatever happens meanwhile. Raises OSError."""
        state = {"state": 1, "streams": [{"name": name, "source": source} for name, source in streams.items()]}
        try:
            self._unfinished.unlink(missing_ok=True)  # left by a kill, and whoever made it may still read it
            with os.fdopen(os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "w") as file:
                json.dump(state, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(self._unfinished, self.path)
            flush_folder(self.path.parent)
        except OSError as error:
            raise OSError(f"serve.state: {self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let another service have it."""
        os.close(self._lock)
