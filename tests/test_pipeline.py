from __future__ import annotations

import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from streamer.pipeline import Pipeline
from streamer.sources import Cause, SourceError, State
from streamer.types import Frame
from tests.conftest import ListSource, picture
from tests.make import Plain, nothing_seen, pipeline


def test_an_offline_run_loses_nothing_and_keeps_the_order():
    with pipeline(ListSource("a", 200)) as results:
        assert [result.frame.index for result in results] == list(range(200))
        assert results.captures["a"].dropped == 0


def test_several_sources_come_out_complete_and_each_in_order():
    with pipeline(ListSource("a", 50), ListSource("b", 80)) as results:
        seen = [(result.frame.stream, result.frame.index) for result in results]
    assert [i for name, i in seen if name == "a"] == list(range(50))
    assert [i for name, i in seen if name == "b"] == list(range(80))


def test_a_live_source_drops_old_frames_before_any_work_and_ends_with_the_newest():
    worked = []
    gate = threading.Event()

    def slow(frames):
        worked.extend(frame.index for frame in frames)
        gate.wait(5)
        return nothing_seen(frames)

    def before(index):
        if index == 99:
            gate.set()

    with pipeline(ListSource("cam", 100, live=True, before=before), perceive=slow) as results:
        shown = [result.frame.index for result in results]
        dropped = results.captures["cam"].dropped
    assert shown[-1] == 99
    assert shown == worked == sorted(shown)
    assert dropped == 100 - len(shown) > 0


def test_at_most_one_frame_of_a_source_is_worked_on_at_a_time():
    batches = []

    def remember(frames):
        batches.append([frame.stream for frame in frames])
        return nothing_seen(frames)

    with pipeline(ListSource("a", 30), ListSource("b", 30), perceive=remember) as results:
        assert sum(1 for _ in results) == 60
    assert all(len(set(batch)) == len(batch) for batch in batches)


@pytest.mark.parametrize("stage", ["perceive", "express"])
def test_the_first_exception_of_a_stage_reaches_the_caller_with_its_own_traceback(stage):
    def broken(items):
        raise ZeroDivisionError("of my own")

    with (
        pytest.raises(ZeroDivisionError, match="of my own") as caught,
        pipeline(ListSource("a", 1000), **{stage: broken}) as results,
    ):
        list(results)
    assert "broken" in [entry.name for entry in caught.traceback]


def test_an_unexpected_exception_of_a_source_reaches_the_caller():
    def before(index):
        if index == 3:
            raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"), pipeline(ListSource("a", 10, before=before)) as results:
        list(results)


def failing(after):
    def before(index):
        if index == after:
            raise SourceError("the cable is out")

    return before


def test_a_single_source_that_fails_before_its_first_frame_ends_the_run():
    with pytest.raises(SourceError, match="cable"), pipeline(ListSource("a", 5, before=failing(0))) as results:
        list(results)


def test_a_single_source_that_fails_later_gives_all_it_had_and_then_its_failure():
    seen = []
    with pytest.raises(SourceError, match="cable"), pipeline(ListSource("a", 5, before=failing(3))) as results:
        seen += results
    assert len(seen) == 3
    assert str(results.failures["a"]) == "the cable is out"


def test_a_failing_source_does_not_end_the_others():
    states, seen = [], []
    sources = ListSource("bad", 5, before=failing(0)), ListSource("good", 40)
    with (
        pytest.raises(SourceError, match="cable"),
        pipeline(*sources, on_state=lambda *state: states.append(state)) as results,
    ):
        seen += results
    assert len(seen) == 40
    assert list(results.failures) == ["bad"]
    assert ("bad", State.FAILED, "the cable is out", Cause.OTHER) in states
    assert ("good", State.ENDED, "", None) in states


class OddCamera(ListSource):
    """Give what is no frame of its stream after three good ones; frame(): makes it."""

    def __init__(self, frame):
        super().__init__("odd", 3)
        self._frame = frame

    def frames(self, stop, report):
        yield from super().frames(stop, report)
        yield self._frame()


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (lambda: Frame(np.zeros((48, 64), np.uint8), "odd", 3, 0.12, 0.0), r"expected \(H, W, 3\) uint8"),
        (lambda: Frame(picture(), "good", 3, 0.12, 0.0), "expected frames of its own, found one of 'good'"),
    ],
)
def test_an_odd_camera_ends_its_own_stream_alone(frame, said):
    seen = []
    with pytest.raises(SourceError, match=said), pipeline(OddCamera(frame), ListSource("good", 40)) as results:
        seen += (result.frame.stream for result in results)
    assert (seen.count("good"), seen.count("odd")) == (40, 3)
    assert results.failures["odd"].cause is Cause.CORRUPT


