"""Signals recorded for the main loop to act on, so that no write is cut off in the middle."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Hold what SIGINT, SIGTERM and SIGHUP have asked for; belongs to the main thread.

    reloads: whether SIGHUP asks for the configuration to be read again; else it ends the run as well, as a terminal
    that closes wants. ending: the signal that ends the run, or None.
    """

    def __init__(self, *, reloads: bool) -> None:
        self.ending: int | None = None
        self._reloads = reloads
        self._reload = False

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Take in a signal; the second SIGINT or SIGTERM kills. A terminal that closes may send SIGHUP twice."""
        if number == signal.SIGHUP and self._reloads:
            self._reload = True
        elif number == signal.SIGHUP:
            self.ending = self.ending or number
        elif self.ending in ENDING:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        else:
            self.ending = number

    def take_reload(self) -> bool:
        """Tell whether a reload was asked for since the last call, once or more often."""
        if not self._reload:
            return False
        self._reload = False  # before the file is read: a signal from here on asks for another look
        return True


@contextmanager
def noted_signals(*, reloads: bool) -> Iterator[Signals]:
    """Record the signals instead of ending; see `Signals`. A run under nohup outlives its terminal."""
    signals = Signals(reloads=reloads)
    ignored = not reloads and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    noted = ENDING if ignored else (*ENDING, signal.SIGHUP)
    before = {number: signal.signal(number, signals.on_signal) for number in noted}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
