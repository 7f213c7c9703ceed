"""One run from the command line: sources in, sinks out, progress on the terminal, an exit code at the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from streamer.config import Config
from streamer.service.signals import noted_signals
from streamer.session import Session
from streamer.sinks.outputs import Outputs, check_outputs
from streamer.sources import SourceError, open_sources
from streamer.watching.logs import structured
from streamer.watching.run_summary import print_summary, summarise, write_summary
from streamer.watching.terminal import Status

log = logging.getLogger(__name__)


def run(config: Config, names: Sequence[str], outputs: Outputs, read_config: Callable[[], Config] | None = None) -> int:
    """Analyse the sources to their end; return the exit code. read_config: gives the configuration again, on SIGHUP.

    Raises UserError or OSError for what is wrong with configuration, models, outputs or a single source.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 120  # a pipe or a log file has no width of its own
    sources = open_sources(names, **config.source.model_dump())
    check_outputs(names, sources, outputs)
    session, started, failures = None, time.monotonic(), []
    with noted_signals(reloads=read_config is not None) as signals, Status(console, sources) as status:
        try:
            with ExitStack() as stack:
                session = Session(config, sources, status, signals, read_config)
                if config.metrics.port is not None:
                    session.watch(stack, config.metrics.port)
                session.open(stack, names, outputs)
                started = time.monotonic()
                session.consume(status.count)
        except SourceError:
            raise
        except OSError as error:  # of a sink: wrong from the start, or not to be finished
            if session is None or not session.pipeline.captured:
                raise
            failures.append(error)
        seconds = time.monotonic() - started
    pipeline = session.pipeline
    report = summarise(session.metrics, pipeline.states, seconds, pipeline.failures)
    if outputs.summary:
        write_summary(report, outputs.summary)
    failures += [*session.failures, *pipeline.failures.values()]
    tell_end(report, failures, console)
    return session.exit_code or int(bool(failures))


def tell_end(report: dict[str, Any], failures: Sequence[Exception], console: Console) -> None:
    """Print the summary and what failed, as log records where those are JSON."""
    if structured():
        log.info("the run is over", extra={"summary": report})
        for failure in failures:
            log.error("%s", failure)
        return
    print_summary(report, console)
    for failure in failures:
        console.print(f"streamer: {failure}", style="yellow", soft_wrap=True)
