"""The control API of `streamer serve`: list, add and remove streams over HTTP. What may ask is the guard's (`guard`).

Runs on the server's thread; whatever touches the pipeline is asked of the pipeline's own thread through `Desk`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as AnyHTTPException

from engines.errors import UserError, described
from streamer.service.guard import OPEN

Answer = TypeVar("Answer")

DEADLINE = 5.0  # seconds for an answer of the pipeline's thread


class Refused(Exception):
    """Tell a client why a request is not carried out, with the HTTP status that says so."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Wish(BaseModel):
    """Ask for a stream: what `streamer run` takes as a source, and the name it shall have (one is made otherwise)."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(min_length=1, max_length=2000)
    name: str | None = Field(default=None, pattern=r"^[\w.:-]{1,64}$")


class Stream(BaseModel):
    """Describe a stream as it is now. reason: why it is in that state; latency_ms: p50, p95, p99, capture to result."""

    name: str
    live: bool
    state: str
    reason: str
    leaving: bool
    frames: int
    dropped: int
    results: int
    latency_ms: dict[str, float]


class Health(BaseModel):
    """Describe the whole. load: busy share of the busiest stage; shed: what is left out to keep the latency."""

    streams: int
    load: float
    shed: str


class Board(Protocol):
    """Say what the API can do; every method is called on the pipeline's thread and may raise `Refused`."""

    def list(self) -> list[Stream]:
        """Return all streams."""
        ...

    def add(self, wish: Wish) -> Stream:
        """Start a stream."""
        ...

    def remove(self, name: str) -> None:
        """End a stream."""
        ...

    def health(self) -> Health:
        """Return the state of the whole."""
        ...


class Desk:
    """Run functions of other threads in one thread."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()

    def ask(self, function: Callable[[], Answer]) -> Future[Answer]:
        """Have a function called by whoever calls `work`; its return or exception is the future's."""
        future: Future[Answer] = Future()
        self._asked.put((future, function))
        return future

    def work(self) -> None:
        """Call what was asked for since the last time."""
        with suppress(Empty):
            while True:
                future, function = self._asked.get_nowait()
                if not future.set_running_or_notify_cancel():
                    continue
                try:
                    future.set_result(function())
                except (Refused, UserError, OSError) as error:
                    future.set_exception(error)


def create_app(board: Board, desk: Desk) -> FastAPI:
    """Build the HTTP API, for which a `Guard` answers."""
    app = FastAPI(title="streamer", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return _told(error.status, str(error), {"Retry-After": "10"} if error.status == 503 else None)

    @app.exception_handler(AnyHTTPException)
    async def failed(request: Request, error: AnyHTTPException) -> Response:
        return _told(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        return _told(422, "; ".join(_describe(problem) for problem in error.errors()))

    @app.get("/health")
    async def health() -> Health:
        return await _ask(desk, board.health)

    @app.get("/streams")
    async def list_streams() -> list[Stream]:
        return await _ask(desk, board.list)

    @app.get("/streams/{name:path}")
    async def one_stream(name: str) -> Stream:
        for stream in await _ask(desk, board.list):
            if stream.name == name:
                return stream
        raise Refused(404, f"no stream '{name}'")

    @app.post("/streams", status_code=201)
    async def add_stream(wish: Wish) -> Stream:
        return await _ask(desk, lambda: board.add(wish))

    @app.delete("/streams/{name:path}", status_code=202)
    async def remove_stream(name: str) -> dict[str, str]:
        await _ask(desk, lambda: board.remove(name))
        return {"leaving": name}

    for path in set(OPEN) - {"/health"}:
        app.add_api_route(path, _elsewhere)

    return app


async def _elsewhere() -> Response:
    raise Refused(404, "health and metrics have a listener of their own: ask the port of metrics.port")


async def _ask(desk: Desk, function: Callable[[], Answer]) -> Answer:
    """Wait for the pipeline's thread. Raises Refused where it does not answer in time, or the request is wrong."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(desk.ask(function)), DEADLINE)
    except TimeoutError as error:
        raise Refused(503, f"no answer within {DEADLINE:.0f} s: the analyzer is busy or ends") from error
    except (UserError, OSError) as error:
        raise Refused(422, " ".join(str(error).split())) from error


def _told(status: int, reason: str, headers: Any = None) -> Response:
    return JSONResponse({"error": reason}, status, headers)


def _describe(problem: Any) -> str:
    if problem["type"] == "json_invalid":
        return f"expected JSON: {problem['ctx']['error'].lower()} at character {problem['loc'][-1]}"
    return described(problem, skip=1)
