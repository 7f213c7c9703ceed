"""The perceive stage with landmarks: one batch for all streams, steadied per track, unknown where nothing was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.landmarks import Landmarks
from streamer.faces.steady_landmarks import SteadySettings
from streamer.faces.track import Tracker
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.types import Detections, Frame, Step
from tests.make import points_of_face

BOX = np.array([[40, 30, 100, 100]], np.float32)


class OneFace:
    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [Detections(BOX, np.ones(1, np.float32)) for _ in images]

    def close(self) -> None:
        pass


class Shaky:
    """Answer points that jump to and fro, and see the parts of the face in every other look only."""

    def __init__(self, blind: bool = False) -> None:
        self.asked: list[int] = []
        self.turn = 0  # of the looks that are not moved aside
        self.blind = blind

    def look(
        self,
        images: Sequence[NDArray[np.uint8]],
        boxes: Sequence[NDArray[np.float32]],
        rolls: Sequence[NDArray[np.float32]] | None = None,
    ) -> list[Landmarks]:
        self.asked.append(len(images))
        self.turn += abs(float(boxes[0][0, 0] - BOX[0, 0])) < 3
        found = []
        for own in boxes:
            points = np.stack([points_of_face(60, box[0] + self.turn % 2, box[1]) for box in own])
            if self.blind:
                points[:] = np.nan
            seen = np.full((len(own), 68), self.turn % 2, np.float32)
            found.append(Landmarks(points, seen, np.ones(len(own), np.float32)))
        return found

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.look([image], [boxes])[0].points

    def close(self) -> None:
        pass


def frames(stream: str, count: int) -> list[Frame]:
    image = np.random.default_rng(0).integers(0, 255, (140, 160, 3), dtype=np.uint8)
    return [Frame(image, stream, i, i / 30, 0.0) for i in range(count)]


def perceiver(landmarker: Shaky | None, steady: SteadySettings | None = None) -> Perceiver:
    return Perceiver(OneFace(), Tracker, DetectionSettings(interval=0.0), landmarker, steady=steady)


def test_the_faces_of_all_streams_are_looked_at_together() -> None:
    landmarker = Shaky()
    perceive = perceiver(landmarker)
    perceive([frames("a", 1)[0], frames("b", 1)[0]])
    assert landmarker.asked == [2, 2]  # what is new is looked at twice, and what was located is kept
    results = perceive([frames("a", 2)[1], frames("b", 2)[1]])
    assert landmarker.asked == [2, 2, 2]
    assert all(face.landmarks is not None and face.usable is not None for one in results for face in one.faces)


def test_a_stream_that_has_its_name_anew_gives_no_id_a_second_time() -> None:
    perceive = perceiver(None)
    assert [face.track_id for face in perceive([frames("a", 1)[0]])[0].faces] == [1]
    perceive.forget("a")
    assert [face.track_id for face in perceive([frames("a", 1)[0]])[0].faces] == [2]
    assert [face.track_id for face in perceive([frames("b", 1)[0]])[0].faces] == [1]


def test_points_and_visibility_are_steadied_per_track() -> None:
    perceive = perceiver(Shaky())
    faces = [perceive([frame])[0].faces[0] for frame in frames("a", 30)]
    x = np.array([face.landmarks[0, 0] for face in faces if face.landmarks is not None])
    seen = np.array([face.visibility[0] for face in faces if face.visibility is not None])
    assert np.abs(np.diff(x[10:])).max() < 0.6
    assert np.abs(np.diff(seen[10:])).max() < 0.5
    rough = perceiver(Shaky(), SteadySettings(cutoff=0, visibility=0))
    bare = [rough([frame])[0].faces[0].landmarks for frame in frames("a", 4)]
    assert bare[1] is not None
    assert bare[2] is not None
    assert abs(bare[2][0, 0] - bare[1][0, 0]) == 1


def test_a_live_stream_that_is_late_looks_at_settled_faces_in_every_other_frame() -> None:
    landmarker = Shaky()
    perceive = perceiver(landmarker)
    given = [replace(frame, live=True) for frame in frames("a", 60)]
    early = [perceive([frame], Step.DETECTIONS)[0] for frame in given[:29]]
    assert len(landmarker.asked) == 30  # a face that is new is looked at twice, then in every frame
    late = [perceive([frame], Step.DETECTIONS)[0] for frame in given[30:50]]
    assert len(landmarker.asked) == 40
    assert all(face.landmarks is not None and face.usable == 1 for one in early + late for face in one.faces)
    assert [len(one.faces) for one in late] == [1] * 20
    perceive(given[50:51])
    perceive(given[51:52])
    assert len(landmarker.asked) == 42  # in time again


def test_files_are_never_late() -> None:
    landmarker = Shaky()
    perceive = perceiver(landmarker)
    for frame in frames("a", 60):
        perceive([frame], Step.FRAMES)
    assert len(landmarker.asked) == 61


def test_a_face_that_cannot_be_looked_at_has_no_landmarks() -> None:
    face = perceiver(Shaky(blind=True))(frames("a", 1))[0].faces[0]
    assert face.landmarks is None
    assert face.visibility is None
    assert face.usable is None


def test_without_a_landmarker_nobody_knows_what_is_hidden() -> None:
    face = perceiver(None)(frames("a", 1))[0].faces[0]
    assert face.landmarks is None
    assert face.visibility is None


class Counting(OneFace):
    """Count the pictures that are searched."""

    def __init__(self) -> None:
        self.searched = 0

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        self.searched += len(images)
        return super().detect(images)


def shots(*lengths: int, live: bool = False) -> list[Frame]:
    """Return the frames of shots that show other things, each still, at 25 frames a second."""
    pictures = [
        cv2.resize(np.random.default_rng(seed).integers(0, 255, (14, 16, 3), dtype=np.uint8), (160, 140))
        for seed, length in enumerate(lengths)
        for _ in range(length)
    ]
    return [Frame(image, "a", i, i / 25, 0.0, live) for i, image in enumerate(pictures)]


def test_a_cut_is_searched_at_once_and_neither_ids_nor_boxes_cross_it() -> None:
    detector = Counting()
    perceive = Perceiver(detector, Tracker, DetectionSettings(interval=10), None)
    results = [perceive([frame])[0] for frame in shots(4, 3, 5)]
    assert [result.found is not None for result in results] == [i in (0, 4, 7) for i in range(12)]
    assert [[face.track_id for face in result.faces] for result in results] == [[1]] * 4 + [[2]] * 3 + [[3]] * 5
    assert all(face.detected_time in (0, 0.16, 0.28) for result in results for face in result.faces)
    assert detector.searched == 3


def test_landmarks_and_visibility_start_anew_behind_a_cut() -> None:
    rough, steadied = perceiver(Shaky(), SteadySettings(cutoff=0, visibility=0)), perceiver(Shaky())
    frames_of_shots = shots(5, 5)
    for index, frame in enumerate(frames_of_shots):
        [found], [steady] = (one([frame])[0].faces for one in (rough, steadied))
        assert found.landmarks is not None
        same = np.array_equal(found.landmarks, steady.landmarks) and found.usable == steady.usable
        assert same == (index in (0, 5))


def test_a_cut_waits_for_the_time_budget_of_live_streams_and_nothing_is_shown_till_then() -> None:
    perceive = Perceiver(Counting(), Tracker, DetectionSettings(interval=10), None)
    results = []
    for index, frame in enumerate(shots(3, 5, live=True)):
        perceive._rest_until = np.inf if 0 < index < 5 else 0.0
        results += perceive([frame])
    assert [[face.track_id for face in result.faces] for result in results] == [[1]] * 3 + [[]] * 2 + [[2]] * 3
    assert [result.found is not None for result in results] == [i in (0, 5) for i in range(8)]


def test_a_cut_in_one_stream_ends_nothing_in_another() -> None:
    perceive = Perceiver(OneFace(), Tracker, DetectionSettings(interval=10), None)
    seen = []
    for cut, still in zip(shots(3, 3), frames("b", 6), strict=True):
        seen.append([result.faces[0].track_id for result in perceive([cut, still])])
    assert seen == [[1, 1]] * 3 + [[2, 1]] * 3


def test_a_live_stream_that_cuts_all_the_time_leaves_searches_to_the_others() -> None:
    perceive = Perceiver(Counting(), Tracker, DetectionSettings(interval=0.1, share=1.0, budget=1e-9), None)
    flickering, calm = shots(*[2] * 50, live=True), [replace(frame, live=True) for frame in frames("b", 100)]
    searched = []
    for index, (cut, still) in enumerate(zip(flickering, calm, strict=True)):
        perceive._cost = 1.0  # one picture a tick
        still = replace(still, time=index / 25)
        searched.append([result.found is not None for result in perceive([cut, still])])
    both = np.array(searched)
    assert (both.sum(axis=1) <= 1).all()
    waits = np.diff(np.flatnonzero(both[:, 1]))
    assert waits.max() <= 25
    assert both[:, 0].sum() > 30  # and most of the searches remain for what is new


def test_pictures_of_another_size_are_searched_at_once_and_no_box_is_carried_over() -> None:
    perceive = Perceiver(Counting(), Tracker, DetectionSettings(interval=10), None)
    small = frames("a", 6)
    large = [replace(frame, image=cv2.resize(frame.image, (320, 280))) for frame in small]
    results = [perceive([frame])[0] for frame in small[:3] + large[3:]]
    assert [result.found is not None for result in results] == [i in (0, 3) for i in range(6)]
    assert [[face.track_id for face in result.faces] for result in results] == [[1]] * 3 + [[2]] * 3
