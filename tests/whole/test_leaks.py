"""Ten thousand URLs, a thousand answers of servers: none ends the program, and no credential is shown.

FUZZ=10 in the environment makes ten times as many.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from contextlib import suppress

import pytest

from engines.errors import UserError
from streamer.events import open_publisher
from streamer.sources import SourceError, open_source, redact
from streamer.sources.network import explain

TIMES = int(os.environ.get("FUZZ", "1"))
URLS, HEADS = 10_000 * TIMES, 1_000 * TIMES
SECRET = "Qz7secret"
SIGNS = "@:/?#&=%;,+ []!$'()*~^|\\\"<>{}`.-_éß日\t"
SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "RTSP", "ftp", "kafka", "mqtt", "mqtts", "x", "")
KEYS = ("password", "jwt", "hmac", "token", "k", "x", "sasl.password", "access_token", "X-Amz-Signature", "user", "")
HOSTS = ("camera", "10.0.0.7", "[::1]", "[fe80::1%25eth0]", "a.b.example", "kamera-ä", "")
PORTS = ("", ":554", ":0", ":99999", ":x", ":")

pytestmark = pytest.mark.slow


def noise(chance: random.Random, most: int) -> str:
    return "".join(chance.choice(SIGNS + "abc019") for _ in range(chance.randint(0, most)))


def with_secret(chance: random.Random) -> str:
    """Return a URL that holds the secret where credentials stand: before '@', as a value, or behind '#'."""
    place = f"{chance.choice(HOSTS)}{chance.choice(PORTS)}/{noise(chance, 12)}"
    secret = noise(chance, 8) + SECRET + noise(chance, 8)
    query = f"{chance.choice(KEYS)}={secret.replace('&', '').replace('#', '')}"
    forms = (
        f"{noise(chance, 4)}:{secret}@{place}",
        f"{noise(chance, 4)}:{secret}@{place}?{query}",
        f"{place.replace('?', '').replace('#', '')}?a=1&{query}&fps=5",
        f"{place.replace('#', '')}#{secret}",
        f"user:{SECRET}{noise(chance, 3).replace('/', '').replace('?', '').replace('#', '')}/live",
    )
    return f"{chance.choice(SCHEMES)}://{chance.choice(forms)}"


def shown(url: str) -> str:
    """Return everything that a user or a log is told of a URL, as a source and as a broker."""
    told = [redact(url)]
    try:
        told.append(open_source(url).name)
    except SourceError as error:
        told.append(str(error))
    if url.startswith(("mqtt", "kafka")):
        try:
            open_publisher(url).close()
        except UserError as error:
            told.append(str(error))
    return "\n".join(told)


def test_no_url_ends_the_program_or_shows_a_credential():
    chance = random.Random(1)
    for _ in range(URLS):
        url = with_secret(chance)
        assert SECRET not in shown(url), url


def answer(chance: random.Random) -> bytes:
    """Return the head of an answer, sound or not."""
    challenge = chance.choice(("Digest ", "Basic ", "DIGEST\t", "Bearer ", "", 'digest realm="x", ')) + noise(
        chance, 40
    )
    fields = ", ".join(f'{name}="{noise(chance, 10)}"' for name in ("realm", "nonce", "qop", "opaque", "algorithm"))
    status = chance.choice(("401 Unauthorized", "200 OK", "404", "999 ?", "40", "-1", noise(chance, 8)))
    version = chance.choice(("HTTP/1.1", "RTSP/1.0", "ICY", "", "HTTP/11"))
    end = chance.choice(("\r\n\r\n", "\n\n", "\r\n", ""))
    head = f"{version} {status}\r\nWWW-Authenticate: {challenge} {fields}\r\n{noise(chance, 30)}{end}"
    data = head.encode("utf-8", "replace")
    return data[: chance.randrange(len(data) + 1)] if chance.random() < 0.2 else data


class Liar:
    """Answer every request with another head; `asked` holds the requests."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._chance, self._over = random.Random(2), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(0.2)
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError, OSError):
                client, _ = self._listener.accept()
                with client:
                    client.settimeout(1)
                    self.asked.append(client.recv(65536))
                    client.sendall(answer(self._chance))

    def __enter__(self) -> Liar:
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()


def test_no_answer_of_a_server_ends_the_program_or_shows_a_credential():
    schemes = ("rtsp", "http")
    with Liar() as server:
        for number in range(HEADS):
            reason, _ = explain(f"{schemes[number % 2]}://user:{SECRET}@127.0.0.1:{server.port}/live", 5)
            assert reason
            assert SECRET not in reason
    assert len(server.asked) >= HEADS
    assert not any(SECRET.encode() in request for request in server.asked)
