"""What a run leaves behind: checked before any work is done, then opened, one builder a kind of sink."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.errors import UserError
from streamer.config import Config
from streamer.emotions import EMOTIONS
from streamer.events import Tls, open_publisher
from streamer.events.sink import EventSink
from streamer.events.spool import Spool
from streamer.records.run_manifest import describe, files_of, manifest_path, write_manifest
from streamer.sinks import PerStream, Sink
from streamer.sinks.files import check_replaces_none
from streamer.sinks.log import LogSink
from streamer.sinks.video import VideoSink, unfinished_path, video_paths, video_sink
from streamer.sinks.window import WindowSink
from streamer.sources import Source, redact
from streamer.watching.metrics import Metrics
from streamer.watching.run_summary import check_summary


@dataclass(frozen=True)
class Outputs:
    """Say what a run leaves behind. `SINKS` opens those that are sinks, by the names they have here."""

    video: Path | None = None
    log: Path | None = None
    summary: Path | None = None
    events: str | None = None
    window: bool = False


@dataclass(frozen=True)
class Opening:
    """Hold what sinks are opened with.

    names: of the sources, as the user gave them; run: the id of the run; labels: what faces may be called.
    """

    outputs: Outputs
    config: Config
    names: Sequence[str]
    sources: Sequence[Source]
    metrics: Metrics
    run: str
    labels: Sequence[str]


def check_outputs(
    names: Sequence[str], sources: Sequence[Source], outputs: Outputs, others: Sequence[Path] = ()
) -> None:
    """Raise UserError or OSError where outputs would replace a source or each other, or cannot be written.

    others: files that are written besides.
    """
    streams = [source.name for source in sources]
    videos = video_paths(outputs.video, streams).values() if outputs.video else []
    paths = [*videos, *(path for path in (outputs.log, outputs.summary) if path), *others]
    if len({path.resolve() for path in paths}) < len(paths):
        raise UserError(f"expected different files for the outputs, found {', '.join(map(str, paths))}")
    read = [file for pair in zip(names, sources, strict=True) for file in files_of(*pair)]
    check_replaces_none([*paths, *map(unfinished_path, videos)], read, choose="name")
    if outputs.summary:
        check_summary(outputs.summary)


def open_sinks(
    stack: ExitStack,
    outputs: Outputs,
    config: Config,
    names: Sequence[str],
    sources: Sequence[Source],
    metrics: Metrics,
    labels: Sequence[str] = EMOTIONS,
) -> dict[str, Sink]:
    """Open what was asked for, by kind, in the order of `SINKS`; the stack closes it. labels: what faces may be called.

    Raises UserError or OSError in one line.
    """
    opening = Opening(outputs, config, names, sources, metrics, uuid.uuid4().hex, labels)
    wanted = [kind for kind in SINKS if getattr(outputs, kind)]
    return {kind: stack.enter_context(SINKS[kind](opening)) for kind in wanted}


def _open_window(opening: Opening) -> WindowSink:
    return WindowSink("streamer")


def _open_video(opening: Opening) -> VideoSink | PerStream:
    assert opening.outputs.video
    return video_sink(opening.outputs.video, opening.sources)


def _open_events(opening: Opening) -> EventSink:
    url, config = opening.outputs.events, opening.config
    assert url
    name, digest = redact(url), hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    publisher = open_publisher(url, Tls(config.events.ca, config.events.certificate, config.events.key))
    spool = config.events.spool or (config.cache or Path.cwd()) / f"events-{digest}.sqlite"
    return EventSink(name, publisher, Spool(spool, config.events.spool_bytes), opening.metrics, opening.run)


@contextmanager
def _open_log(opening: Opening) -> Iterator[LogSink]:
    log, config = opening.outputs.log, opening.config
    assert log
    manifest = describe(opening.run, config, opening.names, opening.sources, log)
    about = manifest.model_dump(mode="json", include={"version", "config", "models"})
    about["labels"] = list(opening.labels)
    about["sources"] = {source.name: {"live": source.live} for source in opening.sources}
    with LogSink(log, about, config.log, run=manifest.run) as sink:
        if log.is_file():  # not beside a pipe or /dev/stdout
            write_manifest(manifest, manifest_path(log))
        yield sink


SINKS: dict[str, Callable[[Opening], AbstractContextManager[Sink]]] = {
    "window": _open_window,
    "events": _open_events,  # closed after video and log, as a broker may take its time
    "video": _open_video,
    "log": _open_log,  # the last, as it replaces its file at once
}
