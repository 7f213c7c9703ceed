"""The streams of a service: added, removed, described, and kept over restarts. In the pipeline's thread."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from threading import Event
from typing import Any

from engines.errors import UserError
from streamer.config import Config
from streamer.pipeline import Pipeline
from streamer.service.control import Health, Refused, Stream, Wish
from streamer.service.kept import Kept
from streamer.sources import Report, Source, SourceError, State, open_source, unique_names
from streamer.types import Frame, Step
from streamer.watching.metrics import Quantiles

log = logging.getLogger(__name__)

MEASURED_AFTER = 3.0  # seconds from a stream's first frame on; the load is smoothed over about 2 s
LISTED = 4  # times `serve.streams` that may be listed: ended streams keep their figures until they are removed
UNMEASURED = 4  # streams that may run before the load of any is known


def waiting(config: Config) -> dict[str, Any]:
    """Return the settings of sources; a service waits for a camera that is not there."""
    return {**config.source.model_dump(), "patient": True}


def open_waiting(text: str, config: Config) -> Source:
    """Return the source that a client's text names. Raises Refused where it is a file and must not be, or OSError."""
    if not config.serve.files and not re.match(r"\w+://|(/dev/video)?[0-9]+\Z", text):
        raise Refused(422, "expected a URL or a webcam's number; files of this machine need serve.files=true")
    return open_source(text, **waiting(config))


def reopen(name: str, text: str, config: Config) -> Source:
    """Return a stream that was kept, or one that fails where its source is none any more."""
    try:
        source = open_waiting(text, config)
    except (Refused, UserError, OSError) as error:
        return Gone(name, f"{name}: {error}")
    source.name = name
    return source


class Gone:
    """Be a stream that came back and can no longer be opened: it fails, and stays in the list until it is removed."""

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.live = name, True
        self.fps: float | None = None
        self.total: int | None = None
        self._reason = reason

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Raise SourceError."""
        raise SourceError(self._reason)


class Streams:
    """Carry out the requests of the API on a pipeline; in its thread.

    kept: the file of the streams that were added over the API; added: those that came back, sources by name.
    """

    def __init__(
        self, config: Config, pipeline: Pipeline, kept: Kept | None = None, added: Mapping[str, str] | None = None
    ) -> None:
        self.config = config
        self._pipeline = pipeline
        self._kept = kept
        self._added = dict(added or {})

    def list(self) -> list[Stream]:
        """Return all streams, ended ones too until they are removed."""
        return [self._describe(name) for name in self._pipeline.captures]

    def add(self, wish: Wish) -> Stream:
        """Start a stream where there is room. Raises Refused, or UserError or OSError where the source is none."""
        taken = self._pipeline.captures
        if wish.name in taken:
            raise Refused(409, f"a stream is named '{wish.name}': choose another name, or remove that one first")
        source = open_waiting(wish.source, self.config)
        self._admit()
        source.name = wish.name or unique_names([*taken, source.name])[-1]
        added = {**self._added, source.name: wish.source}
        self._write(added)
        self._added = added
        self._pipeline.add(source)
        log.info("added %s", source.name)
        return self._describe(source.name)

    def remove(self, name: str) -> None:
        """End a stream; it leaves the list when its last result is out. Raises Refused where there is none."""
        if name not in self._pipeline.captures:
            raise Refused(404, f"no stream '{name}'")
        self._pipeline.remove(name)
        log.info("removed %s", name)
        if self._added.pop(name, None):
            self._write(self._added)

    def tidy(self) -> None:
        """Keep no stream that has come to its end: it would begin again after a restart."""
        over = [name for name in self._added if self._has_ended(name)]
        for name in over:
            del self._added[name]
        if over:
            try:
                self._write(self._added)
            except Refused as error:
                log.warning("%s", error)

    def _has_ended(self, name: str) -> bool:
        """Tell whether a stream ended by itself; at the end of the service all are stopped."""
        capture = self._pipeline.captures.get(name)
        return capture is not None and not capture.stop.is_set() and self._pipeline.state(name) is State.ENDED

    def _write(self, added: Mapping[str, str]) -> None:
        """Write down which streams shall come back. Raises Refused."""
        try:
            if self._kept:
                self._kept.write(added)
        except OSError as error:
            raise Refused(503, f"after a restart other streams would be here: {error}") from error

    def health(self) -> Health:
        """Return number of streams, load and what is left out."""
        ladder = self._pipeline.ladder
        return Health(streams=len(self._pipeline.captures), load=round(ladder.load, 3), shed=ladder.step.words)

    def _admit(self) -> None:
        """Raise Refused where one more stream like those that run would be too much."""
        ladder, limits = self._pipeline.ladder, self.config.serve
        if (listed := len(self._pipeline.captures)) >= LISTED * limits.streams:
            raise Refused(503, f"{listed} streams are listed, ended ones too: remove those by DELETE /streams/NAME")
        over, state = (State.ENDED, State.FAILED), self._pipeline.state
        running = [name for name in self._pipeline.captures if state(name) not in over]
        if len(running) >= limits.streams:
            raise Refused(503, f"{len(running)} streams run, serve.streams allows no more")
        measured = sum(map(self._is_measured, running))
        begun = sum(state(name) is not State.RETRYING for name in running)  # a camera that is not there takes nothing
        if not measured and begun >= UNMEASURED:
            raise Refused(503, f"{begun} streams have just begun: what they take is not measured yet")
        expected = ladder.load * (len(running) + 1) / max(measured, 1)
        if expected > limits.load or ladder.step >= Step.CLASSIFICATIONS:
            raise Refused(503, f"load {ladder.load:.2f} with {measured} streams, serve.load allows {limits.load:g}")

    def _is_measured(self, name: str) -> bool:
        """Tell whether the load holds what a stream takes."""
        live, began = self._pipeline.state(name) is State.LIVE, self._pipeline.captures[name].first_frame_at
        return live and began is not None and time.monotonic() - began >= MEASURED_AFTER

    def _describe(self, name: str) -> Stream:
        capture, known = self._pipeline.captures[name], self._pipeline.states.get(name)
        latency = self._pipeline.metrics.quantiles.get(name, Quantiles())
        return Stream(
            name=name,
            live=capture.source.live,
            state=self._pipeline.state(name),
            reason=known.reason if known else "",
            leaving=capture.stop.is_set(),
            frames=capture.captured,
            dropped=capture.dropped,
            results=latency.count,
            latency_ms={f"p{share}": round(1000 * latency.at(share / 100), 1) for share in (50, 95, 99)},
        )
