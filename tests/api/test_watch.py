from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import streamer
from streamer.sources import Report
from streamer.types import Frame
from tests.api.parts import EXAMPLES, OneFace, light
from tests.conftest import ListSource, fake_classifier, picture
from tests.make import SAMPLE
from tests.make import streamer as command_line
from tests.media import cut, write_video

GREYS = [picture(value) for value in range(0, 200, 10)]


class Endless(ListSource):
    """Give pictures as long as anybody asks; `ended` says that its thread has left."""

    def __init__(self, name: str = "endless", *, live: bool = False) -> None:
        super().__init__(name, 10**9, live=live)
        self.ended = threading.Event()

    def frames(self, stop: threading.Event, report: Report) -> Iterator[Frame]:
        try:
            for frame in super().frames(stop, report):
                time.sleep(0.001)
                yield frame
        finally:
            self.ended.set()


def short_clip(path: Path, count: int = 40) -> tuple[Path, list[NDArray[np.uint8]], float]:
    """Write the beginning of the sample without loss of more; return it, its frames as they are read, and its rate."""
    sample = cv2.VideoCapture(str(SAMPLE))
    fps = sample.get(cv2.CAP_PROP_FPS)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (640, 480))
    for _ in range(count):
        writer.write(sample.read()[1])
    writer.release()
    clip, frames = cv2.VideoCapture(str(path)), []
    while (frame := clip.read()[1]) is not None:
        frames.append(np.asarray(frame, np.uint8))
    return path, frames, fps


def test_a_file_is_called_the_same_as_by_the_command_and_so_are_its_pictures_as_arrays(tmp_path: Path):
    path, frames, fps = short_clip(tmp_path / "clip.avi")
    done = command_line("run", path, "--log", tmp_path / "out.jsonl")
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    told = [line for line in lines if line["type"] == "frame"]
    with streamer.Analyzer() as analyzer:
        by_file = [result.to_dict() for result in analyzer.watch(path)]
        again = [result.to_dict() for result in analyzer.watch(str(path))]
        by_arrays = [result.to_dict() for result in analyzer.watch(frames, fps=fps)]
    for records in (told, by_file, again, by_arrays):
        for record in records:
            record.pop("wall_time")
    assert len(told) == 40
    assert by_file == told
    assert again == told
    for record in by_arrays:
        assert record.pop("stream") == "arrays"
    labels = [[(face["id"], face["label"], face["box"]) for face in record["faces"]] for record in told]
    assert [[(face["id"], face["label"], face["box"]) for face in one["faces"]] for one in by_arrays] == labels
    assert any(labels)


def test_a_source_is_also_one_that_gives_frames_itself_and_several_come_under_names_of_their_own(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), GREYS[3])
    with light() as analyzer:
        found = [(result.frame.stream, result.frame.index) for result in analyzer.watch(ListSource("mine", 5))]
        assert found == [("mine", index) for index in range(5)]
        several = list(
            analyzer.watch([ListSource("mine", 2), ListSource("mine", 3), str(tmp_path), tmp_path / "a.png"])
        )
    counts: dict[str, int] = {}
    for result in several:
        counts[result.frame.stream] = counts.get(result.frame.stream, 0) + 1
    assert counts == {"mine": 2, "mine-2": 3, tmp_path.name: 1, "a": 1}


def test_own_arrays_are_analysed_one_by_one_in_the_callers_thread_and_stay_as_they_are():
    threads, given = set(), []

    def arrays() -> Iterator[NDArray[np.uint8]]:
        for grey in GREYS:
            threads.add(threading.current_thread())
            given.append(grey)
            yield grey

    before = [grey.copy() for grey in GREYS]
    with light() as analyzer:
        for number, result in enumerate(analyzer.watch(arrays(), fps=10), start=1):
            assert len(given) == number
            assert result.frame.time == pytest.approx((number - 1) / 10)
            assert result.faces[0].track_id == 1
    assert threads == {threading.current_thread()}
    assert all(grey.flags.writeable and (grey == old).all() for grey, old in zip(GREYS, before, strict=True))


