"""Timelines of faces that are away for a moment: who comes back within `max_age` has the old id."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.build import load_detector
from streamer.config import DetectorConfig
from streamer.faces.likeness import CELLS, compare, describe, visible
from streamer.faces.track import Tracker
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.types import Detections, Frame
from tests.faces.test_track import (
    HEIGHT,
    WIDTH,
    Actor,
    Scene,
    all_ids,
    detections,
    gone_between,
    ids_of,
    play,
    still,
    texture,
)


@pytest.mark.parametrize("away", [0.2, 0.5])
def test_who_leaves_over_the_edge_and_comes_back_has_the_old_id(away: float) -> None:
    def path(time: float) -> tuple[float, float]:
        out = min(time - 1, 2 + away - time)  # walks out within half a second, and in again
        return 30 - 140 * float(np.clip(out, 0, 0.5)), 120

    moments = list(play(Scene([Actor(1, path), Actor(2, still(300))]), 3))
    assert ids_of(moments, 1) == [1]
    assert moments[-1].id_of(1) == 1


def test_who_comes_back_far_from_where_he_was_lost_has_the_old_id() -> None:
    before, after = still(60), still(250)
    walker = Actor(1, lambda time: before(time) if time < 1 else None if time < 1.6 else after(time))
    moments = list(play(Scene([walker, Actor(2, still(180))]), 2.5))
    assert ids_of(moments, 1) == [1]
    assert all_ids(moments) == {1, 2}


def test_somebody_else_who_comes_there_is_somebody_else() -> None:
    first, second = Actor(1, gone_between(still(60), 1, 9)), Actor(2, gone_between(still(330), 0, 1.6))
    moments = list(play(Scene([first, second]), 2.5))
    assert moments[-1].id_of(2) == 2


def test_who_steps_out_from_behind_a_pillar_and_is_first_found_in_part_has_the_old_id() -> None:
    """The first detection after the gap shows half a pillar, so that it looks like nobody."""
    tracker, shown = Tracker(), []
    for index in range(60):
        time = index / 25
        x = 60 + 90 * time
        scene = Scene([Actor(1, still(x))])
        frame = scene.frame(time, index)
        picture = np.array(frame.image)
        picture[:, 150:200] = texture(7, HEIGHT, 50)
        found = scene.detections(time) if index % 3 == 0 and not 135 < x < 190 else None
        if found is None and index % 3 == 0:
            found = Detections.empty()
        shown.append(tracker.update(Frame(picture, "scene", index, time, time), found))
    assert [face.track_id for face in shown[0]] == [face.track_id for face in shown[-1]] == [1]


@pytest.mark.parametrize("covers", [0.3, 0.6])
def test_a_hand_before_a_face_does_not_end_its_id(covers: float) -> None:
    """It rises over all of the face and sinks again; the detector goes on finding what is half covered."""
    face, tracker, ids = Actor(1, still(200), size=60), Tracker(), set()
    for index in range(75):
        time = index / 25
        scene = Scene([face])
        frame = scene.frame(time, index)
        up = float(np.clip(min(time - 1, 1.8 + covers - time) / 0.4, 0, 1))
        picture = np.array(frame.image)
        top = round(150 - 70 * up)
        picture[top : top + 200, 160:240] = (110, 140, 190) if up else picture[top : top + 200, 160:240]
        found = None
        if index % 3 == 0:
            found = scene.detections(time) if up < 0.6 else Detections.empty()
        ids |= {one.track_id for one in tracker.update(Frame(picture, "scene", index, time, time), found)}
    assert ids == {1}


def test_what_is_covered_in_one_picture_does_not_count_against_a_likeness() -> None:
    image = texture(1, HEIGHT, WIDTH)
    boxes = np.array([[100, 80, 160, 140]], np.float32)
    covered = np.array(image)
    covered[60:160, 130:180] = texture(2, 100, 50)
    both = np.concatenate([boxes, np.array([[132, 62, 178, 158]], np.float32)])
    look, all_cells = describe(image, boxes), np.ones((1, CELLS * CELLS), np.float32)
    plain = compare(look, all_cells, describe(covered, boxes), all_cells)[0, 0]
    masked = compare(look, all_cells, describe(covered, both), visible(covered, both))[0, 0]
    assert plain < 0.6 < 0.8 < masked
    nothing = np.zeros((1, CELLS * CELLS), np.float32)
    assert compare(look, all_cells, look, nothing)[0, 0] == 0
    assert compare(look, all_cells, look, all_cells)[0, 0] == pytest.approx(1, abs=1e-5)


def ground(seed: int, time: float) -> int:
    return 1000 + seed


def blended(one: NDArray[np.uint8], other: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.addWeighted(one, 1 - share, other, share, 0), np.uint8)


@pytest.mark.parametrize("length", [10, 25, 50])
def test_no_id_crosses_a_dissolve_between_faces_at_one_place(length: int) -> None:
    class Known:
        """Find the face at the one place where there always is one."""

        def detect(self, images: list[NDArray[np.uint8]]) -> list[Detections]:
            return [detections([np.array([160, 80, 240, 160], np.float32)], [0.9]) for _ in images]

        def close(self) -> None:
            pass

    shots = [Scene([Actor(seed, still(200), size=80)], partial(ground, seed)) for seed in (1, 2)]
    one, other = (shot.frame(0).image for shot in shots)
    shares = [0.0] * 30 + np.linspace(0, 1, length).tolist() + [1.0] * 30
    perceive, ids = Perceiver(Known(), Tracker, DetectionSettings()), []
    for index, share in enumerate(shares):
        [result] = perceive([Frame(blended(one, other, share), "scene", index, index / 25, 0)])
        ids.append({face.track_id for face in result.faces})
    assert ids[0] == {1}
    assert not set.union(*ids[:30]) & set.union(*ids[-25:])


@pytest.mark.data
def test_no_id_crosses_a_dissolve_between_two_people(shared: Path) -> None:
    perceive = Perceiver(load_detector(DetectorConfig()), Tracker, DetectionSettings())
    video, ids = cv2.VideoCapture(str(shared / "cases" / "dissolve.mp4")), []
    while (read := video.read())[0]:
        [result] = perceive([Frame(np.asarray(read[1], np.uint8), "dissolve", len(ids), len(ids) / 25, 0)])
        ids.append({face.track_id for face in result.faces})
    video.release()
    perceive.detector.close()
    first, last = set.union(*ids[:35]), set.union(*ids[-25:])
    assert first
    assert last
    assert not first & last
