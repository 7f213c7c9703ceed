"""The only way items pass between threads: a channel with one slot per sender, so that nothing can pile up.

What is dropped is decided here: where a slot is still full, an offline sender waits, a live one loses what it held.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cancelled(Exception):
    """Tell a thread that waits on a channel that the run ends now."""


class Channel(Generic[T]):
    """Hold one pending batch (a list of items) per sender; one condition guards slots and flags.

    Closing drains: pending batches are still taken. Cancelling ends at once: every call raises `Cancelled`.
    """

    def __init__(self, senders: Iterable[str] = ()) -> None:
        self._condition = threading.Condition()
        self._slots: dict[str, list[T]] = {}
        self._senders = set(senders)
        self._turns: dict[str, int] = {}  # of each sender's last take
        self._turn = 0
        self._cancelled = False

    def open(self, sender: str) -> None:
        """Let one more sender put items."""
        with self._condition:
            self._senders.add(sender)

    def close(self, sender: str) -> None:
        """End a sender; the channel ends with its last one."""
        with self._condition:
            self._senders.discard(sender)
            self._turns.pop(sender, None)
            self._condition.notify_all()

    def cancel(self) -> None:
        """Wake everybody with `Cancelled` and drop all pending batches."""
        with self._condition:
            self._cancelled = True
            self._slots.clear()
            self._condition.notify_all()

    def send(self, sender: str, items: list[T], *, live: bool) -> int:
        """Fill the sender's slot; return how many items were dropped for it. An offline sender waits and drops none."""
        if live:
            return self.replace(sender, items)
        self.put(sender, items)
        return 0

    def put(self, sender: str, items: list[T]) -> None:
        """Wait for the sender's slot to be free, then fill it."""
        with self._condition:
            self._wait(lambda: sender not in self._slots)
            self._fill(sender, items)

    def replace(self, sender: str, items: list[T]) -> int:
        """Fill the sender's slot at once; return how many items it held that nobody took."""
        with self._condition:
            if self._cancelled:
                raise Cancelled
            lost = len(self._slots.get(sender, ()))
            self._fill(sender, items)
            return lost

    def wait_for_room(self, sender: str) -> None:
        """Wait until the sender's slot is free."""
        with self._condition:
            self._wait(lambda: sender not in self._slots)

    def take(self, timeout: float | None = None, most: int | None = None) -> list[T] | None:
        """Take the pending batches of all senders; [] after `timeout` seconds, None when all have closed.

        most: take only so many batches, of the senders that were served longest ago.
        """
        with self._condition:
            self._wait(lambda: bool(self._slots) or not self._senders, timeout)
            if not self._slots:
                return [] if self._senders else None
            self._turn += 1
            chosen = sorted(self._slots, key=lambda sender: self._turns.get(sender, 0))[:most]
            self._turns.update({sender: self._turn for sender in chosen if sender in self._senders})
            items = [item for sender in chosen for item in self._slots.pop(sender)]
            self._condition.notify_all()
            return items

    def _fill(self, sender: str, items: list[T]) -> None:
        # Re-inserted at the end: among equal turns, the longest waiting sender comes first.
        self._slots.pop(sender, None)
        self._slots[sender] = items
        self._condition.notify_all()

    def _wait(self, ready: Callable[[], bool], timeout: float | None = None) -> None:
        self._condition.wait_for(lambda: self._cancelled or ready(), timeout)
        if self._cancelled:
            raise Cancelled
