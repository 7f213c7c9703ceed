"""`streamer serve`: the analyzer as a service whose streams come and go, controlled over HTTP (`service.control`).

The pipeline runs in the caller's thread, the server of the API in one of its own, health and metrics in another.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from rich.console import Console

from engines.errors import UserError
from streamer.config import Config, ServeConfig
from streamer.service.control import Desk, create_app
from streamer.service.guard import Guard
from streamer.service.kept import Kept
from streamer.service.server import listen, serving
from streamer.service.signals import noted_signals
from streamer.service.streams import Streams, reopen, waiting
from streamer.session import Session
from streamer.sinks.outputs import Outputs, check_outputs
from streamer.sources import Source, open_sources
from streamer.watching.addresses import place_of
from streamer.watching.door import Door
from streamer.watching.terminal import Lines

log = logging.getLogger(__name__)


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
    known, door = token or secrets.token_urlsafe(24), Door()
    sources = open_sources(names, **waiting(config))

    def turn() -> None:
        desk.work()
        board.tidy()

    with noted_signals(reloads=read_config is not None) as signals, ExitStack() as stack:
        kept = stack.enter_context(Kept(config.serve.state)) if config.serve.state else None
        back = _come_back(kept.read(), sources) if kept else {}
        sources += [reopen(name, text, config) for name, text in back.items()]
        names = [*names, *back.values()]
        check_outputs(names, sources, outputs, [kept.path] if kept else [])
        if kept:
            kept.write(back)
        listening = stack.enter_context(listen(config.serve))
        session = Session(config, sources, terminal, signals, read_config, on_poll=turn, keep_open=True)
        board = Streams(config, session.pipeline, kept, back)
        health = session.watch(stack, _health_port(config))
        session.open(stack, names, outputs)
        app = Guard(create_app(board, desk), door, token=known, requests=config.serve.requests)
        stack.enter_context(serving(app, listening, door))
        place = f"http://{place_of(config.serve.address, listening.getsockname()[1])}/streams"
        terminal.say(f"health and metrics on http://{health.place}")
        terminal.say(f"control API on {place}" + ("" if token else f", token {known}"))
        session.consume()
    for failure in session.failures:
        terminal.say(f"streamer: {failure}")
    return session.exit_code


def _health_port(config: Config) -> int:
    """Return the port for health and metrics: unless said, the one after that of the API."""
    if config.metrics.port is not None:
        return config.metrics.port
    return config.serve.port + 1 if 0 < config.serve.port < 65535 else 0


def _come_back(kept: Mapping[str, str], sources: Sequence[Source]) -> dict[str, str]:
    """Return the kept streams that come back beside those of the command line, which go first where names meet."""
    given = {source.name for source in sources}
    for name in given & kept.keys():
        log.warning("serve.state: '%s' is left out: a stream of the command line has that name", name)
    return {name: text for name, text in kept.items() if name not in given}


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
