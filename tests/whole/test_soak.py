from __future__ import annotations

import gc
import os
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from streamer.build import build_pipeline
from streamer.config import Config
from streamer.drawing.overlay import draw
from streamer.sinks.log import LogSink
from streamer.sources import Report
from streamer.types import Frame
from tests.conftest import ListSource
from tests.make import SAMPLE, pipeline

pytestmark = pytest.mark.slow


class Loop:
    """Show the first two seconds of the sample to and fro, without an end of its own."""

    live, fps, total = False, 25.0, None

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        capture = cv2.VideoCapture(str(SAMPLE))
        pictures = [capture.read()[1] for _ in range(50)]
        capture.release()
        self.pictures = pictures + pictures[::-1]

    def frames(self, stop: threading.Event, report: Report) -> Iterator[Frame]:
        for index in range(self.count):
            if stop.is_set():
                return
            image = self.pictures[index % 100].copy()
            yield Frame(image, self.name, index, index / 25, time.monotonic())


def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def test_memory_threads_and_descriptors_stay_flat_over_a_long_run(tmp_path):
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    at, faces = {}, 0
    with LogSink(tmp_path / "log.jsonl") as log, build_pipeline(Config(), [Loop("a", 5000)]) as results:
        for done, result in enumerate(results, 1):
            faces += len(result.faces)
            draw(result)
            log.write(result)
            if done % 500 == 0:
                at[done] = resident()
    assert faces > 9000
    # A batch of a size that never was takes some megabytes once, whenever it comes; what leaks grows all the time.
    growth = [at[done] - at[done - 500] for done in range(3000, 5001, 500)]
    assert statistics.median(growth) < 0.4
    assert sum(growth) < 40
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_starting_and_leaving_a_hundred_times_leaves_nothing_behind():
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        sources = ListSource("a", 1000), ListSource("b", 1000, live=True)
        with pipeline(*sources) as results:
            next(iter(results))
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
