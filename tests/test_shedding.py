from __future__ import annotations

import time

import numpy as np
import pytest

from streamer.bench.scene import Played, draw_scene, write_scene
from streamer.faces.detect import HogDetector
from streamer.faces.track import Tracker
from streamer.shedding import WINDOW, Ladder, SheddingSettings
from streamer.stages.express import Expresser
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.stages.smoothing import ExpressionSettings
from streamer.types import Detections, Face, Frame, Result, Step
from tests.conftest import fake_classifier, picture
from tests.make import pipeline


def live(ladder, start, seconds, latency, share, every=0.05):
    """Let time pass with results of one latency and stages that are busy for a share of it; return the end.

    every: seconds from one result to the next.
    """
    busy = {"perceive": start * share, "express": 0.0}
    ladder.look(start, busy)
    for number in range(round(seconds / 0.05)):
        now = start + 0.05 * (number + 1)
        if (number + 1) % round(every / 0.05) == 0:
            ladder.observe(latency)
        busy["perceive"] += 0.05 * share
        ladder.look(now, busy)
    return start + seconds


def test_late_results_take_one_step_a_window_and_calm_gives_it_back():
    ladder = Ladder(SheddingSettings(budget=0.1, patience=1.0))
    end = live(ladder, 0.0, 2 * WINDOW + 0.1, 0.3, 1.0)
    assert ladder.step == Step.MAPS
    end = live(ladder, end, 5 * WINDOW, 0.3, 1.0)
    assert ladder.step == Step.FRAMES
    assert ladder.load > 0.8
    live(ladder, end, 10.0, 0.02, 0.2)
    assert ladder.step == Step.NONE
    assert ladder.load < 0.3


def test_one_window_of_late_results_takes_no_step():
    ladder, end = Ladder(SheddingSettings(budget=0.1)), 0.0
    for _ in range(5):
        end = live(ladder, end, WINDOW, 0.3, 1.0)
        end = live(ladder, end, 2 * WINDOW, 0.02, 0.3)
        assert ladder.step == Step.NONE


@pytest.mark.parametrize("every", [0.2, 0.5, 1.5, 3.0])
def test_results_that_are_rare_because_they_are_slow_take_steps_too(every):
    ladder = Ladder(SheddingSettings(budget=0.1))
    live(ladder, 0.0, 40 * WINDOW, 0.6, 1.0, every)
    assert ladder.step == Step.FRAMES


def test_a_slow_camera_in_time_takes_no_step_and_one_late_result_of_it_none_either():
    ladder = Ladder(SheddingSettings(budget=0.1))
    end = live(ladder, 0.0, 10.0, 0.02, 0.1, 1.0)
    ladder.observe(0.6)
    live(ladder, end, 10.0, 0.02, 0.1, 1.0)
    assert ladder.step == Step.NONE


def test_fast_results_of_busy_stages_give_nothing_back():
    ladder = Ladder(SheddingSettings(budget=0.1, patience=0.5))
    end = live(ladder, 0.0, 5, 0.3, 1.0)
    live(ladder, end, 10, 0.02, 0.95)  # fast because frames are left out
    assert ladder.step == Step.FRAMES


def test_a_step_given_back_too_early_is_kept_longer_the_next_time():
    ladder = Ladder(SheddingSettings(budget=0.1, patience=2.0))
    end = live(ladder, 0.0, 2 * WINDOW + 0.1, 0.3, 0.5)
    back = []
    for _ in range(3):
        begun = end
        while ladder.step:
            end = live(ladder, end, 0.25, 0.02, 0.3)
        back.append(end - begun)
        while not ladder.step:
            end = live(ladder, end, 0.25, 0.3, 0.5)
    assert back[0] < back[1] < back[2]


def test_a_tick_holds_as_many_frames_as_the_budget_bears():
    ladder = Ladder(SheddingSettings(budget=0.12))
    assert ladder.frames(0.01) is None
    ladder.step = Step.FRAMES
    assert [ladder.frames(seconds) for seconds in (0.0, 0.01, 0.5)] == [None, 3, 1]


