"""Traffic that means no good, from a process of its own to a port of this machine, bounded in time and number.

Usage: python -m tests.attacks '{"port": 8765, "names": ["silent"], ...}'     (see `attack`; ends when stdin is closed)
"""

from __future__ import annotations

import json
import random
import resource
import select
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

MOST_SECONDS = 120.0
MOST_OPENED = 50_000  # connections in all
PAUSE = 0.1  # s between the turns of all connections
ROOT = Path(__file__).parents[1]

Sent = tuple[bytes, Callable[[random.Random], bytes]]
"""What a connection begins with, and what it says each turn."""


def nothing(chance: random.Random) -> bytes:
    return b""


def request(head: str, *lines: str) -> bytes:
    return "\r\n".join([f"{head} HTTP/1.1", "Host: here", *lines, "", ""]).encode()


def bad_frame(chance: random.Random) -> bytes:
    """Return a WebSocket frame that breaks a rule: reserved bits, no mask, an endless length, a long or split ping."""
    return chance.choice(
        (
            bytes([0xF1, 0x81]) + chance.randbytes(5),
            bytes([0x81, 5]) + b"hello",
            bytes([0x82, 0xFF]) + b"\x7f" + b"\xff" * 7 + chance.randbytes(4),
            bytes([0x89, 0xFE, 0xFF, 0xFF]) + chance.randbytes(4),
            bytes([0x09, 0x80]) + chance.randbytes(4),
            bytes([0x80, 0x84]) + chance.randbytes(8),
            chance.randbytes(40),
        )
    )


def kinds(token: str = "") -> dict[str, Sent]:
    """Return what there is; token: the right one, for who has it and is slow."""
    body = ("POST /streams", "Content-Type: application/json")
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    wrong = request("GET /streams", "Authorization: Bearer wrong-token")
    return {
        "silent": (b"", nothing),
        "slow head": (b"GET /streams HTTP/1.1\r\nHost: here\r\nX-Slow: ", lambda chance: b"a"),
        "slow body": (
            request(*body, f"Authorization: Bearer {token}", "Content-Length: 2000"), lambda chance: b" ",
        ),
        "endless head": (b"GET /streams HTTP/1.1\r\n", lambda chance: b"X-More: " + b"a" * 4000 + b"\r\n"),
        "endless line": (b"GET /", lambda chance: b"a" * 4000),
        "endless body": (request(*body, "Content-Length: 1000000000000"), lambda chance: b"a" * 4000),
        "endless chunks": (
            request(*body, f"Authorization: Bearer {token}", "Transfer-Encoding: chunked"),
            lambda chance: b"fa0\r\n" + b"a" * 4000 + b"\r\n",
        ),
        "garbage": (b"", lambda chance: chance.randbytes(200)),
        "bad frames": (request("GET /live", *upgrade, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), bad_frame),
        "wrong tokens": (wrong, lambda chance: wrong),
        "many answers": (request("GET /health") * 20, lambda chance: request("GET /health") * 20),  # never read
    }  # fmt: skip


class Connection:
    """Be one connection after another of a kind."""

    def __init__(self, port: int, sent: Sent, counts: Counter[str], seed: int, *, origin: str, reads: bool) -> None:
        self.sent, self.counts, self.port, self.origin, self.reads = sent, counts, port, origin, reads
        self.chance = random.Random(seed)
        self.socket: socket.socket | None = None

    def turn(self) -> None:
        """Connect, or say more; a connection that was shut is opened again the next time."""
        try:
            if self.socket is None:
                self.socket = socket.socket()
                self.socket.setblocking(False)
                self.socket.bind((self.origin, 0))
                self.socket.connect_ex(("127.0.0.1", self.port))
                self.counts["opened"] += 1
                self.begun = False
                return
            said = self.sent[1](self.chance) if self.begun else self.sent[0]
            if said:
                self.socket.send(said)
            self.begun = True
            if self.reads:
                self._read()
        except BlockingIOError:
            pass  # not connected yet, or nobody takes it
        except OSError:
            self._shut()

    def _read(self) -> None:
        assert self.socket is not None
        with suppress(BlockingIOError):
            answer = self.socket.recv(65536)
            for line in answer.split(b"HTTP/1.1 ")[1:]:
                self.counts[line[:3].decode("latin-1")] += 1
            if not answer:
                self._shut()

    def _shut(self) -> None:
        self.counts["shut"] += 1
        self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None


def attack(
    port: int,
    names: list[str],
    connections: int = 100,
    seconds: float = 60.0,
    token: str = "",
    origins: int = 1,
    over: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Keep so many connections of these kinds busy; return how many were opened, shut, and answered by status.

    origins: addresses of this machine that they come from.
    """
    counts: Counter[str] = Counter()
    known = kinds(token)
    all_ = []
    for seed in range(connections):
        name, origin = names[seed % len(names)], f"127.0.0.{1 + seed // len(names) % origins}"
        all_.append(Connection(port, known[name], counts, seed, origin=origin, reads=name != "many answers"))
    ends = time.monotonic() + min(seconds, MOST_SECONDS)
    while time.monotonic() < ends and counts["opened"] < MOST_OPENED and not over():
        for one in all_:
            one.turn()
        time.sleep(PAUSE)
    for one in all_:
        one.close()
    return counts


class Attacker:
    """Attack from a process of its own while the block runs; `counts` is known after it."""

    def __init__(self, port: int, *names: str, **more: Any) -> None:
        wanted = json.dumps({"port": port, "names": names, **more})
        self.command = [sys.executable, "-m", "tests.attacks", wanted]
        self.counts: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()  # it has begun
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        said, _ = self.process.communicate()
        if error is None:
            self.counts.update(json.loads(said))


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, most), most))
    print("begun", flush=True)

    def over() -> bool:
        return bool(select.select([sys.stdin], [], [], 0)[0])

    print(json.dumps(attack(**json.loads(sys.argv[1]), over=over)))


if __name__ == "__main__":
    main()