def test_arrays_may_be_one_stack_and_of_the_moment_and_rgb():
    detector = OneFace()
    stack = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    with light(detector=detector, overrides=["landmarks.kind=none", "detection.interval=0"]) as analyzer:
        times = []
        for result in analyzer.watch(stack, fps=None, rgb=True):
            times.append(result.frame.time)
            time.sleep(0.01)
    assert times[0] == 0
    assert all(later - sooner >= 0.01 for sooner, later in pairwise(times))
    assert [(seen == given[..., ::-1]).all() for seen, given in zip(detector.seen, stack, strict=True)] == [True] * 4


def test_a_damaged_file_raises_after_all_that_could_be_read(tmp_path: Path):
    path, seen = cut(write_video(tmp_path / "clip.avi"), 0.6), []
    with light() as analyzer, pytest.raises(streamer.UserError, match="truncated|damaged") as error:
        seen += analyzer.watch(path)
    assert isinstance(error.value, streamer.SourceError)
    assert isinstance(error.value, OSError)
    assert len(seen) > 5


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("nothing.mp4", "nothing.mp4: no such file or folder"),
        ("gopher://host/a", "unknown kind of URL"),
        ([], "found an empty list"),
        (None, "expected a path, a URL, .* found NoneType"),
        (1.5, "found float"),
        (b"abc", "found bytes"),
        ({"a": 1}, "found dict"),
        (picture(), "analyze takes a single picture"),
        (np.zeros(7, np.uint8), "analyze takes a single picture"),
    ],
)
def test_what_is_no_source_is_told_at_once_in_one_line(given: object, line: str):
    with pytest.raises(streamer.UserError, match=line) as error:
        streamer.watch(given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([picture(), "clip.mp4"], "expected an array .* found str"),
        ([picture().astype(np.float32)], "found .* float32"),
    ],
)
def test_what_is_no_array_is_told_where_it_comes(given: object, line: str):
    with light() as analyzer, pytest.raises(streamer.UserError, match=line):
        list(analyzer.watch(given))


