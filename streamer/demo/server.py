"""One server behind one port: the page, and the live websocket beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from streamer.config import Config
from streamer.demo.live import LiveRoom
from streamer.demo.page import EXAMPLES, build_page
from streamer.demo.socket import MOST_BYTES, Visit
from streamer.demo.studio import OFTEN, Studio
from streamer.service.server import open_port, serve_behind
from streamer.watching.addresses import place_of
from streamer.watching.door import Door

log = logging.getLogger(__name__)

SEATS = 8  # browsers live at a time
LARGEST_UPLOAD = "200mb"
CONNECTIONS = 512  # at once, see `Door`
QUEUE = 32  # uploads that wait; more are told to come back


def build_app(config: Config, photos: Config, *, seats: int = SEATS, auth: tuple[str, str] | None = None) -> FastAPI:
    """Load the engines and return the application; its lifespan runs the live room and deletes old results.

    auth: name and password that the page asks for. Raises UserError or OSError with one line.
    """
    maps = config.overlay.model_copy(update={"cam": True})
    room = LiveRoom(config.model_copy(update={"overlay": maps}), seats)
    studio = Studio(config, photos)
    token = secrets.token_urlsafe(24)  # in the page, so known only to those whom it was shown to

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        room.start()
        tidying = asyncio.create_task(_tidy(studio))
        try:
            yield
        finally:
            tidying.cancel()
            room.close()
            studio.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        if not secrets.compare_digest(socket.query_params.get("token", "").encode(), token.encode()):
            await socket.close(code=1008)
            return
        await socket.accept()
        await Visit(room, socket).serve()

    page = build_page(studio, token).queue(max_size=QUEUE)
    app.state.token, app.state.studio = token, studio
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        auth=auth,
        allowed_paths=[str(EXAMPLES)],
        max_file_size=LARGEST_UPLOAD,
        show_error=True,
        ssr_mode=False,
        footer_links=[],
        theme=gr.themes.Soft(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )
    return app


async def _tidy(studio: Studio) -> None:
    while True:
        await asyncio.sleep(OFTEN)
        await asyncio.to_thread(studio.delete_old)


class Unhurried:
    """Wrap the application (ASGI): once a request's head is there, it may take its time, as uploads and events do."""

    def __init__(self, app: Any, door: Door) -> None:
        # what a proxy says of a client is for the application: the door knows connections by their own addresses
        self._app: Any = ProxyHeadersMiddleware(app, os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"))
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or websocket."""
        peer = tuple(scope.get("client") or ("", 0))
        self._door.know(peer, hurried=False)
        try:
            await self._app(scope, receive, send)
        finally:
            self._door.rest(peer)


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve until a signal comes. Raises OSError where the port cannot be opened."""
    try:
        opened = open_port(host, port)
    except OSError as error:
        raise OSError(f"{place_of(host, port)} cannot be opened ({error.strerror}): choose another --port") from error
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host
    print(f"open http://{place_of(shown, port)} in a browser", flush=True)
    door = Door(most=CONNECTIONS, each=CONNECTIONS)  # behind a proxy all come from one address
    config = uvicorn.Config(
        Unhurried(app, door),
        log_level="error",
        proxy_headers=False,
        ws_max_size=MOST_BYTES,
        timeout_graceful_shutdown=3,
    )
    with opened, suppress(KeyboardInterrupt):
        asyncio.run(serve_behind(door, uvicorn.Server(config), opened))
