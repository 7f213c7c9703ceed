"""What `streamer serve` has around its pipeline: the API behind its guard and door, and health beside it."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from streamer.config import Config
from streamer.pipeline import Pipeline
from streamer.service.control import Desk, create_app
from streamer.service.guard import Guard
from streamer.service.server import listen, serving
from streamer.service.streams import Streams
from streamer.watching.door import Door
from streamer.watching.health import HealthServer

TOKEN = "long-enough-token"


@dataclass
class Served:
    """Hold where API and health of a pipeline are asked."""

    pipeline: Pipeline
    door: Door
    port: int
    health: HealthServer

    def ask(self) -> int:
        """Ask for the streams, with the token, on a connection of its own; return the status."""
        return status(self.port, "/streams", {"Authorization": f"Bearer {TOKEN}"})

    def seconds(self, path: str = "/healthz") -> float:
        """Return how long health took to say that all is well."""
        began = time.monotonic()
        assert status(self.health.port, path) == 200
        return time.monotonic() - began


def status(port: int, path: str, headers: Mapping[str, str] | None = None) -> int:
    """Ask on a connection of its own. Raises OSError or HTTPException where there is no answer within 10 s."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path, headers=dict(headers or {}))
        return connection.getresponse().status


@contextmanager
def served(pipeline: Pipeline, desk: Desk, door: Door, requests: int = 20) -> Iterator[Served]:
    """Serve a pipeline whose loop calls `desk.work`; what a client does not take soon fills its connection."""
    config = Config(serve={"port": 0, "files": True})
    with ExitStack() as stack:
        opened = stack.enter_context(listen(config.serve))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        app = Guard(create_app(Streams(config, pipeline), desk), door, token=TOKEN, requests=requests)
        stack.enter_context(serving(app, opened, door))
        health = stack.enter_context(HealthServer(pipeline, 0, "127.0.0.1"))
        yield Served(pipeline, door, opened.getsockname()[1], health)
