"""Shared parts of the tests: no thread survives one, and what stands outside the repository is named here."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import EngineSpec
from engines.fake import FakeEngine
from streamer.emotions import EMOTIONS
from streamer.sources import Report
from streamer.types import Frame

SHARED = Path(__file__).parents[2] / "shared"
LEVELS = {name: logging.getLogger(name).level for name in ("root", "streamer", "engines", "train")}
LABELS = EMOTIONS


@pytest.fixture(autouse=True)
def _no_thread_survives() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left, f"threads survived the test: {left}"


@pytest.fixture(autouse=True)
def _logging_stays_as_it_was() -> Iterator[None]:
    """Undo what a command line that is called in this process, by a test or a fixture, sets for good."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    yield
    for name, level in LEVELS.items():
        logging.getLogger(name).setLevel(level)
    root.handlers[:] = [handler for handler in root.handlers if handler in handlers]


@pytest.fixture
def shared() -> Path:
    """Return the folder of data that is not part of the project; skip where it is missing."""
    if not SHARED.is_dir():
        pytest.skip("needs the data folder ../shared beside the checkout")
    return SHARED


def picture(value: int = 128, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    return np.full((height, width, 3), value, np.uint8)


def expression_spec(**changes: object) -> EngineSpec:
    values: dict[str, object] = {
        "name": "fake",
        "task": "expression",
        "height": 48,
        "width": 48,
        "channels": 1,
        "labels": LABELS,
        "outputs": ("probabilities",),
    }
    return EngineSpec.model_validate(values | changes)


def fake_classifier(label: int = 1, confidence: float = 0.9) -> FakeEngine:
    """Answer every face with one label."""
    answer = np.full(len(LABELS), (1 - confidence) / (len(LABELS) - 1), np.float32)
    answer[label] = confidence
    return FakeEngine(expression_spec(), lambda batch: {"probabilities": np.tile(answer, (len(batch), 1))})


class ListSource:
    """Give prepared pictures, 40 ms of stream time apart; `before` is called with each index first."""

    def __init__(
        self, name: str, count: int, *, live: bool = False, before: Callable[[int], None] = lambda index: None
    ) -> None:
        self.name, self.live, self.fps, self.total = name, live, 25.0, count
        self.before = before

    def frames(self, stop: threading.Event, report: Report) -> Iterator[Frame]:
        for index in range(self.total or 0):
            if stop.is_set():
                break
            self.before(index)
            yield Frame(picture(index % 256), self.name, index, index / 25, time.monotonic(), self.live)
