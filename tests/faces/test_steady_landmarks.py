"""Landmarks keep still on faces that keep still, and follow motion."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.faces.steady_landmarks import Steady, SteadySettings
from streamer.types import Face
from tests.make import points_of_face

SIDE, FPS = 100.0, 30.0


def located(points: NDArray[np.float32], seen: float = 1.0, usable: float | None = 1.0) -> Face:
    box = np.array([0, 0, SIDE, SIDE], np.float32)
    return Face(1, box, 0.9, 0.0, landmarks=points, visibility=np.full(68, seen, np.float32), usable=usable)


def follow(steady: Steady, points: list[NDArray[np.float32]], start: float = 0.0) -> NDArray[np.float32]:
    faces = [steady.update(located(one), start + i / FPS) for i, one in enumerate(points)]
    return np.stack([face.landmarks for face in faces if face.landmarks is not None])


def test_noise_on_a_still_face_is_taken_out() -> None:
    random, still = np.random.default_rng(0), points_of_face(SIDE)
    noisy = [still + random.normal(0, 1, still.shape).astype(np.float32) for _ in range(90)]
    found = follow(Steady(SteadySettings()), noisy)
    assert np.diff(found[30:], axis=0).std() < 0.45 * np.diff(np.stack(noisy)[30:], axis=0).std()
    assert np.abs(found[30:].mean(axis=0) - still).max() < 0.5


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_a_moving_face_is_followed_within_a_frame(speed: float) -> None:
    step = np.array([speed * SIDE / FPS, 0], np.float32)
    path = [points_of_face(SIDE) + i * step for i in range(40)]
    found = follow(Steady(SteadySettings()), path)
    lag = np.linalg.norm(found[-1] - path[-1], axis=1).max()
    assert lag < np.linalg.norm(step)


def test_a_face_that_comes_back_after_a_while_starts_anew() -> None:
    steady = Steady(SteadySettings())
    follow(steady, [points_of_face(SIDE)] * 10)
    moved = points_of_face(SIDE, 300, 40)
    np.testing.assert_array_equal(steady.update(located(moved), 5.0).landmarks, moved)


def test_visibility_and_usable_take_their_time_in_seconds() -> None:
    for fps in (10, 60):
        steady = Steady(SteadySettings(visibility=0.2))
        points = points_of_face(SIDE)
        steady.update(located(points), 0.0)
        for i in range(1, fps // 5 + 1):
            face = steady.update(located(points, seen=0.0, usable=0.0), i / fps)
        assert face.visibility is not None
        assert face.visibility[0] == pytest.approx(np.exp(-1), abs=0.01)
        assert face.usable == pytest.approx(np.exp(-1), abs=0.01)


def test_a_face_without_landmarks_is_let_through_and_forgotten() -> None:
    steady = Steady(SteadySettings())
    steady.update(located(points_of_face(SIDE)), 0.0)
    bare = Face(1, np.zeros(4, np.float32), 0.9, 0.0)
    assert steady.update(bare, 0.03) is bare
    moved = points_of_face(SIDE, 30, 0)
    np.testing.assert_array_equal(steady.update(located(moved), 0.06).landmarks, moved)


def test_the_same_moment_twice_gives_numbers() -> None:
    steady = Steady(SteadySettings())
    for _ in range(2):
        face = steady.update(located(points_of_face(SIDE)), 1.0)
    assert face.landmarks is not None
    assert np.isfinite(face.landmarks).all()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="expected cutoff, follow and visibility >= 0 and speed > 0"):
        SteadySettings(speed=0)


def test_what_was_seen_moves_and_grows_with_the_box_where_a_face_is_not_looked_at() -> None:
    steady = Steady(SteadySettings())
    still = points_of_face(SIDE)
    follow(steady, [still] * 20)
    assert not steady.may_rest(20 / FPS)  # a face that may turn out to be none
    follow(steady, [still] * 20, start=20 / FPS)
    assert steady.may_rest(40 / FPS)
    box = np.array([20, 40, 20 + 2 * SIDE, 40 + 2 * SIDE], np.float32)
    rested = steady.rest(Face(1, box, 0.9, 0.0))
    np.testing.assert_allclose(rested.landmarks, 2 * still + (20, 40), atol=0.1)
    assert (rested.usable, rested.roll) == (1.0, 0.0)
    assert not steady.may_rest(41 / FPS)
    follow(steady, [still], start=41 / FPS)
    assert steady.may_rest(42 / FPS)
    assert not steady.may_rest(41 / FPS + 0.3)  # too long ago
