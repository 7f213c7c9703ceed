from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from engines import tempered
from engines.fake import FakeEngine
from streamer.emotions import UNCERTAIN
from streamer.faces.regions import REGIONS
from streamer.stages.express import Expresser
from streamer.stages.smoothing import ExpressionSettings, Smoother
from streamer.types import Face, Frame, Result
from tests.conftest import LABELS, expression_spec, fake_classifier, picture


def one_hot(label, confidence=1.0):
    answer = np.full(len(LABELS), (1 - confidence) / (len(LABELS) - 1), np.float32)
    answer[label] = confidence
    return answer


def result(time, *ids, stream="a", live=False, landmarks=None):
    box = np.array([8, 8, 40, 40], np.float32)
    faces = tuple(Face(track_id, box, 0.9, time, landmarks) for track_id in ids)
    return Result(Frame(picture(), stream, round(time * 25), time, 0.0, live), faces)


def test_all_faces_of_a_tick_are_one_batch():
    engine = fake_classifier()
    done = Expresser(engine, ExpressionSettings())([result(0, 1, 2, 3), result(0, 1, stream="b")])
    assert engine.batch_sizes == [4]
    assert [face.expression.label for one in done for face in one.faces] == ["happiness"] * 4


def test_no_face_costs_no_inference():
    engine = fake_classifier()
    assert Expresser(engine, ExpressionSettings())([result(0)])[0].faces == ()
    assert engine.batch_sizes == []


def test_a_face_is_classified_again_only_after_the_interval():
    engine = fake_classifier()
    express = Expresser(engine, ExpressionSettings(interval=0.1))
    times = [express([result(index * 0.04, 1)])[0].faces[0].expression.time for index in range(8)]
    assert times == pytest.approx([0, 0, 0, 0.12, 0.12, 0.12, 0.24, 0.24])


def test_other_settings_reach_a_face_in_view_but_not_a_stream_that_was_tuned():
    express = Expresser(fake_classifier(), ExpressionSettings())
    express.tune("b", ExpressionSettings())

    def labels(*times):
        found = [express([result(time, 1), result(time, 1, stream="b")]) for time in times]
        return [tuple(one.faces[0].expression.label for one in pair) for pair in found]

    assert labels(0, 0.2) == [("happiness", "happiness")] * 2
    express.settings = ExpressionSettings(threshold=1.0, hold=0.1)
    assert labels(0.4, 0.6)[-1] == (UNCERTAIN, "happiness")
    express.settings = ExpressionSettings()
    assert labels(0.8, 1.0)[-1] == ("happiness", "happiness")


def test_a_live_tick_takes_those_who_waited_longest():
    engine = fake_classifier()
    express = Expresser(engine, ExpressionSettings(interval=0.0, most=2))
    seen = [[face.expression is not None for face in express([result(t, 1, 2, 3, live=True)])[0].faces] for t in (0, 1)]
    assert engine.batch_sizes == [2, 2]
    assert seen == [[True, True, False], [True, True, True]]


def test_an_offline_run_classifies_every_face_however_many():
    engine = fake_classifier()
    Expresser(engine, ExpressionSettings(most=2))([result(0, *range(1, 11))])
    assert engine.batch_sizes == [10]


def test_a_low_confidence_is_called_uncertain_and_keeps_its_probabilities():
    done = Expresser(fake_classifier(confidence=0.3), ExpressionSettings(threshold=0.4))([result(0, 1)])
    [face] = done[0].faces
    assert face.expression.label == UNCERTAIN
    assert face.expression.confidence == pytest.approx(0.3, abs=1e-6)
    assert sum(face.expression.probabilities.values()) == pytest.approx(1)


def test_the_reliability_is_that_of_the_label_and_region():
    spec = expression_spec(reliability={"happiness": 0.93}, crop={"region": "mouth"})
    engine = FakeEngine(spec, lambda batch: {"probabilities": np.tile(one_hot(1), (len(batch), 1))})
    landmarks = np.random.default_rng(0).uniform(10, 40, (68, 2)).astype(np.float32)
    [face] = Expresser(engine, ExpressionSettings())([result(0, 1, landmarks=landmarks)])[0].faces
    assert (face.expression.region, face.expression.reliability) == ("mouth", 0.93)


