"""What the terminal shows: a bar for files, a line for streams and one for each trouble; of a service, lines alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from streamer.sources import Source, State
from streamer.types import Result
from streamer.watching.logs import structured

log = logging.getLogger(__name__)

WORTH_TELLING = (State.STALLED, State.RETRYING)
SHOW_EVERY = 0.25  # seconds between two looks at the frame rate


class Status:
    """Own the progress display; used by the caller's thread."""

    def __init__(self, console: Console, sources: Sequence[Source]) -> None:
        live = any(source.live for source in sources)
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if not live:
            columns += [BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
        columns.append(TextColumn("{task.fields[figures]}"))
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._sources = {source.name: source for source in sources}
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, tuple[float, int]] = {}
        self._results: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        now = time.monotonic()
        for name in self._sources:
            self._tasks[name] = self._progress.add_task(name, total=None, figures="")
            self._shown[name], self._results[name] = (now, 0), 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def count(self, result: Result) -> None:
        """Move the stream's bar or line on by one frame."""
        name = result.frame.stream
        self._results[name] += 1
        now, (then, before) = time.monotonic(), self._shown[name]
        if now - then >= SHOW_EVERY:
            fps = (self._results[name] - before) / (now - then)
            labels = ", ".join(face.expression.label for face in result.faces if face.expression)
            figures = f"{fps:.0f} fps · {1000 * (now - result.frame.captured_at):.0f} ms · {labels or 'no face'}"
            self._progress.update(
                self._tasks[name], completed=self._results[name], total=self._sources[name].total, figures=figures
            )
            self._shown[name] = (now, self._results[name])

    def say(self, line: str) -> None:
        """Print a line of trouble, as a log record where those are JSON."""
        if structured():
            log.warning(line)
            return
        self._progress.console.print(line, style="yellow", markup=False, soft_wrap=True)

    def tell(self, stream: str, state: State, reason: str) -> None:
        """Print a trouble of a source, or show its state; the failure of the only source is told as the run ends."""
        if structured():
            log.info("%s: %s", stream, state, extra={"stream": stream, "state": str(state), "reason": reason})
        elif state in WORTH_TELLING or (state is State.FAILED and len(self._sources) > 1):
            self.say(f"{stream}: {state}: {reason}")
        if stream in self._tasks:
            self._progress.update(self._tasks[stream], figures=str(state))


class Lines:
    """Print a line for every change of a source's state; for a service, which shows no progress."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        """Print a line, as a log record where those are JSON."""
        if structured():
            log.info("%s", line)
        else:
            self._console.print(line, soft_wrap=True)

    def tell(self, stream: str, state: State, reason: str) -> None:
        """Print the new state of a source."""
        self.say(f"{stream}: {state}{f': {reason}' if reason else ''}")
