"""What is looked at before a request costs any work: how often its client comes, its token, the length of its body.

Runs on the server's thread. Who shows the right token is never held up by who does not, not even from one address.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamer.watching.addresses import origin_of
from streamer.watching.door import Door

LONGEST_BODY = 16_384  # bytes
CLIENTS = 1024  # whose requests are counted
WRONG = 10  # requests that one without the right token counts for
OPEN = ("/health", "/healthz", "/readyz", "/metrics")  # paths that need no token; all but the first say where to ask


class Turnstile:
    """Limit each client to `rate` requests a second, bursts of twice as many (token bucket)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens and when; longest unseen first

    def admit(self, client: str, now: float, cost: float = 1.0) -> bool:
        """Tell whether the client may pass now (monotonic seconds), and count it; cost: requests that it counts for."""
        cost = min(cost, 2 * self.rate)
        tokens, then = self._clients.pop(client, (2 * self.rate, now))
        tokens = min(2 * self.rate, tokens + (now - then) * self.rate)
        self._clients[client] = (tokens - cost if tokens >= cost else tokens, now)
        if len(self._clients) > CLIENTS:
            self._clients.popitem(last=False)
        return tokens >= cost


class Guard:
    """Let requests through to an application, whole: with the token, not too often, and short ones.

    door: is told whose request is one to answer. token: is asked for every path but those in OPEN. requests: the most a
    second of one origin; those with the right token are counted apart from the others.
    """

    def __init__(self, app: ASGIApp, door: Door, *, token: str, requests: float) -> None:
        self._app, self._door = app, door
        self._token = token.encode("utf-8", "surrogateescape")
        self._requests = requests
        self._turnstile = Turnstile(requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        peer, headers = tuple(scope.get("client") or ("", 0)), Headers(scope=scope)
        right = self._shows_token(headers)
        try:
            if refusal := self._refuse(scope["path"], right, peer[0], headers):
                await refusal(scope, receive, send)
            elif (body := await _whole(receive)) is not None:
                if right:
                    self._door.know(peer)
                await self._app(scope, _again(body, receive), send)
        finally:
            self._door.rest(peer)

    def _shows_token(self, headers: Headers) -> bool:
        kind, _, shown = headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and secrets.compare_digest(shown.strip().encode("latin-1"), self._token)

    def _refuse(self, path: str, right: bool, address: str, headers: Headers) -> JSONResponse | None:
        kind = "right" if right else "open" if path in OPEN else "wrong"
        if not self._turnstile.admit(f"{kind} {origin_of(address)}", time.monotonic(), WRONG if kind == "wrong" else 1):
            found = "wrong or missing tokens" if kind == "wrong" else f"more than {self._requests:g} requests a second"
            return _told(429, f"{found}: try again in a second", {"Retry-After": "1"})
        if kind == "wrong":
            return _told(401, "expected the header 'Authorization: Bearer TOKEN'", {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        stated = length.isdecimal() and len(length) < 10 and "transfer-encoding" not in headers
        if not stated or int(length) > LONGEST_BODY:
            return _told(413, f"expected a body of at most {LONGEST_BODY} bytes with its length in the head")
        return None


async def _whole(receive: Receive) -> bytes | None:
    """Read the body, which its length bounds; None where the client leaves, or is shut out for being slow."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read once more, then what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def give() -> Message:
        return messages.pop() if messages else await receive()

    return give


def _told(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Refuse a request, and its connection with it: what else it brings is not read."""
    return JSONResponse({"error": reason}, status, {"Connection": "close", **(headers or {})})
