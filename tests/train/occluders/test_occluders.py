"""Occluders hide what they say they hide, for whole batches and at any size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.faces.regions import REGIONS
from tests.make import points_of_face
from train.occluders import EVALUATION_ONLY, FAMILIES, NONE, TRAINING, occlude


def batch(count: int, size: int = 96) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    pictures = np.random.default_rng(5).integers(90, 130, (count, size, size), dtype=np.uint8)
    return pictures, np.stack([points_of_face(0.6 * size, 0.2 * size, 0.25 * size)] * count)


def seen(visibility: NDArray[np.float32], region: str) -> float:
    return float(visibility[:, REGIONS[region]].mean())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [24, 96])
def test_every_family_hides_a_part_and_changes_the_picture_there_alone(family: str, size: int) -> None:
    pictures, points = batch(24, size)
    changed, visibility = occlude(pictures, points, [family] * 24, np.random.default_rng(1), cover=0.7)
    assert changed.dtype == np.uint8
    assert changed.shape == pictures.shape
    assert ((visibility >= 0) & (visibility <= 1)).all()
    assert 0.05 < (visibility < 0.5).mean() < 0.95
    assert (changed != pictures).any(axis=(1, 2)).all()


@pytest.mark.parametrize(
    ("family", "hidden", "visible"),
    [
        ("textured_mask_low", "mouth", "nose_eyes"),
        ("hand", "mouth", "eyes"),
        ("textured_mask", "nose_mouth", "eyes"),
        ("surgical_mask", "nose_mouth", "eyes"),
        ("hair", "eyes", "mouth"),
        ("hand_over_eyes", "eyes", "mouth"),
    ],
)
def test_full_cover_hides_its_region_and_leaves_the_others(family: str, hidden: str, visible: str) -> None:
    pictures, points = batch(40)
    _, visibility = occlude(pictures, points, [family] * 40, np.random.default_rng(1), cover=1.0)
    assert seen(visibility, hidden) < 0.12
    assert seen(visibility, visible) > 0.85


def test_more_cover_hides_more() -> None:
    for family in FAMILIES:
        pictures, points = batch(60)
        shares = [
            occlude(pictures, points, [family] * 60, np.random.default_rng(1), cover=cover)[1].mean()
            for cover in (0.1, 0.9)
        ]
        assert shares[1] < shares[0], family


def test_none_leaves_the_picture_and_points_outside_it_are_not_visible() -> None:
    pictures, points = batch(2)
    points[1] += (60, 0)
    changed, visibility = occlude(pictures, points, [NONE] * 2, np.random.default_rng(1))
    assert (changed == pictures).all()
    assert (visibility[0] == 1).all()
    assert ((visibility[1] == 0) == (points[1, :, 0] > 96)).all()


def test_unknown_landmarks_are_left_alone_and_say_so() -> None:
    pictures, points = batch(2)
    points[0, 3] = np.nan
    changed, visibility = occlude(pictures, points, ["hand"] * 2, np.random.default_rng(1))
    assert (changed[0] == pictures[0]).all()
    assert np.isnan(visibility[0]).all()
    assert np.isfinite(visibility[1]).all()


def test_the_same_numbers_draw_the_same_pictures() -> None:
    pictures, points = batch(len(FAMILIES))
    first, second = (occlude(pictures, points, list(FAMILIES), np.random.default_rng(7)) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


def test_faces_of_a_point_or_half_outside_are_drawn_on_without_an_error() -> None:
    pictures, points = batch(3)
    points[0] = points[0, 30]
    points[1] -= 50
    points[2] *= 100
    for family in FAMILIES:
        _, visibility = occlude(pictures, points, [family] * 3, np.random.default_rng(1))
        assert np.isfinite(visibility).all(), family


def test_wrong_requests_are_named() -> None:
    pictures, points = batch(2)
    with pytest.raises(ValueError, match="unknown occluder \\['veil'\\]: expected one of surgical_mask"):
        occlude(pictures, points, ["veil", "hand"], np.random.default_rng(1))
    with pytest.raises(ValueError, match="expected one length, found 2, 2 and 1"):
        occlude(pictures, points, ["hand"], np.random.default_rng(1))


def test_what_reports_are_made_on_is_never_trained_on() -> None:
    assert not set(TRAINING) & set(EVALUATION_ONLY)
    assert {*TRAINING, *EVALUATION_ONLY} == set(FAMILIES)
