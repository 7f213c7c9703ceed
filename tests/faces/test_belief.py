"""What is no face is neither shown nor counted, whatever the detector takes it for; and it is hidden all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer import bench
from streamer.faces.belief import believe, judge, shaded
from streamer.faces.landmarks import Landmarks
from streamer.faces.track import Tracker
from streamer.stages.hide import Hiding
from streamer.stages.perceive import LOOKS, DetectionSettings, Perceiver
from streamer.types import Detections, Frame, Result
from tests.make import points_of_face

NOISE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
PLACE = np.float32([100, 80, 160, 150])


class Finds:
    """Find the same boxes with the same scores in every picture."""

    def __init__(self, score: float, *boxes: NDArray[np.float32]) -> None:
        self.found = Detections(np.stack(boxes or (PLACE,)), np.full(len(boxes) or 1, score, np.float32))

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self.found] * len(images)

    def close(self) -> None:
        pass


class Says:
    """Say how usable what it is shown is: usable(x of the box, number of the look), or None where it cannot say."""

    def __init__(self, usable: Callable[[float, int], float | None]) -> None:
        self.usable, self.looks, self.asked = usable, 0, 0

    def look(
        self,
        images: Sequence[NDArray[np.uint8]],
        boxes: Sequence[NDArray[np.float32]],
        rolls: Sequence[NDArray[np.float32]] | None = None,
    ) -> list[Landmarks]:
        self.looks += 1
        found = []
        for own in boxes:
            self.asked += len(own)
            points = np.array([points_of_face(60, box[0], box[1]) for box in own]).reshape(-1, 68, 2)
            said = [self.usable(float(box[0]), self.looks) for box in own]
            usable = None if None in said else np.array(said, np.float32)
            found.append(Landmarks(points.astype(np.float32), np.ones((len(own), 68), np.float32), usable))
        return found

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.look([image], [boxes])[0].points

    def close(self) -> None:
        pass


def play(score: float, landmarker: Says | None, seconds: float = 2.0, min_face: int = 1) -> list[Result]:
    """Show noise at 25 fps in which the detector finds the same thing again and again."""
    perceive = Perceiver(Finds(score), Tracker, DetectionSettings(interval=0.1), landmarker, min_face=min_face)
    frames = [Frame(NOISE.copy(), "a", index, index / 25, 0.0) for index in range(round(25 * seconds))]
    return [perceive([frame])[0] for frame in frames]


def ids(results: list[Result]) -> list[int]:
    """List the ids of the one face at most of each frame, 0 where none is shown."""
    return [result.faces[0].track_id if result.faces else 0 for result in results]


@pytest.mark.parametrize("score", [0.35, 0.6, 0.95])
def test_what_the_landmarks_take_for_no_face_is_never_shown_however_sure_the_detector_is(score: float) -> None:
    assert set(ids(play(score, Says(lambda x, look: 0.1)))) == {0}


def test_an_unsure_detection_is_a_face_where_the_landmarks_are_sure() -> None:
    shown = ids(play(0.4, Says(lambda x, look: 0.999)))
    assert set(shown) == {1}


def test_the_unsurer_the_detector_is_the_surer_must_the_landmarks_be() -> None:
    usable = np.full((1, 4), 0.97, np.float32)
    beliefs = believe(np.float32([0.3, 0.5, 0.7, 0.99]), usable)
    assert all(low < high for low, high in pairwise(beliefs))
    assert believe(np.float32([0.5]), np.float32([[0.9], [0.9], [0.1]]))[0] < 0.9


@pytest.mark.parametrize("landmarker", [None, Says(lambda x, look: None)])
def test_where_landmarks_cannot_say_the_score_alone_decides(landmarker: Says | None) -> None:
    assert set(ids(play(0.45, landmarker))) == {0}
    assert set(ids(play(0.6, landmarker))) == {1}


@pytest.mark.parametrize("size", [14, 60, 300])
def test_print_is_made_of_even_areas_and_a_face_is_not(size: int) -> None:
    stored = cv2.imread(str(Path(bench.__file__).with_name("portrait.jpg")))
    scale = size / 90
    face = np.asarray(cv2.resize(stored, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    box = np.float32([[85, 55, 178, 173]]) * scale
    blurred = np.asarray(cv2.GaussianBlur(face, (0, 0), 0.1 * size), np.uint8)
    assert all(shaded(image, box)[0] for image in (face, blurred, face // 4))
    letter = np.full((120, 100, 3), 240, np.uint8)
    cv2.putText(letter, "e", (5, 100), cv2.FONT_HERSHEY_SIMPLEX, 5, (90, 30, 20), 10, cv2.LINE_AA)
    letter = np.asarray(cv2.resize(letter, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    assert not shaded(letter, np.float32([[0, 0, letter.shape[1], letter.shape[0]]]))[0]


def test_what_is_a_face_only_from_one_point_of_view_is_none() -> None:
    at_the_box = Says(lambda x, look: 0.999 if abs(x - PLACE[0]) < 1 else 0.02)
    assert set(ids(play(0.6, at_the_box))) == {0}


def test_a_thing_is_looked_at_once_a_search_and_a_face_a_little_more_often() -> None:
    thing, face = Says(lambda x, look: 0.05), Says(lambda x, look: 0.99)
    for landmarker, asked in ((thing, 1), (face, 3)):
        judge(landmarker, [NOISE], [Finds(0.6).found])
        assert landmarker.asked == asked


HEADS = [np.float32([60, 80, 110, 140]), np.float32([125, 80, 175, 140])]
AROUND = np.float32([85, 75, 150, 145])  # over half of either


class Crowd(Finds):
    """Find two heads in some pictures, and in all of them what lies around both, least sure of it."""

    def __init__(self, heads: Callable[[int], bool]) -> None:
        self.heads, self.searches = heads, 0

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        heads = self.heads(self.searches)
        self.searches += 1
        boxes, scores = ([*HEADS, AROUND], [0.9, 0.9, 0.3]) if heads else ([AROUND], [0.3])
        return [Detections(np.stack(boxes), np.float32(scores))]


def shown_of(crowd: Crowd, landmarker: Says | None) -> list[int]:
    perceive = Perceiver(crowd, Tracker, DetectionSettings(interval=0.1), landmarker)
    return [len(perceive([Frame(NOISE.copy(), "a", index, index / 10, 0.0)])[0].faces) for index in range(6)]


def test_one_box_around_two_heads_is_no_third_face_be_they_new_or_followed() -> None:
    sure = Says(lambda x, look: 0.999)
    assert shown_of(Crowd(lambda search: True), sure) == [2] * 6
    assert shown_of(Crowd(lambda search: False), sure) == [1] * 6  # where nobody is surer, it may be one


def test_a_face_is_not_held_back_by_what_is_no_face_inside_it() -> None:
    around_alone = Says(lambda x, look: 0.999 if abs(x - AROUND[0]) < 10 else 0.02)
    assert shown_of(Crowd(lambda search: True), around_alone)[0] == 1


def looked_at(landmarker: Says, seconds: float, picture: Callable[[float], NDArray[np.uint8]]) -> list[int]:
    """Count how often the thing in PLACE is looked at, search by search, ten a second."""
    perceive = Perceiver(Finds(0.4), Tracker, DetectionSettings(interval=0.1), landmarker)
    counts = [0]
    for index in range(round(10 * seconds)):
        perceive([Frame(picture(index / 10), "a", index, index / 10, 0.0)])
        counts.append(landmarker.asked)
    return np.diff(counts).tolist()


def test_what_is_clearly_no_face_rests_for_a_second_while_it_stays_as_it_is() -> None:
    assert looked_at(Says(lambda x, look: 0.05), 2, lambda time: NOISE.copy()) == [1, *[0] * 9, 1, *[0] * 9]


def test_what_comes_to_look_otherwise_is_looked_at_at_once() -> None:
    changed = NOISE.copy()
    changed[80:150, 100:160] = NOISE[10:80, 10:70]  # there alone: no cut
    counts = looked_at(Says(lambda x, look: 0.05), 1, lambda time: changed if time > 0.45 else NOISE.copy())
    assert counts[4:6] == [0, 1]


def test_what_may_be_a_face_is_looked_at_with_every_search() -> None:
    unsure = Says(lambda x, look: 0.7)
    assert looked_at(unsure, 1, lambda time: NOISE.copy()) == [3] * 10


def test_a_thing_that_moves_on_is_followed_and_a_face_elsewhere_is_looked_at() -> None:
    steps = [PLACE + np.float32([step, 0, step, 0]) for step in range(0, 60, 12)]

    class Moves(Finds):
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
            return [Detections(np.stack([steps.pop(0), PLACE + 90]), np.float32([0.4, 0.35]))] * len(images)

    face_alone = Says(lambda x, look: 0.02 if x < PLACE[0] + 70 else 0.999)
    perceive = Perceiver(Moves(0.4), Tracker, DetectionSettings(interval=0.1), face_alone)
    thing = NOISE[80:150, 100:160]
    shown = []
    for index in range(5):
        picture = np.full_like(NOISE, 120)
        picture[80:150, 100 + 12 * index : 160 + 12 * index] = thing
        picture[170:240, 190:250] = NOISE[170:240, 190:250]
        [result] = perceive([Frame(picture, "a", index, index / 10, 0.0)])
        shown.append(len(result.faces))
    assert shown == [1] * 5
    assert face_alone.asked == 1 + 3 + 4  # the thing once, the new face three times, and once a frame as it is followed


def test_a_thing_that_slips_in_is_dropped_as_soon_as_it_looks_like_one() -> None:
    shown = ids(play(0.9, Says(lambda x, look: 0.99 if look <= 4 else 0.1), seconds=4))
    assert shown[0] == 1
    assert set(shown[8:]) == {0}


def test_a_face_that_has_been_one_for_a_while_stays_behind_a_hand() -> None:
    covered = Says(lambda x, look: 0.05 if 60 < look < 100 else 0.99)
    results = play(0.9, covered, seconds=5)
    assert set(ids(results)) == {1}
    assert min(result.faces[0].usable or 0 for result in results) < 0.2


def test_no_face_is_smaller_than_the_smallest_wanted_but_what_was_found_is_told() -> None:
    sure = Says(lambda x, look: 0.999)
    assert set(ids(play(0.9, sure, min_face=71))) == {0}
    assert set(ids(play(0.9, sure, min_face=70))) == {1}
    assert all(result.found is None or len(result.found) for result in play(0.9, sure, min_face=71))


@pytest.mark.parametrize(("usable", "min_face"), [(0.05, 1), (0.999, 100)])
def test_what_is_refused_is_hidden_all_the_same(usable: float, min_face: int) -> None:
    hide = Hiding(lambda results: results, "faces")
    for result in play(0.35, Says(lambda x, look: usable), min_face=min_face):
        [hidden] = hide([result])
        assert not result.faces
        x0, y0, x1, y1 = PLACE.astype(int)
        assert (hidden.frame.image[y0:y1, x0:x1] != NOISE[y0:y1, x0:x1]).any(axis=2).mean() > 0.97


def test_pictures_with_faces_and_pictures_with_things_alone_are_judged_together() -> None:
    clear = Says(lambda x, look: 0.999 if abs(x - PLACE[0]) < 10 else 0.001)
    thing = PLACE + np.float32([60, 0, 60, 0])
    found = [Finds(0.9, PLACE).found, Finds(0.4, thing).found, Finds(0.6, thing, PLACE).found]
    beliefs = [belief for _, belief in judge(clear, [NOISE] * 3, found) if belief is not None]
    assert [(belief > 0.98).tolist() for belief in beliefs] == [[True], [False], [False, True]]


def test_what_is_of_one_shade_holds_none() -> None:
    assert not shaded(np.full_like(NOISE, 90), PLACE[None])[0]


def test_a_live_page_of_letters_is_looked_at_in_parts_and_the_face_among_them_is_shown_soon() -> None:
    places = [np.float32([2 * index, 20, 2 * index + 30, 60]) for index in range(60)] + [PLACE + 100]
    scores = np.float32([0.5] * 60 + [0.4])  # the face is the least sure

    class Page(Finds):
        def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
            return [Detections(np.stack(places), scores)] * len(images)

    face_alone = Says(lambda x, look: 0.999 if abs(x - places[-1][0]) < 10 else 0.02)
    perceive = Perceiver(Page(0.5), Tracker, DetectionSettings(interval=0.1, share=1.0), face_alone)
    most, shown = 0, []
    for index in range(50):
        before = face_alone.asked
        [result] = perceive([Frame(NOISE.copy(), "a", index, index / 10, 0.0, live=True)])
        most = max(most, face_alone.asked - before)
        shown.append(len(result.faces))
        assert result.found is not None
        assert len(result.found) == len(places)  # and all of it is hidden where privacy asks for that
    assert most <= LOOKS + 3
    assert shown[-1] == 1
    assert max(shown) == 1