@pytest.mark.parametrize("fps", [0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_told(fps: float):
    with light() as analyzer, pytest.raises(streamer.UserError, match="fps: expected"):
        analyzer.watch(GREYS, fps=fps)


def test_a_failure_of_whoever_gives_the_arrays_comes_through_and_frees_the_analyzer():
    def arrays() -> Iterator[NDArray[np.uint8]]:
        yield GREYS[0]
        raise KeyError("my own")

    with light() as analyzer:
        with pytest.raises(KeyError, match="my own"):
            list(analyzer.watch(arrays()))
        assert len(list(analyzer.watch(GREYS))) == len(GREYS)


def left_by_break(analyzer: streamer.Analyzer, source: Endless) -> None:
    for result in analyzer.watch(source):
        if result.frame.index > 2:
            break


def left_by_an_exception(analyzer: streamer.Analyzer, source: Endless) -> None:
    with pytest.raises(ZeroDivisionError):
        for result in analyzer.watch(source):
            assert 1 / (result.frame.index < 3)


def left_by_with(analyzer: streamer.Analyzer, source: Endless) -> None:
    with analyzer.watch(source) as results:
        next(results)
    assert list(results) == []


def left_by_close(analyzer: streamer.Analyzer, source: Endless) -> None:
    results = analyzer.watch(source)
    next(results)
    results.close()
    results.close()


def left_to_garbage_collection(analyzer: streamer.Analyzer, source: Endless) -> None:
    results = analyzer.watch(source)
    next(results)
    circle: list[object] = [results]
    circle.append(circle)
    del results, circle
    gc.collect()


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    "leave", [left_by_break, left_by_an_exception, left_by_with, left_by_close, left_to_garbage_collection]
)
def test_a_loop_that_is_left_frees_threads_and_models(leave, live: bool):
    source = Endless(live=live)
    before = set(threading.enumerate())
    with light() as analyzer:
        leave(analyzer, source)
        assert source.ended.wait(10)
        assert set(threading.enumerate()) <= before
        assert analyzer.analyze(GREYS[0])[0].label == "happiness"


def test_garbage_that_is_collected_by_a_stage_ends_its_pipeline_too():
    calls, collect, collected = 0, threading.Event(), threading.Event()

    def before(images: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            collect.wait(20)
            gc.collect()
            collected.set()

    source = Endless()
    gc.disable()
    try:
        with light(detector=OneFace(before), overrides=["landmarks.kind=none", "detection.interval=0"]) as analyzer:
            results = analyzer.watch(source)
            next(results)
            circle: list[object] = [results]
            circle.append(circle)
            del results, circle
            collect.set()
            assert collected.wait(20)
            assert source.ended.wait(10)
            assert analyzer.analyze(GREYS[0])[0].label == "happiness"
    finally:
        gc.enable()


def test_a_live_stream_sheds_load_with_own_parts_too():
    slow = OneFace(lambda images: time.sleep(0.05))
    ends = time.monotonic() + 60
    changes = ["landmarks.kind=none", "detection.interval=0", "detection.share=1", "shedding.budget=0.02"]
    with light(detector=slow, overrides=changes) as analyzer, analyzer.watch(Endless(live=True)) as results:
        shed = next(result.shed for result in results if result.shed or time.monotonic() > ends)
    assert shed > 0


def test_while_a_loop_lasts_another_use_is_told_and_waits_for_nothing():
    with light() as analyzer, analyzer.watch(Endless()) as results:
        next(results)
        for use in (lambda: analyzer.analyze(GREYS[0]), lambda: next(analyzer.watch(GREYS))):
            with pytest.raises(streamer.UserError, match="taken by a loop over watch"):
                use()
        next(results)


def test_closing_an_analyzer_ends_its_loop_in_this_thread_and_in_another():
    for live in (False, True):
        analyzer, source, seen = light(), Endless(live=live), threading.Event()
        results = analyzer.watch(source)
        next(results)
        analyzer.close()
        assert source.ended.wait(10)
        assert list(results) == []

        analyzer, source = light(), Endless(live=live)

        def loop(analyzer=analyzer, source=source, seen=seen) -> None:
            for _ in analyzer.watch(source):
                seen.set()

        thread = threading.Thread(target=loop)
        thread.start()
        assert seen.wait(10)
        analyzer.close()
        thread.join(20)
        assert not thread.is_alive()


def test_results_belong_to_one_thread_at_a_time():
    waiting, go = threading.Event(), threading.Event()

    def arrays() -> Iterator[NDArray[np.uint8]]:
        waiting.set()
        go.wait(20)
        yield GREYS[0]

    with light() as analyzer:
        results = analyzer.watch(arrays())
        thread = threading.Thread(target=lambda: list(results))
        thread.start()
        assert waiting.wait(10)
        with pytest.raises(streamer.UserError, match="expected one thread"):
            next(results)
        go.set()
        thread.join(20)


def test_two_loops_of_two_analyzers_run_at_once_and_find_their_own():
    found: dict[int, list[str | None]] = {}

    def loop(label: int) -> None:
        with light(label, classifier=fake_classifier(label)) as analyzer:
            results = analyzer.watch(ListSource("same", 30))
            found[label] = [face.label for result in results for face in result.faces]

    threads = [threading.Thread(target=loop, args=(label,)) for label in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[1] == ["happiness"] * 30
    assert found[2] == ["surprise"] * 30


LEFT_OPEN = """
import sys, threading
import streamer
from tests.api.parts import light
from tests.conftest import picture
from tests.api.test_watch import Endless
streamer.analyze(sys.argv[1])
results = light().watch(Endless())
next(results)
arrays = light().watch(picture() for _ in range(9))
next(arrays)
print("done", flush=True)
"""


def test_a_program_that_ends_with_a_loop_left_open_ends():
    command = [sys.executable, "-c", LEFT_OPEN, str(EXAMPLES / "two.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
