"""A camera for tests of the service, which needs no device and no stage that sees anything."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

from streamer.sources import Report
from streamer.types import Frame
from tests.conftest import picture


class Camera:
    """Show the same picture 20 times a second."""

    def __init__(self, name: str) -> None:
        self.name, self.live = name, True
        self.fps: float | None = 20.0
        self.total: int | None = None

    def frames(self, stop: threading.Event, report: Report) -> Iterator[Frame]:
        for index in itertools.count():
            if stop.wait(0.05):
                return
            yield Frame(picture(), self.name, index, index / 20, time.monotonic(), True)
