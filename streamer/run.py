"""One run from the command line: sources in, sinks out, progress on the terminal, an exit code at the end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

import streamer
from streamer.build import build_pipeline
from streamer.config import Config
from streamer.metrics import Metrics
from streamer.overlay import draw
from streamer.pipeline import Pipeline, unique_names
from streamer.sinks import PerStream, Sink
from streamer.sinks.log import LogSink
from streamer.sinks.video import VideoSink, video_sink
from streamer.sinks.window import WindowSink
from streamer.sources import Source, State, open_source
from streamer.status import Status
from streamer.summary import check_summary, print_summary, summarise, write_summary


@dataclass(frozen=True)
class Outputs:
    """Say what a run leaves behind."""

    video: Path | None = None
    log: Path | None = None
    summary: Path | None = None
    window: bool = False


def run(config: Config, names: Sequence[str], outputs: Outputs) -> int:
    """Analyse the sources to their end; return the exit code.

    Raises ValueError, OSError or ImportError for what is wrong with configuration, models, outputs or a single source.
    """
    console, metrics = Console(stderr=True, highlight=False), Metrics()
    if not console.is_terminal:
        console.width = 120  # a pipe or a log file has no width of its own
    check_outputs(names, outputs)
    sources = [open_source(name, **config.source.model_dump()) for name in names]
    for source, name in zip(sources, unique_names(source.name for source in sources), strict=True):
        source.name = name
    with Status(console, sources) as status, ExitStack() as stack:
        started = time.monotonic()
        pipeline, received = analyse(config, sources, outputs, metrics, status, stack)
        seconds = time.monotonic() - started
    report = summarise(metrics, seconds, pipeline.failures)
    print_summary(report, console)
    if outputs.summary:
        write_summary(report, outputs.summary)
    if len(sources) == 1:
        for failure in pipeline.failures.values():
            console.print(f"streamer: {failure}", style="yellow", markup=False, soft_wrap=True)
    return 128 + received[0] if received else int(bool(pipeline.failures))


def analyse(
    config: Config, sources: Sequence[Source], outputs: Outputs, metrics: Metrics, status: Status, stack: ExitStack
) -> tuple[Pipeline, list[int]]:
    """Run the pipeline into the sinks, which the stack closes; return it and the signals that ended it."""
    sinks: list[Sink] = []

    def on_state(stream: str, state: State, reason: str) -> None:
        status.tell(stream, state, reason)
        for sink in sinks:
            if isinstance(sink, LogSink):
                sink.write_state(stream, state, reason)

    def on_poll() -> None:
        if any(sink.closed for sink in sinks if isinstance(sink, WindowSink)):
            pipeline.stop()

    pipeline = build_pipeline(config, sources, metrics, on_state, on_poll)
    open_sinks(sinks, stack, config, outputs, sources)
    wanted = any(sink.wants_picture for sink in sinks)
    if config.metrics.port:
        stack.callback(metrics.close)
        metrics.serve(config.metrics.port, config.metrics.address)
    with ending_signals(pipeline) as received, pipeline as results:
        for result in results:
            picture = draw(result, details=config.bars) if wanted else None  # once, for all sinks
            for sink in sinks:
                sink.write(result, picture)
            status.count(result)
    return pipeline, received


def check_outputs(names: Sequence[str], outputs: Outputs) -> None:
    """Raise ValueError or OSError where an output would replace a source or cannot be written."""
    for output in (outputs.video, outputs.log, outputs.summary):
        for name in names:
            if output and output.exists() and Path(name).exists() and output.samefile(name):
                raise ValueError(f"{output}: is a source too, and would be replaced: choose another name")
    if outputs.summary:
        check_summary(outputs.summary)


def open_sinks(
    sinks: list[Sink], stack: ExitStack, config: Config, outputs: Outputs, sources: Sequence[Source]
) -> None:
    """Open what was asked for; the log last, as it replaces its file at once."""
    if outputs.window:
        sinks.append(stack.enter_context(WindowSink("streamer")))
    if outputs.video:
        video: VideoSink | PerStream = stack.enter_context(video_sink(outputs.video, sources))
        sinks.append(video)
    if outputs.log:
        about = {
            "version": streamer.__version__,
            "config": config.model_dump(mode="json"),
            "sources": {source.name: {"live": source.live} for source in sources},
        }
        sinks.append(stack.enter_context(LogSink(outputs.log, about)))


@contextmanager
def ending_signals(pipeline: Pipeline) -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM stop the pipeline, which drains; the second one kills. Yields the signals received."""
    received: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        if received:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.append(number)
        pipeline.stop()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
