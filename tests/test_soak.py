from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import pytest

from streamer.emotion import Expresser, ExpressionSettings
from streamer.faces.detect import HogDetector
from streamer.faces.track import Tracker
from streamer.perception import DetectionSettings, Perceiver
from streamer.pipeline import Pipeline
from tests.conftest import ListSource, fake_classifier

pytestmark = pytest.mark.slow


def resident():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def pipeline(*sources):
    perceive = Perceiver(HogDetector(), Tracker, DetectionSettings(interval=0.4))
    return Pipeline(sources, perceive, Expresser(fake_classifier(), ExpressionSettings()))


def test_memory_threads_and_descriptors_stay_flat_over_a_long_run():
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    at = {}
    with pipeline(ListSource("a", 6000)) as results:
        for done, _ in enumerate(results, 1):
            if done % 3000 == 0:
                at[done] = resident()
    assert at[6000] - at[3000] < 2
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_starting_and_leaving_a_hundred_times_leaves_nothing_behind():
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        with pipeline(ListSource("a", 1000), ListSource("b", 1000, live=True)) as results:
            next(iter(results))
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors
