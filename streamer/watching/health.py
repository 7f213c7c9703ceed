"""Whether a run is alive and ready, as `/healthz` and `/readyz` tell it, and the small server beside `/metrics`.

The server has a listener of its own, which nothing that is done to another starves; its daemon threads only read.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from streamer.closing import Closing
from streamer.pipeline import Pipeline, SourceState
from streamer.sources import State
from streamer.watching.addresses import family_of, place_of
from streamer.watching.door import Door

log = logging.getLogger(__name__)

SILENT_FOR = 10.0  # s without a turn of the caller's loop after which the run counts as hung

Answer = tuple[bool, dict[str, Any]]
"""Whether all is well, and the details as JSON values."""


def check_alive(pipeline: Pipeline, now: float | None = None) -> Answer:
    """Tell whether the caller's loop turns, and what every source does; now: monotonic seconds.

    It stops turning where a stage, a sink or the disk hangs. A lost source is no reason to restart the program.
    """
    now = time.monotonic() if now is None else now
    silent = 0.0 if pipeline.turned_at is None else now - pipeline.turned_at
    states = dict(pipeline.states)  # a copy: streams come and go meanwhile
    sources = {stream: _told(one) for stream, one in states.items()}
    return silent < SILENT_FOR, {"silent_seconds": round(silent, 1), "sources": sources}


def check_ready(pipeline: Pipeline, now: float | None = None) -> Answer:
    """Tell whether the run is alive and has a live source, or none as yet, and what every source does."""
    alive, details = check_alive(pipeline, now)
    states = [source["state"] for source in details["sources"].values()]
    return alive and pipeline.turned_at is not None and (not states or State.LIVE in states), details


def _told(source: SourceState) -> dict[str, Any]:
    cause = source.cause and source.cause.value
    return {"state": str(source.state), "reason": source.reason, "cause": cause, "since": round(source.since, 3)}


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128  # connections that wait to be taken

    door: Door

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Let a connection in; shut, it reads as one whose client has left."""
        self.door.enter(client_address[:2], partial(_shut, request))
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread of its own."""
        try:
            super().finish_request(request, client_address)
        finally:
            self.door.leave(client_address[:2])

    def service_actions(self) -> None:
        """Shut what takes too long; called several times a second."""
        self.door.sweep()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing where a client left early."""
        if isinstance(sys.exception(), OSError):
            log.debug("%s left early", client_address)
        else:
            super().handle_error(request, client_address)


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    server: _Server

    def parse_request(self) -> bool:
        """Read the head; who has sent one is answered, however many others come."""
        whole = super().parse_request()
        if whole:
            self.server.door.know(self.client_address[:2])
        return whole

    def log_message(self, format: str, *args: object) -> None:
        """Write no line a request."""


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


class HealthServer(Closing):
    """Answer `GET /metrics`, `/healthz` and `/readyz` (503 where not well) until `close`, on a daemon thread a client.

    Clients that are many, silent or slow do not keep it from answering, see `Door`. port: 0 takes any free one, which
    is then `port`. Raises OSError where it cannot be opened.
    """

    def __init__(self, pipeline: Pipeline, port: int, address: str) -> None:
        self._pipeline = pipeline
        self._scrape = make_wsgi_app(pipeline.metrics.registry)
        kind = _Server6 if family_of(address) is socket.AF_INET6 else _Server
        try:
            self._server = make_server(address, port, self._answer, kind, _Handler)
        except OSError as error:
            raise OSError(
                f"metrics.port: {place_of(address, port)} cannot be opened ({error.strerror}); choose another port"
            ) from error
        self._server.door = self.door = Door(most=32, each=16, seconds=5.0)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()
        self.place = place_of(address, self.port)
        log.info("health and metrics on http://%s", self.place)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.door.close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        checks = {"/healthz": check_alive, "/readyz": check_ready}
        path = environ["PATH_INFO"]
        if path == "/metrics":
            scraped: Iterable[bytes] = self._scrape(environ, start_response)
            return scraped
        if path not in checks:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"expected /metrics, /healthz or /readyz\n"]
        well, details = checks[path](self._pipeline)
        start_response("200 OK" if well else "503 Service Unavailable", [("Content-Type", "application/json")])
        return [json.dumps({"ok": well, **details}).encode() + b"\n"]