def test_a_loop_without_with_works_and_leaves_no_thread():
    owned = Owned()
    results = pipeline(ListSource("a", 20), owned=[owned])
    assert [result.frame.index for result in results] == list(range(20))
    assert owned.closed == 1
    assert list(results) == []  # it is over


class Owned:
    closed = 0

    def close(self):
        self.closed += 1


def test_engines_stay_open_while_a_stage_still_works_with_them(monkeypatch):
    monkeypatch.setattr("streamer.pipeline.JOIN_TIMEOUT", 0.1)
    working, go_on, owned = threading.Event(), threading.Event(), Owned()

    def slow(frames):
        working.set()
        go_on.wait(10)
        return nothing_seen(frames)

    with pipeline(ListSource("a", 5), perceive=slow, owned=[owned]):
        working.wait(10)
    assert owned.closed == 0
    go_on.set()


def test_leaving_early_ends_all_threads():
    with pipeline(ListSource("a", 10_000), ListSource("b", 10_000, live=True)) as results:
        for result in results:
            if result.frame.index > 10:
                break


def test_an_exception_in_the_callers_loop_ends_all_threads():
    with pytest.raises(RuntimeError, match="sink"), pipeline(ListSource("a", 10_000)) as results:
        for _ in results:
            raise RuntimeError("sink")


def test_stop_drains_what_was_captured():
    captured = []
    with pipeline(ListSource("a", 100_000, before=captured.append)) as results:
        seen = []
        for result in results:
            seen.append(result.frame.index)
            if len(seen) == 20:
                results.stop()
    assert len(seen) >= 20
    assert seen == list(range(len(seen)))
    assert len(seen) >= len(captured) - 1


def test_sources_are_added_and_removed_while_running():
    def slow(index):
        time.sleep(0.001)

    with pipeline(ListSource("a", 100_000, before=slow), keep_open=True) as results:
        seen = set()
        for result in results:
            seen.add(result.frame.stream)
            if "b" not in results.captures:
                results.add(ListSource("b", 20))
                results.remove("a")
            if result.frame.stream == "b" and result.frame.index == 19:
                results.stop()
    assert seen == {"a", "b"}


def test_the_name_of_a_removed_stream_is_free_again_and_nothing_of_it_stays():
    perceive, express, indices, added = Plain(nothing_seen), Plain(), [], [1]

    def camera():
        return ListSource("cam", 10**6, live=True, before=lambda index: time.sleep(0.001))

    def on_poll():
        if "cam" not in results.captures:
            assert not results.states
            if len(added) == 3:
                results.stop()
            else:
                added.append(1)
                results.add(camera())

    with Pipeline([camera()], perceive, express, keep_open=True, on_poll=on_poll) as results:
        for result in results:
            indices.append(result.frame.index)
            if result.frame.index >= 5 and not results.captures["cam"].stop.is_set():
                results.remove("cam")
    assert perceive.gone == express.gone == ["cam", "cam"]  # before the first frame of the next one
    assert sum(after < before for before, after in pairwise(indices)) == 2
    assert results.metrics.value("streamer_results_total", stream="cam") == 0


def test_an_ended_stream_stays_listed_until_it_is_removed():
    seen = []

    def on_poll():
        if results.state("file") is State.ENDED:
            seen.append("file" in results.captures)
            results.remove("file")
            seen.append("file" in results.captures)
            results.stop()

    with pipeline(ListSource("file", 3), keep_open=True, on_poll=on_poll) as results:
        assert len(list(results)) == 3
    assert seen == [True, False]


def test_two_sources_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two sources are named 'a'"):
        pipeline(ListSource("a", 1), ListSource("a", 1))


def test_a_stream_whose_frames_stay_away_is_called_stalled(monkeypatch):
    monkeypatch.setattr("streamer.pipeline.STALLED_AFTER", 0.1)
    states, again = [], threading.Event()

    def before(index):
        if index == 5:
            again.wait(10)

    def on_state(stream, state, reason, cause):
        states.append(state)
        if state is State.STALLED:
            again.set()

    with pipeline(ListSource("cam", 10, live=True, before=before), on_state=on_state) as results:
        list(results)
    assert State.STALLED in states
    assert states[-1] is State.ENDED


def test_metrics_count_what_went_through():
    sources = ListSource("a", 30), ListSource("bad", 3, before=failing(1))
    with pytest.raises(SourceError), pipeline(*sources) as results:
        list(results)
    value = results.metrics.value
    assert value("streamer_frames_total", stream="a") == value("streamer_results_total", stream="a") == 30
    assert value("streamer_stage_seconds_count", stage="perceive") >= 30
    assert value("streamer_source_state", stream="bad", state="failed") == 1
