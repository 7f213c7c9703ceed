"""The listener of the control API: uvicorn on a thread of its own, behind a `Door`."""

from __future__ import annotations

import asyncio
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

LONGEST_HEAD = 16_384  # bytes of request line and headers
BACKLOG = 128  # connections that wait to be taken
SWEEP = 0.5  # seconds between looks for what takes too long
JOIN_TIMEOUT = 10.0  # seconds


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
def serving(app: ASGIApp, opened: socket.socket, door: Door) -> Iterator[None]:
    """Answer requests on a thread of its own."""
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=_at(door), ws="none", lifespan="off", proxy_headers=False, backlog=BACKLOG,
            h11_max_incomplete_event_size=LONGEST_HEAD, timeout_keep_alive=5, timeout_graceful_shutdown=2,
            log_config=None, log_level="error", access_log=False,
        )
    )  # fmt: skip
    thread = Thread(target=lambda: asyncio.run(_serve(server, opened, door)), name="control", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(JOIN_TIMEOUT)


async def _serve(server: uvicorn.Server, opened: socket.socket, door: Door) -> None:
    async def sweep() -> None:
        while True:
            await asyncio.sleep(SWEEP)
            door.sweep()

    sweeping = asyncio.create_task(sweep())
    await server.serve(sockets=[opened])
    sweeping.cancel()


def _at(door: Door) -> type[H11Protocol]:
    """Return uvicorn's protocol for HTTP, whose connections come in through a door."""

    class Protocol(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self.client is None:  # it has left already
                transport.abort()
            else:
                door.enter(self.client, transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client is not None:
                door.leave(self.client)
            super().connection_lost(exc)

    return Protocol
