"""`streamer serve`: the analyzer as a service whose streams come and go, controlled over HTTP (`service.control`).

The pipeline runs in the caller's thread, the server in one of its own.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Thread

import uvicorn
from fastapi import FastAPI
from rich.console import Console

import streamer
from engines.errors import UserError
from streamer.config import Config, ServeConfig
from streamer.pipeline import Pipeline
from streamer.records.run_manifest import model_hashes
from streamer.service.control import Desk, Health, Refused, Stream, Wish, create_app
from streamer.service.signals import noted_signals
from streamer.session import Session
from streamer.sinks.outputs import Outputs, check_outputs
from streamer.sources import State, open_source, open_sources, unique_names
from streamer.types import Step
from streamer.watching.addresses import family_of, place_of
from streamer.watching.metrics import Quantiles
from streamer.watching.terminal import Lines

log = logging.getLogger(__name__)

CONNECTIONS = 64  # at once; more are refused with 503
JOIN_TIMEOUT = 10.0  # seconds
MEASURED_AFTER = 3.0  # seconds from a stream's first frame on; the load is smoothed over about 2 s
LISTED = 4  # times `serve.streams` that may be listed: ended streams keep their figures until they are removed
UNMEASURED = 4  # streams that may run before the load of any is known


class Streams:
    """Carry out the requests of the API on a pipeline; in its thread."""

    def __init__(self, config: Config, pipeline: Pipeline) -> None:
        self.config = config
        self._pipeline = pipeline

    def list(self) -> list[Stream]:
        """Return all streams, ended ones too until they are removed."""
        return [self._describe(name) for name in self._pipeline.captures]

    def add(self, wish: Wish) -> Stream:
        """Start a stream where there is room. Raises Refused, or UserError or OSError where the source is none."""
        if not self.config.serve.files and not re.match(r"\w+://|(/dev/video)?[0-9]+\Z", wish.source):
            raise Refused(422, "expected a URL or a webcam's number; files of this machine need serve.files=true")
        taken = self._pipeline.captures
        if wish.name in taken:
            raise Refused(409, f"a stream is named '{wish.name}': choose another name, or remove that one first")
        self._admit()
        source = open_source(wish.source, **self.config.source.model_dump())
        source.name = wish.name or unique_names([*taken, source.name])[-1]
        self._pipeline.add(source)
        log.info("added %s", source.name)
        return self._describe(source.name)

    def remove(self, name: str) -> None:
        """End a stream; it leaves the list when its last result is out. Raises Refused where there is none."""
        if name not in self._pipeline.captures:
            raise Refused(404, f"no stream '{name}'")
        self._pipeline.remove(name)
        log.info("removed %s", name)

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
        if not measured and len(running) >= UNMEASURED:
            raise Refused(503, f"{len(running)} streams have just begun: what they take is not measured yet")
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


def serve(
    config: Config,
    names: Sequence[str],
    outputs: Outputs,
    token: str | None,
    read_config: Callable[[], Config] | None = None,
) -> int:
    """Analyse streams that come and go until a signal; return the exit code.

    read_config: see `streamer.commands.run.run`. outputs: log and events.

    Raises UserError or OSError for what is wrong with configuration, models, port or sources.
    """
    desk, terminal = Desk(), Lines(Console(stderr=True, highlight=False, markup=False))
    check_reach(config.serve, token)
    known = token or secrets.token_urlsafe(24)
    sources = open_sources(names, **config.source.model_dump())
    check_outputs(names, sources, outputs)
    with noted_signals(reloads=read_config is not None) as signals, ExitStack() as stack:
        listening = stack.enter_context(listen(config.serve))
        session = Session(config, sources, terminal, signals, read_config, on_poll=desk.work, keep_open=True)
        session.metrics.describe(streamer.__version__, model_hashes(config))
        session.open(stack, names, outputs)
        board = Streams(config, session.pipeline)
        app = create_app(board, desk, session.pipeline, token=known, requests=config.serve.requests)
        stack.enter_context(serving(app, listening))
        place = f"http://{place_of(config.serve.address, listening.getsockname()[1])}/streams"
        terminal.say(f"control API on {place}" + ("" if token else f", token {known}"))
        session.consume()
    for failure in session.failures:
        terminal.say(f"streamer: {failure}")
    return session.exit_code


def check_reach(config: ServeConfig, token: str | None) -> None:
    """Raise UserError where the API would be open to the network with a generated token."""
    try:
        local = config.address == "localhost" or ipaddress.ip_address(config.address).is_loopback
    except ValueError as error:
        raise UserError(f"serve.address: expected an IP address or localhost, found '{config.address}'") from error
    if not local and not token:
        raise UserError(f"serve.address {config.address} is open to the network: give a token with --token")
    if token is not None and len(token) < 8:
        raise UserError("--token: expected at least 8 characters")


@contextmanager
def listen(config: ServeConfig) -> Iterator[socket.socket]:
    """Open the port. Raises OSError in one line where it cannot be opened."""
    try:
        opened = socket.create_server((config.address, config.port), family=family_of(config.address))
    except OSError as error:
        place = place_of(config.address, config.port)
        raise OSError(f"serve.port: {place} cannot be opened ({error.strerror}); choose another port") from error
    with opened:
        yield opened


@contextmanager
def serving(app: FastAPI, opened: socket.socket) -> Iterator[None]:
    """Answer requests on a thread of its own."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, limit_concurrency=CONNECTIONS, timeout_keep_alive=5,
            timeout_graceful_shutdown=2, lifespan="off",
        )
    )  # fmt: skip
    thread = Thread(target=server.run, kwargs={"sockets": [opened]}, name="control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(JOIN_TIMEOUT)
