"""A web server on loopback that answers as a handler says, in silence."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Quiet:
    """Be mixed into a handler of requests: a client that leaves early is no error, and nothing is logged."""

    def handle(self) -> None:
        with suppress(OSError):  # the client has seen enough
            super().handle()  # type: ignore[misc]

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def web_server(handler: type[http.server.BaseHTTPRequestHandler], **values: Any) -> Iterator[str]:
    """Serve requests on loopback with a handler whose attributes have these values; yield the address."""
    own: Any = type("OwnHandler", (handler,), values)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), own) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