@pytest.mark.parametrize("changes", [{"budget": 0.0}, {"patience": -1.0}])
def test_settings_without_sense_are_refused(changes):
    with pytest.raises(ValueError, match="expected budget > 0"):
        SheddingSettings(**changes)


class Detecting:
    """Find the same face in every picture; count the pictures."""

    def __init__(self):
        self.pictures = 0

    def detect(self, images):
        self.pictures += len(images)
        return [Detections(np.array([[8, 8, 40, 40]], np.float32), np.array([0.9], np.float32))] * len(images)

    def close(self):
        pass


def shown(step, live):
    """Show a face for 4 s at 25 fps under a step of the ladder; return detections, classifications, last result."""
    detector, engine = Detecting(), fake_classifier()
    perceive = Perceiver(detector, Tracker, DetectionSettings(budget=10, share=1.0))
    express = Expresser(engine, ExpressionSettings())
    for index in range(100):
        [result] = express(perceive([Frame(picture(), "cam", index, index / 25, 0.0, live)], step))
    return detector.pictures, len(engine.batch_sizes), result


def test_steps_save_detections_and_classifications_of_settled_faces():
    detections, classifications, result = shown(Step.NONE, live=True)
    assert result.shed == Step.NONE
    fewer, same, _ = shown(Step.DETECTIONS, live=True)
    assert fewer <= 0.7 * detections
    assert same == classifications
    _, fewer, result = shown(Step.CLASSIFICATIONS, live=True)
    assert fewer <= 0.8 * classifications
    assert result.shed == Step.CLASSIFICATIONS
    assert result.faces[0].expression.stable


def test_files_are_never_shed():
    whole, shed = shown(Step.NONE, live=False), shown(Step.FRAMES, live=False)
    assert whole[:2] == shed[:2]
    assert shed[2].shed == Step.NONE


def test_a_stream_that_went_is_forgotten():
    engine = fake_classifier()
    perceive = Perceiver(Detecting(), Tracker, DetectionSettings())
    express = Expresser(engine, ExpressionSettings())
    for number, start in ((1, 100.0), (2, 0.0)):  # the second stream of that name begins anew, its ids go on
        for index in range(3):
            [result] = express(perceive([Frame(picture(), "cam", index, start + index / 25, 0.0)]))
        assert [face.track_id for face in result.faces] == [number]
        assert result.faces[0].expression.time in (start, start + 2 / 25)
        perceive.forget("cam")
        express.forget("cam")


def test_results_keep_what_was_shed_through_the_stages():
    face = Face(1, np.array([8, 8, 40, 40], np.float32), 0.9, 0.0)
    express = Expresser(fake_classifier(), ExpressionSettings())
    [result] = express([Result(Frame(picture(), "cam", 0, 0.0, 0.0, True), (face,), Step.DETECTIONS)])
    assert result.shed == Step.DETECTIONS


def test_a_stream_that_changes_its_size_is_analysed_on():
    perceive = Perceiver(HogDetector(80), Tracker, DetectionSettings(interval=0, share=1.0, budget=10))
    express = Expresser(fake_classifier(), ExpressionSettings())
    seen = []
    for index, (width, height) in enumerate([(480, 360)] * 3 + [(640, 480)] * 3 + [(360, 480)] * 3):
        frame = Frame(draw_scene(width, height, 1, 0.1), "cam", index, index / 10, 0.0, True)
        [result] = express(perceive([frame]))
        seen.append(len(result.faces))
    assert seen[2] == seen[5] == seen[8] == 1


def test_a_camera_faster_than_the_analysis_drops_frames_and_its_results_stay_young(tmp_path):
    clip = write_scene(tmp_path / "fast.mp4", 160, 120, 0, 200, 20)

    def slow(frames):
        time.sleep(0.02)
        return [Result(frame, ()) for frame in frames]

    ages = []
    with pipeline(Played("cam", clip, 200), perceive=slow) as results:
        for result in results:
            ages.append(time.monotonic() - result.frame.captured_at)
            if len(ages) == 60:
                results.stop()
        capture = results.captures["cam"]
    assert capture.dropped > 60
    assert capture.captured == capture.dropped + len(ages)
    assert sorted(ages)[30] < 0.15
