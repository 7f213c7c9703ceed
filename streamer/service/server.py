"""A listener for uvicorn, behind a `Door`, and the control API on a thread of its own with one."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamer.config import ServeConfig
from streamer.watching.addresses import family_of, place_of
from streamer.watching.door import Door

log = logging.getLogger(__name__)

LONGEST_HEAD = 16_384  # bytes of request line and headers
BACKLOG = 1024  # connections that wait to be taken
PACE = 0.002  # seconds between two that are taken: bounds what a flood costs, and lets each say what it wants
AGAIN = 1.0  # seconds until the next try where no more can be opened
SWEEP = 0.5  # seconds between looks for what takes too long
JOIN_TIMEOUT = 10.0  # seconds


@contextmanager
def listen(config: ServeConfig) -> Iterator[socket.socket]:
    """Open the port of the control API. Raises OSError in one line where it cannot be opened."""
    try:
        opened = open_port(config.address, config.port)
    except OSError as error:
        place = place_of(config.address, config.port)
        raise OSError(f"serve.port: {place} cannot be opened ({error.strerror}); choose another port") from error
    with opened:
        yield opened


def open_port(address: str, port: int) -> socket.socket:
    """Listen on an IPv4 or IPv6 address or a host's name. Raises OSError."""
    return socket.create_server((address, port), family=family_of(address), backlog=BACKLOG)


@contextmanager
def serving(app: ASGIApp, opened: socket.socket, door: Door) -> Iterator[None]:
    """Answer requests on a thread of its own."""
    config = uvicorn.Config(
        app, ws="none", lifespan="off", proxy_headers=False, log_config=None, log_level="error", access_log=False,
        h11_max_incomplete_event_size=LONGEST_HEAD, timeout_keep_alive=5, timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = Thread(target=lambda: asyncio.run(serve_behind(door, server, opened)), name="control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(JOIN_TIMEOUT)


async def serve_behind(door: Door, server: uvicorn.Server, opened: socket.socket) -> None:
    """Serve until the server shall exit; its connections come in by the door."""
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(_take(server, opened, door)), group.create_task(_sweep(door))]
        await server.serve(sockets=[])  # it takes none itself
        for task in beside:
            task.cancel()


async def _sweep(door: Door) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        door.sweep()


async def _take(server: uvicorn.Server, opened: socket.socket, door: Door) -> None:
    """Take one connection after another; each is read before so many others are taken that it had to go."""
    loop = asyncio.get_running_loop()
    opened.setblocking(False)
    while not server.started:
        await asyncio.sleep(PACE)
    while True:
        try:
            connection, _ = await loop.sock_accept(opened)
            await loop.connect_accepted_socket(lambda: _Protocol(server, door), connection)
        except ConnectionError:
            pass  # it has left already
        except OSError as error:
            log.warning("no connection can be taken: %s", error.strerror)
            await asyncio.sleep(AGAIN)
        await asyncio.sleep(PACE)


class _Protocol(H11Protocol):
    """Speak HTTP on a connection that comes in by a door."""

    def __init__(self, server: uvicorn.Server, door: Door) -> None:
        super().__init__(server.config, server.server_state, server.lifespan.state)
        self._door = door

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if self.client is None:  # it has left already
            transport.abort()
        else:
            self._door.enter(self.client, transport.abort)

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Leave the door: from here on the application says how long it may stay."""
        if self.client is not None:
            self._door.leave(self.client)
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client is not None:
            self._door.leave(self.client)
        super().connection_lost(exc)
