"""One run from the command line: sources in, sinks out, progress on the terminal, an exit code at the end."""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

import streamer
from streamer.build import build_pipeline
from streamer.config import Config, OverlayConfig
from streamer.drawing.overlay import draw
from streamer.events import open_publisher
from streamer.events.sink import EventSink
from streamer.events.spool import Spool
from streamer.pipeline import Pipeline
from streamer.records.run_manifest import describe, files_of, manifest_path, model_hashes, write_manifest
from streamer.service.reload import reload
from streamer.service.signals import Signals, noted_signals
from streamer.sinks import Enduring, Sink
from streamer.sinks.files import check_replaces_none
from streamer.sinks.log import LogSink
from streamer.sinks.video import unfinished_path, video_paths, video_sink
from streamer.sinks.window import WindowSink
from streamer.sources import Cause, Source, SourceError, State, open_sources, redact
from streamer.types import Result
from streamer.watching.logs import structured
from streamer.watching.metrics import Metrics
from streamer.watching.run_summary import check_summary, print_summary, summarise, write_summary
from streamer.watching.terminal import Status

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """Say what a run leaves behind."""

    video: Path | None = None
    log: Path | None = None
    summary: Path | None = None
    events: str | None = None
    window: bool = False


def run(config: Config, names: Sequence[str], outputs: Outputs, read_config: Callable[[], Config] | None = None) -> int:
    """Analyse the sources to their end; return the exit code. read_config: gives the configuration again, on SIGHUP.

    Raises ValueError, OSError or ImportError for what is wrong with configuration, models, outputs or a single source.
    """
    console, metrics = Console(stderr=True, highlight=False, markup=False), Metrics()
    if not console.is_terminal:
        console.width = 120  # a pipe or a log file has no width of its own
    sources = open_sources(names, **config.source.model_dump())
    check_outputs(names, sources, outputs)
    pipeline, started, failures = None, time.monotonic(), []
    sinks: list[Enduring] = []
    with noted_signals(reloads=read_config is not None) as signals, Status(console, sources) as status:
        try:
            with ExitStack() as stack:
                pipeline = prepare(config, sources, metrics, status, sinks, signals, read_config)
                opened = open_sinks(stack, config, outputs, names, sources, metrics)
                sinks += [Enduring(name, sink, metrics, status.say) for name, sink in opened.items()]
                started = time.monotonic()
                consume(pipeline, sinks, config.overlay, status.count)
        except SourceError:
            raise
        except OSError as error:  # of a sink: wrong from the start, or not to be finished
            if pipeline is None or not pipeline.captured:
                raise
            failures.append(error)
        failures += [OSError(f"{sink.failure}; {sink.lost} records were lost") for sink in sinks if sink.failure]
        seconds = time.monotonic() - started
    report = summarise(metrics, seconds, pipeline.failures)
    if outputs.summary:
        write_summary(report, outputs.summary)
    failures += pipeline.failures.values()
    tell_end(report, failures, console)
    return 128 + signals.ending if signals.ending else int(bool(failures))


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


def prepare(
    config: Config,
    sources: Sequence[Source],
    metrics: Metrics,
    status: Status,
    sinks: Sequence[Enduring],
    signals: Signals,
    read_config: Callable[[], Config] | None,
) -> Pipeline:
    """Build the pipeline; it stops on a signal, or when a window among the sinks was closed, and reloads on SIGHUP."""

    def on_state(stream: str, state: State, reason: str, cause: Cause | None) -> None:
        status.tell(stream, state, reason)
        for sink in sinks:
            sink.write_state(stream, state, reason, cause)

    def on_poll() -> None:
        nonlocal config
        if read_config and signals.take_reload():
            config = reload(pipeline, config, read_config)
        if signals.ending or any(one.sink.closed for one in sinks if isinstance(one.sink, WindowSink)):
            pipeline.stop()

    pipeline = build_pipeline(config, sources, metrics, on_state, on_poll)
    return pipeline


def consume(
    pipeline: Pipeline,
    sinks: Sequence[Enduring],
    overlay: OverlayConfig,
    count: Callable[[Result], None] = lambda result: None,
) -> None:
    """Hand every result to every sink and to `count`; the overlay is drawn once, and only where a sink wants it.

    Raises RuntimeError for a broken promise inside, so that it is not taken for a user's mistake.
    """
    wanted = any(sink.wants_picture for sink in sinks)
    try:
        with pipeline as results:
            for result in results:
                picture = draw(result, details=overlay.bars, maps=overlay.cam) if wanted else None
                for sink in sinks:
                    sink.write(result, picture)
                count(result)
    except (ValueError, ImportError) as error:
        raise RuntimeError(f"a bug, please report it: {error}") from error


def check_outputs(names: Sequence[str], sources: Sequence[Source], outputs: Outputs) -> None:
    """Raise ValueError or OSError where outputs would replace a source or each other, or cannot be written."""
    streams = [source.name for source in sources]
    videos = video_paths(outputs.video, streams).values() if outputs.video else []
    paths = [*videos, *(path for path in (outputs.log, outputs.summary) if path)]
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"expected different files for the outputs, found {', '.join(map(str, paths))}")
    read = [file for pair in zip(names, sources, strict=True) for file in files_of(*pair)]
    check_replaces_none([*paths, *map(unfinished_path, videos)], read, choose="name")
    if outputs.summary:
        check_summary(outputs.summary)


def open_sinks(
    stack: ExitStack,
    config: Config,
    outputs: Outputs,
    names: Sequence[str],
    sources: Sequence[Source],
    metrics: Metrics,
) -> dict[str, Sink]:
    """Open what was asked for, by kind; the log last, as it replaces its file at once."""
    sinks: dict[str, Sink] = {}
    if config.metrics.port:
        stack.callback(metrics.close)
        metrics.describe(streamer.__version__, model_hashes(config))
        metrics.serve(config.metrics.port, config.metrics.address)
    if outputs.window:
        sinks["window"] = stack.enter_context(WindowSink("streamer"))
    if outputs.video:
        sinks["video"] = video = video_sink(outputs.video, sources)
        stack.push(video)
    run_id = uuid.uuid4().hex
    if outputs.events:
        sinks["events"] = stack.enter_context(open_events(outputs.events, config, metrics, run_id))
    if outputs.log:
        manifest = describe(run_id, config, names, sources, outputs.log)
        about = manifest.model_dump(mode="json", include={"version", "config", "models"})
        about["sources"] = {source.name: {"live": source.live} for source in sources}
        sinks["log"] = stack.enter_context(LogSink(outputs.log, about, config.log, run=manifest.run))
        if outputs.log.is_file():  # not beside a pipe or /dev/stdout
            write_manifest(manifest, manifest_path(outputs.log))
    return sinks


def open_events(url: str, config: Config, metrics: Metrics, run_id: str) -> EventSink:
    """Open the way to a message broker. Raises ValueError, OSError or ImportError."""
    name, digest = redact(url), hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    publisher = open_publisher(url)
    spool = config.events.spool or (config.cache or Path.cwd()) / f"events-{digest}.sqlite"
    return EventSink(name, publisher, Spool(spool, config.events.spool_bytes), metrics, run_id)
