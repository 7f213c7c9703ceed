"""Timelines: what happens to a face decides its id, whatever else goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import permutations
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.build import load_detector
from streamer.config import DetectorConfig
from streamer.faces.boxes import iou
from streamer.faces.likeness import describe, visible
from streamer.faces.track import Tracker, TrackerSettings, assign
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.types import Detections, Face, Frame

HEIGHT, WIDTH = 240, 400
Path2D = Callable[[float], tuple[float, float] | None]


def texture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Paint what stands for a face or a background: coarse coloured spots, the same for the same seed."""
    spots = np.random.default_rng(seed).integers(30, 226, (5, 5, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@dataclass
class Actor:
    """Show the face `seed` at path(time) (its centre, or None while away); seen says when the detector finds it."""

    seed: int
    path: Path2D
    size: int = 40
    score: Callable[[float], float] = lambda time: 0.9
    seen: Callable[[float], bool] = lambda time: True

    def box(self, time: float) -> NDArray[np.float32] | None:
        centre = self.path(time)
        if centre is None:
            return None
        half = self.size / 2
        return np.array([centre[0] - half, centre[1] - half, centre[0] + half, centre[1] + half], np.float32)


@dataclass
class Scene:
    """Draw actors, the last in front, and detect those that are not hidden by one in front of them."""

    actors: list[Actor]
    background: Callable[[float], int] = lambda time: 1000
    light: Callable[[float], tuple[float, float]] = lambda time: (1.0, 0.0)
    boxes: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def frame(self, time: float, index: int = 0) -> Frame:
        image = texture(self.background(time), HEIGHT, WIDTH)
        self.boxes = {}
        for actor in self.actors:
            box = actor.box(time)
            if box is None:
                continue
            self.boxes[actor.seed] = box
            left, top, right, bottom = np.clip(box.astype(int), 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
            x, y = left - int(box[0]), top - int(box[1])
            face = texture(actor.seed, actor.size, actor.size)
            image[top:bottom, left:right] = face[y : y + bottom - top, x : x + right - left]
        gain, offset = self.light(time)
        return Frame(np.clip(image * gain + offset, 0, 255).astype(np.uint8), "scene", index, time, time)

    def detections(self, time: float) -> Detections:
        present = [actor for actor in self.actors if actor.seed in self.boxes]
        found, scores = [], []
        for n, actor in enumerate(present):
            box = self.boxes[actor.seed]
            behind = any(iou(box[None], self.boxes[other.seed][None])[0, 0] > 0.3 for other in present[n + 1 :])
            if actor.seen(time) and not behind:
                found.append(box)
                scores.append(actor.score(time))
        return detections(found, scores)


def detections(boxes: list[NDArray[np.float32]], scores: list[float]) -> Detections:
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32))


@dataclass
class Moment:
    """Hold what was shown at a time, and where the actors truly were."""

    time: float
    faces: tuple[Face, ...]
    truth: dict[int, NDArray[np.float32]]

    def id_of(self, seed: int) -> int | None:
        """Return the id of the best face at an actor's place."""
        if seed not in self.truth or not self.faces:
            return None
        overlap = iou(np.stack([face.box for face in self.faces]), self.truth[seed][None])[:, 0]
        return self.faces[int(overlap.argmax())].track_id if overlap.max() > 0.4 else None


def play(
    scene: Scene, seconds: float, tracker: Tracker | None = None, interval: float = 0.12, fps: float = 25
) -> Iterator[Moment]:
    tracker = tracker or Tracker()
    due = 0.0
    for index in range(round(seconds * fps) + 1):
        time = index / fps
        frame = scene.frame(time, index)
        found = None
        if time >= due - 1e-9:
            found, due = scene.detections(time), due + interval
        yield Moment(time, tracker.update(frame, found), scene.boxes)


def ids_of(moments: list[Moment], seed: int) -> list[int]:
    """List the ids that an actor had, in the order of time, without repeats."""
    return list(dict.fromkeys(number for moment in moments if (number := moment.id_of(seed)) is not None))


def all_ids(moments: list[Moment]) -> set[int]:
    return {face.track_id for moment in moments for face in moment.faces}


def still(x: float, y: float = 120) -> Path2D:
    return lambda time: (x, y)


def gone_between(path: Path2D, start: float, end: float) -> Path2D:
    return lambda time: None if start <= time < end else path(time)


def empty_frame(time: float, height: int = HEIGHT, width: int = WIDTH) -> Frame:
    return Frame(np.zeros((height, width, 3), np.uint8), "empty", 0, time, time)


@pytest.mark.parametrize("interval", [0.04, 0.12, 0.2])
@pytest.mark.parametrize("fps", [25, 60])
def test_a_face_in_constant_motion_keeps_its_id_and_the_box_stays_on_it(interval: float, fps: float) -> None:
    scene = Scene([Actor(1, lambda time: (60 + 90 * time, 80 + 30 * time))])
    moments = list(play(scene, 3, interval=interval, fps=fps))
    assert all_ids(moments) == {1}
    settled = [iou(moment.faces[0].box[None], moment.truth[1][None])[0, 0] for moment in moments if moment.time > 1]
    assert min(settled) > 0.7


def test_a_face_that_swings_and_speeds_up_keeps_its_id() -> None:
    swinging = Actor(1, lambda time: (200 + 80 * np.sin(4 * time), 60 + 20 * np.cos(6 * time)))
    falling = Actor(2, lambda time: (60, 40 + 40 * time**2))
    moments = list(play(Scene([swinging, falling]), 2))
    assert ids_of(moments, 1) == [1]
    assert ids_of(moments, 2) == [2]


def test_a_face_as_fast_as_six_sizes_a_second_keeps_its_id_from_the_start() -> None:
    moments = list(play(Scene([Actor(1, lambda time: (20 + 144 * time, 120), size=24)]), 2.4))
    assert ids_of(moments, 1) == [1]
    assert all_ids(moments) == {1}


def test_a_missed_face_is_shown_for_the_coasting_time_and_found_again_under_its_id() -> None:
    scene = Scene([Actor(1, lambda time: (60 + 40 * time, 120), seen=lambda time: not 1 < time < 1.7)])
    moments = list(play(scene, 3))
    last = max(face.detected_time for moment in moments for face in moment.faces if moment.time < 1.7)
    shown = [moment.time for moment in moments if moment.faces]
    assert [time for time in shown if last <= time < 1.7] == pytest.approx(last + np.arange(6) * 0.04)
    assert ids_of(moments, 1) == [1]
    assert moments[-1].faces


@pytest.mark.parametrize("interval", [0.4, 0.8])
def test_a_face_that_every_search_finds_does_not_flicker_however_rare_searches_are(interval: float) -> None:
    scene = Scene([Actor(1, still(200), seen=lambda time: time < 2.4)])
    moments = list(play(scene, 3.5, interval=interval))
    assert [bool(moment.faces) for moment in moments] == [moment.time < 2.4 for moment in moments]
    assert all_ids(moments) == {1}


def test_a_face_that_was_away_longer_than_max_age_gets_a_new_id() -> None:
    moments = list(play(Scene([Actor(1, gone_between(still(200), 1, 2.4))]), 4))
    assert ids_of(moments, 1) == [1, 2]


def test_a_face_says_when_it_was_detected_and_with_which_score() -> None:
    moments = list(play(Scene([Actor(1, still(200), score=lambda time: 0.8 + time / 10)]), 1, interval=0.2))
    for moment in moments:
        detected = moment.time - moment.time % 0.2 if moment.time % 0.2 < 0.199 else moment.time
        assert moment.faces[0].detected_time == pytest.approx(detected)
        assert moment.faces[0].score == pytest.approx(0.8 + detected / 10)
        assert moment.faces[0].expression is None


@pytest.mark.parametrize("speed", [60, 120, 200])
@pytest.mark.parametrize("apart", [0, 10])
def test_two_faces_that_cross_keep_their_ids(speed: float, apart: float) -> None:
    rightward = Actor(1, lambda time: (40 + speed * time, 120))
    leftward = Actor(2, lambda time: (360 - speed * time, 120 + apart))
    moments = list(play(Scene([rightward, leftward]), 320 / speed))
    first, second = moments[0].id_of(1), moments[0].id_of(2)
    assert ids_of(moments[:1], 1) != ids_of(moments[:1], 2)
    assert moments[-1].id_of(1) == first
    assert moments[-1].id_of(2) == second
    assert all_ids(moments) == {1, 2}


def test_a_face_that_turns_back_behind_another_is_not_taken_for_it() -> None:
    behind = Actor(1, lambda time: (200 - 90 * abs(time - 1), 120))
    front = Actor(2, lambda time: (200 + 90 * abs(time - 1), 120))
    moments = list(play(Scene([behind, front]), 2))
    assert moments[-1].id_of(1) == moments[0].id_of(1)
    assert moments[-1].id_of(2) == moments[0].id_of(2)


def test_a_face_that_enters_where_another_just_left_is_somebody_else() -> None:
    first = Actor(1, gone_between(still(200), 1, 9))
    second = Actor(2, gone_between(still(202), 0, 1.08))
    moments = list(play(Scene([first, second]), 2))
    assert ids_of(moments[:20], 1) == [1]
    assert moments[-1].id_of(2) == 2


def test_a_scene_cut_takes_over_no_id_and_leaves_no_box_behind() -> None:
    def before(time: float) -> bool:
        return time < 1

    scene = Scene(
        [
            Actor(1, gone_between(still(100), 1, 9)),
            Actor(2, gone_between(still(300), 1, 9)),
            Actor(3, gone_between(still(104, 122), 0, 1), size=44),
        ],
        background=lambda time: 1000 if before(time) else 2000,
    )
    moments = list(play(scene, 2))
    assert all_ids([moment for moment in moments if before(moment.time)]) == {1, 2}
    after = [moment for moment in moments if moment.time >= 1.08]  # the first detection after the cut
    assert all_ids(after) == {3}
    assert ids_of(after, 3) == [3]


def test_after_a_cut_that_is_told_even_the_same_face_is_new_and_is_shown_at_once() -> None:
    scene, tracker = Scene([Actor(1, still(200), score=lambda time: 0.55)]), Tracker()
    before = list(play(scene, 1, tracker))
    tracker.cut()
    assert tracker.update(scene.frame(1.04), None) == ()
    (face,) = tracker.update(scene.frame(1.08), scene.detections(1.08))
    assert (all_ids(before), face.track_id) == ({1}, 2)


@pytest.mark.parametrize("score", [0.58, 0.9])
def test_one_detection_that_is_off_neither_ends_an_id_nor_founds_another(score: float) -> None:
    """Heads that keep still, one of which is once found too large, with much of what is around it."""
    left, right = Actor(1, still(100)), Actor(2, still(300))
    scene, tracker = Scene([left, right]), Tracker()
    moments = []
    for index in range(50):
        frame = scene.frame(index / 25, index)
        found = scene.detections(frame.time) if index % 3 == 0 else None
        if found is not None and index == 21:
            found = detections([found.boxes[0], found.boxes[1] + np.float32([-5, -13, 4, 1])], [0.9, score])
        moments.append(Moment(frame.time, tracker.update(frame, found), scene.boxes))
    assert all_ids(moments) == {1, 2}
    assert all(len(moment.faces) == 2 for moment in moments)


@pytest.mark.data
@pytest.mark.parametrize("name", ["id_switch.264", "id_switch_reference.mp4"])
def test_still_heads_keep_their_ids_in_a_recording_whose_boxes_are_off_now_and_then(shared: Path, name: str) -> None:
    perceive = Perceiver(load_detector(DetectorConfig()), Tracker, DetectionSettings())
    video, shown = cv2.VideoCapture(str(shared / "cases" / name)), []
    while (read := video.read())[0]:
        shown += perceive([Frame(np.asarray(read[1], np.uint8), name, len(shown), len(shown) / 25, 0)])
    video.release()
    perceive.detector.close()
    assert all([face.track_id for face in result.faces] == [1, 2] for result in shown)


@pytest.mark.parametrize(
    "light",
    [
        pytest.param(lambda time: (1 - 0.7 * min(time / 2, 1), 0.0), id="dusk"),
        pytest.param(lambda time: (0.5, 60.0) if 1 < time < 1.5 else (1.0, 0.0), id="flash"),
        pytest.param(lambda time: (0.5 + 0.4 * np.sin(6 * time), 20.0), id="flicker"),
    ],
)
def test_changing_light_does_not_break_tracks(light: Callable[[float], tuple[float, float]]) -> None:
    scene = Scene([Actor(1, lambda time: (60 + 60 * time, 80)), Actor(2, lambda time: (340 - 60 * time, 160))])
    scene.light = light
    moments = list(play(scene, 3))
    assert all_ids(moments) == {1, 2}
    assert all(len(moment.faces) == 2 for moment in moments)


def sway(n: int, time: float) -> tuple[float, float]:
    """Return the place of one of fifty actors who stand in rows of ten."""
    return 20 + 40 * (n % 10) + 6 * np.sin(3 * time + n), 24 + 48 * (n // 10)


def test_fifty_faces_keep_fifty_ids() -> None:
    actors = [Actor(n, partial(sway, n), size=26) for n in range(50)]
    moments = list(play(Scene(actors), 1.5))
    assert all(len(moment.faces) == 50 for moment in moments)
    assert all_ids(moments) == set(range(1, 51))
    assert all(ids_of(moments, n) == [n + 1] for n in range(50))
    assert [face.track_id for face in moments[-1].faces] == sorted(face.track_id for face in moments[-1].faces)


def test_low_scores_continue_a_track_but_found_none() -> None:
    fading = Actor(1, still(100), score=lambda time: 0.9 if time < 1 else 0.4)
    faint = Actor(2, gone_between(still(300), 0, 0.5), score=lambda time: 0.45)
    moments = list(play(Scene([fading, faint]), 2))
    assert all(moment.id_of(1) == 1 for moment in moments)
    assert moments[-1].faces[0].score == pytest.approx(0.4)
    assert ids_of(moments, 2) == []


def test_an_unsure_face_is_shown_at_its_second_detection_and_a_sure_one_at_once() -> None:
    unsure = Actor(1, gone_between(still(100), 0, 0.48), score=lambda time: 0.6)
    sure = Actor(2, gone_between(still(300), 0, 0.48))
    moments = list(play(Scene([unsure, sure]), 1, interval=0.12))
    assert min(moment.time for moment in moments if moment.id_of(2)) == pytest.approx(0.48)
    assert min(moment.time for moment in moments if moment.id_of(1)) == pytest.approx(0.6)
    assert all_ids(moments) == {1, 2}


def test_an_unsure_face_that_is_not_found_again_is_never_shown_and_costs_no_id() -> None:
    flash = Actor(1, gone_between(still(100), 0, 0.48), score=lambda time: 0.6, seen=lambda time: time < 0.5)
    later = Actor(2, gone_between(still(300), 0, 1))
    moments = list(play(Scene([flash, later]), 2, interval=0.12))
    assert ids_of(moments, 1) == []
    assert ids_of(moments, 2) == [1]


def test_every_face_of_a_photo_is_shown_at_once_and_every_photo_starts_afresh() -> None:
    tracker = Tracker()
    for n in range(3):
        scene = Scene([Actor(10 * n + k, still(60 + 90 * k), score=lambda time: 0.55) for k in range(4)])
        frame = scene.frame(float(n))
        faces = tracker.update(frame, scene.detections(float(n)))
        assert [face.track_id for face in faces] == [4 * n + k for k in range(1, 5)]
        for face, truth in zip(faces, scene.boxes.values(), strict=True):
            np.testing.assert_allclose(face.box, truth, atol=1e-3)


def test_faces_that_stay_from_one_second_to_the_next_without_detection_are_not_revived() -> None:
    scene = Scene([Actor(1, still(200))])
    tracker = Tracker()
    tracker.update(scene.frame(0), scene.detections(0))
    assert tracker.update(scene.frame(30), None) == ()
    (face,) = tracker.update(scene.frame(31), scene.detections(31))
    assert face.track_id == 2


def test_nothing_detected_and_nothing_tracked_gives_no_faces() -> None:
    tracker = Tracker()
    assert tracker.update(empty_frame(0), None) == ()
    assert tracker.update(empty_frame(0.1), Detections.empty()) == ()
    assert tracker.update(empty_frame(0.2), None) == ()


def test_two_detections_at_the_same_time_agree_on_one_face() -> None:
    scene = Scene([Actor(1, still(200))])
    tracker = Tracker()
    for _ in range(3):
        (face,) = tracker.update(scene.frame(1.0), scene.detections(1.0))
        assert face.track_id == 1
    np.testing.assert_allclose(face.box, scene.boxes[1], atol=1e-3)


def test_time_that_goes_backwards_is_refused() -> None:
    tracker = Tracker()
    tracker.update(empty_frame(1.0), None)
    with pytest.raises(ValueError, match=r"0\.250 s before"):
        tracker.update(empty_frame(0.75), None)
    with pytest.raises(ValueError, match="before"):
        tracker.update(empty_frame(float("nan")), None)


def test_degenerate_boxes_are_ignored_and_good_ones_beside_them_kept() -> None:
    boxes = [
        [50, 50, 90, 90],
        [50, 50, 50, 90],
        [90, 90, 50, 50],
        [np.nan, 0, 10, 10],
        [0, 0, np.inf, 10],
        [np.inf, 0, np.inf, 10],
        [-1e30, -1e30, 1e30, 1e30],
        [WIDTH + 5, 10, WIDTH + 60, 60],
        [-80, -80, -2, -2],
        [10, 10, 10.5, 10.5],
    ]
    found = Detections(np.array(boxes, np.float32), np.full(len(boxes), 0.9, np.float32))
    (face,) = Tracker().update(empty_frame(0), found)
    np.testing.assert_allclose(face.box, boxes[0])
    unscored = Detections(np.array(boxes[:1], np.float32), np.array([np.nan], np.float32))
    assert Tracker().update(empty_frame(0), unscored) == ()


def test_a_face_that_reaches_outside_the_picture_is_followed_until_it_is_outside() -> None:
    moments = list(play(Scene([Actor(1, lambda time: (360 + 60 * time, 120))]), 1.2))
    assert all_ids(moments) == {1}
    assert all(moment.faces for moment in moments if moment.time < 0.9)
    moving_out = Actor(2, lambda time: (390 + 100 * time, 120), seen=lambda time: time < 0.3)
    moments = list(play(Scene([moving_out]), 1.2))
    assert not moments[-1].faces


@pytest.mark.parametrize("elapsed", [0.04, 0.2, 1.0, 20.0])
def test_a_box_without_detections_does_not_fly_away(elapsed: float) -> None:
    tracker = Tracker(TrackerSettings(coast=50, max_age=60))
    scene = Scene([Actor(1, lambda time: (100 + 300 * time, 120))])
    for time in np.arange(0, 0.5, 0.04):
        before = tracker.update(scene.frame(time), scene.detections(time))[0].box
    wide = Frame(np.zeros((HEIGHT, 4000, 3), np.uint8), "scene", 0, time + elapsed, 0)
    (face,) = tracker.update(wide, None)
    moved = face.box - before
    assert 0 <= moved[:2].mean() <= min(300 * elapsed, 4 * 40)
    size = face.box[2:] - face.box[:2]
    assert ((size > 20) & (size < 80)).all()


def test_whatever_the_detector_says_ids_are_never_reused_and_boxes_stay_finite() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker()
    time, searched, largest, lost = 0.0, 0.0, 0, set()
    shown: set[int] = set()
    for _ in range(400):
        time += rng.choice([0, 0.016, 0.04, 0.3, 2])
        n = int(rng.integers(0, 12))
        corner, side = rng.normal(150, 150, (n, 2)), rng.normal(40, 40, (n, 2))
        boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
        boxes[rng.random((n, 4)) < 0.02] = np.nan
        found = Detections(boxes, rng.random(n).astype(np.float32)) if rng.random() < 0.6 else None
        image = rng.integers(0, 255, (60, 80, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        faces = tracker.update(Frame(image, "noise", 0, time, 0), found)
        searched = time if found is not None else searched
        ids = [face.track_id for face in faces]
        assert ids == sorted(set(ids))
        assert all(number in shown or number > largest for number in ids)
        assert not lost.intersection(ids)
        assert all(np.isfinite(face.box).all() and (face.box[2:] > face.box[:2]).all() for face in faces)
        for face in faces:
            age = time - face.detected_time
            assert age <= 0.2 + 1e-6 or (face.detected_time == searched and age < 1)
        largest = max([largest, *ids])
        shown.update(ids)
        if time - max((face.detected_time for face in faces), default=time) > 1:
            lost.update(ids)
    assert largest > 50


def test_each_tracker_counts_from_one() -> None:
    scene = Scene([Actor(1, still(100))])
    frame = scene.frame(0)
    for _ in range(2):
        (face,) = Tracker().update(frame, scene.detections(0))
        assert face.track_id == 1


@pytest.mark.parametrize(
    "changes",
    [{"coast": 2.0}, {"coast": -0.1}, {"high_score": 0.9}, {"low_score": 0.6}],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="tracker: expected"):
        TrackerSettings(**changes)


@pytest.mark.parametrize("seed", range(20))
def test_assignment_is_as_good_as_trying_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 6, 2).tolist()
    worth = np.where(rng.random((rows, columns)) < 0.6, rng.random((rows, columns)), 0).astype(np.float32)
    padded = np.zeros((rows, columns + rows))
    padded[:, :columns] = worth
    best = max(
        sum(padded[row, column] for row, column in enumerate(p)) for p in permutations(range(columns + rows), rows)
    )
    chosen_rows, chosen_columns = assign(worth)
    assert worth[chosen_rows, chosen_columns].sum() == pytest.approx(best, abs=1e-4)
    assert (worth[chosen_rows, chosen_columns] > 0).all()
    assert len(set(chosen_rows)) == len(chosen_rows)
    assert len(set(chosen_columns)) == len(chosen_columns)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_assignment_of_nothing_possible_is_empty(shape: tuple[int, int]) -> None:
    rows, columns = assign(np.zeros(shape, np.float32))
    assert len(rows) == len(columns) == 0


def test_overlap_is_the_shared_area_of_the_union() -> None:
    a = np.array([[0, 0, 10, 10]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [30, 30, 40, 40]], np.float32)
    np.testing.assert_allclose(iou(a, b), [[1, 1 / 3, 0, 0]])


def test_likeness_sees_the_pattern_and_not_the_light() -> None:
    boxes = np.array([[50, 50, 150, 150]], np.float32)
    one, other = (texture(seed, 200, 200) for seed in (1, 2))
    dim = (one * 0.5 + 20).astype(np.uint8)
    flat = np.full_like(one, 90)
    look = describe(one, boxes)[0]
    assert look @ look == pytest.approx(1)
    assert look @ describe(dim, boxes)[0] > 0.95
    assert look @ describe(other, boxes)[0] < 0.4
    assert look @ describe(flat, boxes)[0] < 0.4
    assert describe(flat, boxes)[0] @ describe(np.full_like(one, 130), boxes)[0] > 0.99


def test_what_another_face_or_the_edge_hides_is_known() -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    boxes = np.array([[50, 50, 90, 90], [60, 50, 100, 90], [140, 140, 160, 160], [180, -20, 220, 20]], np.float32)
    first, second, alone, corner = 1 - visible(image, boxes).mean(axis=1)
    assert first == second > 0.5
    assert alone == 0
    assert corner == pytest.approx(0.75)
    assert visible(image, boxes[:0]).mean(axis=1).shape == (0,)
    assert describe(image, boxes[:0]).shape == (0, describe(image, boxes).shape[1])


@pytest.mark.data
@pytest.mark.parametrize(
    ("clip", "people"), [("classroom.gif", 4), ("head-pose-face-detection-female-and-male.gif", 2), ("fer-test.mp4", 1)]
)
def test_on_real_clips_every_person_has_one_id(shared: Path, clip: str, people: int) -> None:
    detector = cv2.FaceDetectorYN.create(
        str(shared / "models/face_detection_yunet_2023mar.onnx"), "", (320, 320), 0.3, 0.3, 5000
    )
    video = cv2.VideoCapture(str(shared / "media/videos" / clip))
    fps, tracker, due, shown = video.get(cv2.CAP_PROP_FPS), Tracker(), 0.0, []
    for index in range(60):
        read, image = video.read()
        if not read:
            break
        found = None
        if index / fps >= due - 1e-9:
            due += 0.12
            detector.setInputSize(image.shape[1::-1])
            rows = detector.detect(image)[1]
            rows = np.zeros((0, 15), np.float32) if rows is None else rows
            boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
            found = Detections(boxes, rows[:, 14])
        shown.append(tracker.update(Frame(image, clip, index, index / fps, 0), found))
    video.release()
    assert {face.track_id for faces in shown for face in faces} == set(range(1, people + 1))
    assert all(len(faces) == people for faces in shown)