def labels_over_time(answers, settings, step=0.04):
    smoother, shown = Smoother(settings), []
    for index, answer in enumerate(answers):
        smoother.update(answer, index * step)
        shown.append(smoother.shown)
    return shown, smoother


def test_a_flickering_answer_does_not_flicker_on_screen():
    answers = [one_hot(0)] * 25 + [one_hot(1), one_hot(0)] * 50
    shown, _ = labels_over_time(answers, ExpressionSettings())
    assert [shown[0], *(b for a, b in pairwise(shown) if a != b)] in ([0], [0, -1])


@pytest.mark.parametrize("settings", [ExpressionSettings(), ExpressionSettings(smoothing=0.1, hold=0.3)], ids=str)
def test_the_label_always_leads_and_is_never_below_the_threshold(settings):
    random, smoother, seen = np.random.default_rng(0), Smoother(settings), Counter()
    for index in range(3000):
        leading = 12 * (np.arange(len(LABELS)) == index // 40 % 3)  # another expression every 1.6 s, and much noise
        smoother.update(random.dirichlet(0.5 + leading * random.random()).astype(np.float32), index * 0.04)
        if smoother.shown >= 0:
            assert smoother.shown == smoother.probabilities.argmax()
            assert smoother.probabilities[smoother.shown] >= settings.threshold
        seen[smoother.shown] += 1
    assert min(seen[label] for label in (-1, 0, 1, 2)) > 100


def test_a_new_leader_takes_over_at_once_where_it_has_led_the_answers_for_the_holding_time():
    answers = [one_hot(0)] * 50 + [one_hot(2)] * 50
    shown, _ = labels_over_time(answers, ExpressionSettings(smoothing=0.65, hold=0.1))
    changed = shown.index(2)
    assert (changed - 50) * 0.04 == pytest.approx(0.65 * np.log(2), abs=0.05)  # when it leads what is averaged
    assert shown == [0] * changed + [2] * (100 - changed)


def test_a_new_leader_that_has_not_led_long_is_preceded_by_uncertain():
    # Two moments of surprise, one of them so strong that it leads the average at once.
    answers = [one_hot(0, 0.6)] * 50 + [one_hot(2)] * 20
    shown, _ = labels_over_time(answers, ExpressionSettings(smoothing=0.1, hold=0.3))
    changes = [shown[0], *(b for a, b in pairwise(shown) if a != b)]
    assert changes == [0, -1, 2]
    assert 0.3 <= (shown.index(2) - shown.index(-1)) * 0.04 + 0.04 <= 0.4


def test_a_label_comes_a_tenth_above_the_threshold_and_goes_at_it():
    settings = ExpressionSettings(smoothing=0, threshold=0.4)
    rising_and_falling = [0.3, 0.38, 0.42, 0.46, 0.49, 0.51, 0.52, 0.52, 0.46, 0.41, 0.39, 0.45]
    shown, _ = labels_over_time([one_hot(1, one) for one in rising_and_falling for _ in range(3)], settings)
    assert [one for one, label in zip(np.repeat(rising_and_falling, 3), shown, strict=True) if label == 1] == (
        [0.51] + [0.52] * 6 + [0.46] * 3 + [0.41] * 3  # 0.51 has to be there for the holding time
    )


def test_the_first_answer_waits_for_nobody_but_must_be_clear_where_there_is_a_holding_time():
    for confidence, clear, for_itself in ((0.39, -1, -1), (0.41, -1, 1), (0.51, 1, 1)):
        assert labels_over_time([one_hot(1, confidence)], ExpressionSettings())[0] == [clear]
        assert labels_over_time([one_hot(1, confidence)], ExpressionSettings(hold=0))[0] == [for_itself]


@pytest.mark.parametrize("threshold", [0.85, 0.95, 1.0])
def test_a_high_threshold_can_still_be_reached(threshold):
    answers = [one_hot(0, 0.5)] * 5 + [one_hot(1, 1.0)] * 10
    shown, _ = labels_over_time(answers, ExpressionSettings(smoothing=0, threshold=threshold))
    assert (shown[0], shown[-1]) == (-1, 1)


def test_without_a_holding_time_the_leader_is_shown_from_the_threshold_on():
    answers = [one_hot(0, 0.45), one_hot(1, 0.45), one_hot(2, 0.39), one_hot(3, 0.41)]
    assert labels_over_time(answers, ExpressionSettings(smoothing=0, hold=0))[0] == [0, 1, -1, 3]


def test_the_confidence_is_that_of_the_leader_whatever_the_label():
    engine = fake_classifier()
    answers = iter([one_hot(1, 0.9), one_hot(1, 0.9), one_hot(2, 0.9), one_hot(3, 0.3)])
    engine.function = lambda batch: {"probabilities": next(answers)[None]}
    express = Expresser(engine, ExpressionSettings(smoothing=0.2, hold=0.2))
    for time in (0, 0.1, 0.2, 0.3):
        expression = express([result(time, 1)])[0].faces[0].expression
        assert expression.confidence == max(expression.probabilities.values())
        assert expression.label in (UNCERTAIN, max(expression.probabilities, key=expression.probabilities.get))


def test_a_confidence_around_the_threshold_does_not_flicker_between_a_label_and_uncertain():
    random, engine = np.random.default_rng(0), fake_classifier()
    engine.function = lambda batch: {
        "probabilities": one_hot(1, float(np.clip(random.normal(0.4, 0.1), 0.15, 1)))[None]
    }
    express = Expresser(engine, ExpressionSettings())
    labels = [express([result(index * 0.04, 1)])[0].faces[0].expression.label for index in range(500)]
    assert sum(a != b for a, b in pairwise(labels)) <= 12


def test_a_lasting_change_is_shown_once_and_soon():
    answers = [one_hot(0)] * 25 + [one_hot(2)] * 50
    shown, _ = labels_over_time(answers, ExpressionSettings(smoothing=0.25, hold=0.2))
    changed = shown.index(2)
    assert shown[changed:] == [2] * len(shown[changed:])
    assert 0.1 <= (changed - 25) * 0.04 <= 0.5


def test_smoothing_is_in_seconds_not_in_frames():
    settings = ExpressionSettings()
    slow, _ = labels_over_time([one_hot(0)] * 10 + [one_hot(2)] * 10, settings, step=0.1)
    quick, _ = labels_over_time([one_hot(0)] * 100 + [one_hot(2)] * 100, settings, step=0.01)
    assert slow.index(2) * 0.1 == pytest.approx(quick.index(2) * 0.01, abs=0.2)  # two coarse steps


def test_pictures_far_apart_in_time_do_not_wait_for_a_second_opinion():
    shown, _ = labels_over_time([one_hot(0), one_hot(3), one_hot(1)], ExpressionSettings(), step=1.0)
    assert shown == [0, 3, 1]


def test_a_label_becomes_stable_after_the_settling_time():
    smoother = Smoother(ExpressionSettings(settle=0.5))
    smoother.update(one_hot(1), 10.0)
    assert not smoother.stable(10.4)
    assert smoother.stable(10.5)


def test_tracks_that_left_are_forgotten():
    express = Expresser(fake_classifier(), ExpressionSettings())
    for index in range(100):
        express([result(float(index * 3), index)])
    assert len(express._tracks["a"]) == 1


VIEWS = {
    "face": {"reliability": {"happiness": 0.9}},
    "nose_eyes": {"temperature": 2, "reliability": {"happiness": 0.7}},
}


def viewed(face, *hidden, usable=None):
    """Return a face with landmarks of which the named parts are hidden."""
    visibility = np.ones(68, np.float32)
    for part in hidden:
        visibility[REGIONS[part]] = 0
    points = np.stack([10 + np.arange(68) % 28, 12 + np.arange(68) / 3], axis=1).astype(np.float32)
    return replace(face, landmarks=points, visibility=visibility, usable=usable)


def seen_as(time, *hidden, usable=None):
    whole = result(time, 1)
    return Result(whole.frame, tuple(viewed(face, *hidden, usable=usable) for face in whole.faces))


def many_views(seen, **changes):
    """Answer 90 % happiness, and note the share of each picture that is shown."""

    def answer(batch):
        seen.extend((batch > 0).mean(axis=(1, 2, 3)).tolist())
        return {"probabilities": np.tile(one_hot(1, 0.9), (len(batch), 1))}

    return FakeEngine(expression_spec(crop={"mode": "mask"}, views=VIEWS, **changes), answer)


def test_a_face_with_a_hidden_mouth_is_judged_by_nose_and_eyes_as_they_are_calibrated():
    seen: list[float] = []
    [face] = Expresser(many_views(seen), ExpressionSettings())([seen_as(0, "mouth")])[0].faces
    expression = face.expression
    assert seen[0] < 0.8
    assert (expression.label, expression.region, expression.reliability) == ("happiness", "nose_eyes", 0.7)
    assert expression.confidence == pytest.approx(tempered(one_hot(1, 0.9)[None], 2)[0, 1])


def test_a_face_that_is_seen_whole_is_judged_whole():
    seen: list[float] = []
    [face] = Expresser(many_views(seen), ExpressionSettings())([seen_as(0)])[0].faces
    assert seen == [1]
    assert (face.expression.region, face.expression.reliability) == ("face", 0.9)


def test_another_region_asks_for_a_new_answer_at_once():
    engine = many_views([])
    express = Expresser(engine, ExpressionSettings(interval=1))
    regions = [
        express([seen_as(t, *hidden)])[0].faces[0].expression.region for t, hidden in ((0, ()), (0.1, ["mouth"]))
    ]
    assert regions == ["face", "nose_eyes"]
    assert engine.batch_sizes == [1, 1]


def test_where_nothing_can_be_seen_the_answer_is_uncertain_and_never_the_last_one():
    engine = many_views([])
    express = Expresser(engine, ExpressionSettings())
    assert express([seen_as(0)])[0].faces[0].expression.label == "happiness"
    for time, hidden, usable in ((0.1, ("eyes", "nose", "mouth"), None), (0.2, (), 0.0)):
        expression = express([seen_as(time, *hidden, usable=usable)])[0].faces[0].expression
        assert (expression.label, expression.region, expression.reliability) == (UNCERTAIN, "none", None)
        assert list(expression.probabilities.values()) == pytest.approx([1 / 8] * 8)
        assert expression.time == time
    assert engine.batch_sizes == [1]
    assert express([seen_as(0.3, usable=1.0)])[0].faces[0].expression.label == "happiness"


def test_without_routing_a_hidden_mouth_changes_nothing():
    seen: list[float] = []
    express = Expresser(many_views(seen), ExpressionSettings(routing=False))
    assert express([seen_as(0, "mouth")])[0].faces[0].expression.region == "face"
    assert seen == [1]


def test_routing_can_be_switched_while_a_face_is_in_view():
    engine = many_views([])
    express, regions = Expresser(engine, ExpressionSettings(interval=10)), []
    for time, routing in ((0, True), (0.1, False), (0.2, False), (0.3, True)):
        express.settings = ExpressionSettings(interval=10, routing=routing)
        regions.append(express([seen_as(time, "mouth")])[0].faces[0].expression.region)
    assert regions == ["nose_eyes", "face", "face", "nose_eyes"]
    assert engine.batch_sizes == [1, 1, 1]


def test_a_network_of_one_region_is_not_routed():
    engine = fake_classifier()
    assert Expresser(engine, ExpressionSettings())([seen_as(0, "mouth")])[0].faces[0].expression.region == "face"


def test_faces_with_and_without_landmarks_go_into_one_batch():
    engine = many_views([])
    plain, known = result(0, 1), seen_as(0, "mouth")
    both = Result(plain.frame, (*plain.faces, replace(known.faces[0], track_id=2)))
    regions = [face.expression.region for face in Expresser(engine, ExpressionSettings())([both])[0].faces]
    assert regions == ["face", "nose_eyes"]
    assert engine.batch_sizes == [2]


def test_a_network_of_regions_judges_the_partly_hidden_faces_and_the_other_one_the_whole():
    whole, parts = fake_classifier(label=0), many_views([])
    parts.spec = expression_spec(crop={"region": "nose_eyes", "margin": 0.1}, views={"nose_eyes": VIEWS["nose_eyes"]})
    express = Expresser(whole, ExpressionSettings(), regions=parts)
    plain, known = result(0, 1, 3), seen_as(0, "mouth")
    both = Result(plain.frame, (*plain.faces, replace(known.faces[0], track_id=2)))
    found = [(face.expression.label, face.expression.region) for face in express([both])[0].faces]
    assert found == [("neutral", "face")] * 2 + [("happiness", "nose_eyes")]
    assert (whole.batch_sizes, parts.batch_sizes) == ([2], [1])
    # a part that neither network knows is no ground for a guess
    assert express([seen_as(0.1, "nose", "eyes")])[0].faces[0].expression.label == UNCERTAIN
