"""Who may be at a server, and how long: what keeps it answering where clients are many, silent or slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from streamer.watching.addresses import origin_of

Peer = tuple[str, int]
"""Address and port of a client, which tell connections apart."""


@dataclass
class _Guest:
    origin: str
    shut: Callable[[], None]
    since: float
    known: bool = False
    hurried: bool = True


class Door:
    """Bound the connections of a server: in all, of one origin, and in time.

    Everybody is let in. Where that makes one too many, of the origin or in all, the connection that has kept the server
    waiting longest is shut: who comes with a request and takes the answer is never in the way, nor kept out by who does
    not. What takes longer than `seconds` is shut too, from the connection on or from the end of the last answer:
    silence, a head or body that drips, an answer that is not taken.

    most: connections in all; each: of one origin (see `origin_of`). Any thread may call it; `sweep` now and then.
    """

    def __init__(self, most: int = 128, each: int = 32, seconds: float = 10.0) -> None:
        self.most, self.each, self.seconds = most, each, seconds
        self._guests: dict[Peer, _Guest] = {}  # who waits longest first
        self._lock = threading.Lock()

    def enter(self, peer: Peer, shut: Callable[[], None]) -> None:
        """Let a connection in, which `shut` closes; it may be the one that has to go, where all others are known."""
        with self._lock:
            guest = self._guests[peer] = _Guest(origin_of(peer[0]), shut, time.monotonic())
            crowd = [one for one in self._guests if self._guests[one].origin == guest.origin]
            if len(crowd) <= self.each:
                crowd = list(self._guests) if len(self._guests) > self.most else []
            out = next((one for one in crowd if not self._guests[one].known), peer if crowd else None)
            gone = self._guests.pop(out) if out else None
        if gone:
            gone.shut()

    def know(self, peer: Peer, *, hurried: bool = True) -> None:
        """Note that a client's request is one to answer: from now on it makes room for nobody.

        hurried: whether it has no more than `seconds`, or may take what time it likes.
        """
        self._note(peer, known=True, hurried=hurried)

    def rest(self, peer: Peer) -> None:
        """Note that a client was answered, and may ask again."""
        self._note(peer, known=False)

    def _note(self, peer: Peer, *, known: bool, hurried: bool = True) -> None:
        with self._lock:
            if guest := self._guests.pop(peer, None):
                guest.known, guest.hurried, guest.since = known, hurried, time.monotonic()
                self._guests[peer] = guest

    def leave(self, peer: Peer) -> None:
        """Note that a connection is over."""
        with self._lock:
            self._guests.pop(peer, None)

    def sweep(self, now: float | None = None) -> None:
        """Shut what takes too long; now: monotonic seconds."""
        ends = (time.monotonic() if now is None else now) - self.seconds
        self._shut(lambda guest: guest.hurried and guest.since < ends)

    def close(self) -> None:
        """Shut all."""
        self._shut(lambda guest: True)

    def _shut(self, chosen: Callable[[_Guest], bool]) -> None:
        with self._lock:
            gone = {peer: guest for peer, guest in self._guests.items() if chosen(guest)}
            for peer in gone:
                del self._guests[peer]
        for guest in gone.values():
            guest.shut()

    def __len__(self) -> int:
        return len(self._guests)
