"""The crop is the seam between training and serving: what it shows, and above all what it must never show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.faces.regions import PARTS, REGIONS, VARIANTS, crop, crops, face_square, input_boxes, region_box
from tests.conftest import expression_spec

MODES = ("pad", "centre")


def noise(seed: int, height: int = 120, width: int = 160, channels: int = 3) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)).astype(np.uint8)


def box(*corners: float) -> NDArray[np.float32]:
    return np.array(corners, np.float32)


def rounded(edges: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.floor(edges + 0.5).astype(np.int64)


def face_points(x: float = 0, y: float = 0) -> NDArray[np.float32]:
    """Lay 68 points on a grid, each at its own place."""
    index = np.arange(68)
    return np.stack([x + 3 * (index % 9), y + 2 * (index // 9)], axis=1).astype(np.float32)


def paper(first: int, last: int) -> set[int]:
    """List landmarks as the paper counts them, from 1 and with the last one."""
    return set(range(first - 1, last))


def test_the_regions_are_those_of_the_paper() -> None:
    mouth, nose, one_eye, other_eye = (
        paper(49, 68),
        paper(29, 36),
        paper(18, 22) | paper(37, 42),
        paper(23, 27) | paper(43, 48),
    )
    for eyes, eye_points in (("both", one_eye | other_eye), ("paper", one_eye)):
        expected = {
            "face": paper(1, 68),
            "mouth": mouth,
            "nose": nose,
            "eyes": eye_points,
            "nose_mouth": nose | mouth,
            "nose_eyes": nose | eye_points,
            "mouth_eyes": mouth | eye_points,
        }
        found = {name: set(indices.tolist()) for name, indices in VARIANTS[eyes].items()}
        assert found == expected
    assert REGIONS is VARIANTS["both"]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("eyes", VARIANTS)
def test_a_region_is_the_tight_box_of_its_points_and_a_margin_of_the_longer_side(region: str, eyes: str) -> None:
    points = face_points(20, 30)
    chosen = points[VARIANTS[eyes][region]]
    tight = region_box(points, region, margin=0, eyes=eyes)
    np.testing.assert_array_equal(tight, [*chosen.min(axis=0), *chosen.max(axis=0)])
    grown = 0.1 * max(tight[2] - tight[0], tight[3] - tight[1])
    wide = region_box(points, region, eyes=eyes)
    np.testing.assert_allclose(wide, tight + np.array([-grown, -grown, grown, grown]), rtol=1e-6)
    assert wide.dtype == np.float32


def test_regions_of_many_faces_are_those_of_each() -> None:
    faces = np.stack([face_points(), face_points(50, 7) * 1.5, face_points(-20, 3)])
    many = region_box(faces, "mouth_eyes")
    assert many.shape == (3, 4)
    np.testing.assert_array_equal(many, [region_box(face, "mouth_eyes") for face in faces])
    assert region_box(faces[:0], "nose").shape == (0, 4)


def test_an_unknown_region_and_a_wrong_number_of_landmarks_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown face region 'ear': expected one of face, mouth, nose"):
        region_box(face_points(), "ear")
    with pytest.raises(ValueError, match=r"expected \(68, 2\) or \(N, 68, 2\), found \(5, 2\)"):
        region_box(face_points()[:5], "nose")


def test_the_face_square_lies_around_the_longer_side() -> None:
    np.testing.assert_allclose(face_square(box(10, 20, 40, 60), 0, 0), [5, 20, 45, 60])
    np.testing.assert_allclose(face_square(box(10, 20, 40, 60), 0.25, 0.1), [-5, 16, 55, 76])
    np.testing.assert_allclose(face_square(box(10, 20, 60, 40), -0.1, 0), [15, 10, 55, 50])
    many = np.stack([box(10, 20, 40, 60), box(0, 0, 8, 8)])
    np.testing.assert_allclose(face_square(many, 0.1, 0.05), [face_square(one, 0.1, 0.05) for one in many])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(48, 48), (144, 112), (7, 30)])
def test_pixels_outside_the_box_cannot_change_the_crop(mode: str, channels: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for seed in range(40):
        image, other = noise(seed), noise(seed + 1000)
        low, side = rng.uniform(-30, 140, 2), rng.uniform(1, 110, 2)
        edges = np.concatenate([low, low + side]).astype(np.float32)
        left, top, right, bottom = np.clip(rounded(edges), 0, 160)
        other[top:bottom, left:right] = image[top:bottom, left:right]
        offset = float(rng.random())
        one = crop(image, edges, *size, channels, padding=77, mode=mode, offset=offset)
        two = crop(other, edges, *size, channels, padding=77, mode=mode, offset=offset)
        np.testing.assert_array_equal(one, two)


def test_a_pixel_inside_the_box_does_change_the_crop() -> None:
    image = noise(0)
    changed = image.copy()
    changed[20, 30] ^= 0x80
    edges = box(30, 20, 60, 60)
    assert (crop(image, edges, 48, 48, 3) != crop(changed, edges, 48, 48, 3)).any()
    outside = box(31, 20, 60, 60)
    np.testing.assert_array_equal(crop(image, outside, 48, 48, 3), crop(changed, outside, 48, 48, 3))


def test_a_square_box_of_the_size_of_the_crop_is_copied_exactly() -> None:
    image = noise(1)
    np.testing.assert_array_equal(crop(image, box(10, 20, 58, 68), 48, 48, 3), image[20:68, 10:58])


@pytest.mark.parametrize(
    ("edges", "left", "top"), [((9.5, 19.5, 57.5, 67.5), 10, 20), ((9.4, 20.4, 57.4, 68.4), 9, 20)]
)
def test_edges_go_to_the_nearest_pixel_and_halves_up(edges: tuple[float, ...], left: int, top: int) -> None:
    image = noise(1)
    np.testing.assert_array_equal(crop(image, box(*edges), 48, 48, 3), image[top : top + 48, left : left + 48])


@pytest.mark.parametrize(
    ("side", "interpolation"), [(96, cv2.INTER_AREA), (70, cv2.INTER_AREA), (20, cv2.INTER_LINEAR)]
)
def test_crops_shrink_by_area_and_grow_linearly(side: int, interpolation: int) -> None:
    image = noise(2)
    expected = cv2.resize(image[5 : 5 + side, 8 : 8 + side], (48, 48), interpolation=interpolation)
    np.testing.assert_array_equal(crop(image, box(8, 5, 8 + side, 5 + side), 48, 48, 3), expected)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[5 : 5 + side, 8 : 8 + side]
    expected = cv2.resize(grey, (48, 48), interpolation=interpolation)
    np.testing.assert_array_equal(crop(image, box(8, 5, 8 + side, 5 + side), 48, 48, 1)[..., 0], expected)


def test_a_wide_region_lies_in_the_middle_of_its_padding_without_being_stretched() -> None:
    image = np.full((100, 200, 3), 200, np.uint8)
    cut = crop(image, box(20, 30, 116, 54), 48, 48, 1, padding=9)[..., 0]
    assert (cut[18:30] == 200).all()
    assert (cut[:18] == 9).all()
    assert (cut[30:] == 9).all()
    up = crop(image, box(20, 30, 116, 54), 48, 48, 1, padding=9, offset=0)[..., 0]
    assert (up[:12] == 200).all()
    assert (up[12:] == 9).all()


@pytest.mark.parametrize(
    ("edges", "rows", "columns"),
    [
        ((0, 0, 56, 72), (0, 144), (0, 112)),  # the shape of the input: no padding
        ((0, 0, 72, 72), (16, 128), (0, 112)),
        ((0, 0, 28, 72), (0, 144), (28, 84)),
    ],
)
def test_an_input_that_is_not_square_is_padded_to_its_own_shape(
    edges: tuple[int, ...], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    image = np.full((100, 200), 200, np.uint8)
    cut = crop(image, box(*edges), 144, 112, 1)
    inside = np.zeros((144, 112, 1), bool)
    inside[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(cut == 200, inside)
    np.testing.assert_array_equal(cut == 0, ~inside)


def test_centre_mode_cuts_the_largest_square_out_of_the_middle() -> None:
    image = noise(3)
    edges = box(10, 20, 106, 68)  # 96 wide, 48 high
    np.testing.assert_array_equal(crop(image, edges, 48, 48, 3, mode="centre"), image[20:68, 34:82])
    np.testing.assert_array_equal(crop(image, edges, 48, 48, 3, mode="centre", offset=0), image[20:68, 10:58])
    np.testing.assert_array_equal(crop(image, edges, 48, 48, 3, mode="centre", offset=1), image[20:68, 58:106])


def test_centre_mode_shows_no_padding_inside_the_picture() -> None:
    image = np.full((120, 160, 3), 200, np.uint8)
    rng = np.random.default_rng(4)
    for height, width in ((48, 48), (144, 112), (30, 90)):
        for _ in range(50):
            low, side = rng.uniform(0, 60, 2), rng.uniform(3, 59, 2)
            edges = np.concatenate([low, low + side]).astype(np.float32)
            assert (crop(image, edges, height, width, 1, mode="centre", offset=float(rng.random())) == 200).all()


def test_what_lies_outside_the_picture_is_padding_at_its_place() -> None:
    image = np.full((100, 100, 3), 200, np.uint8)
    cut = crop(image, box(-24, -48, 72, 48), 48, 48, 1, padding=50)[..., 0]
    assert (cut[24:, 12:] == 200).all()
    assert (cut[:24] == 50).all()
    assert (cut[:, :12] == 50).all()
    cut = crop(image, box(52, 76, 148, 172), 48, 48, 1, padding=50)[..., 0]
    assert (cut[:12, :24] == 200).all()
    assert (cut[12:] == 50).all()
    assert (cut[:, 24:] == 50).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "edges",
    [
        (10, 10, 10, 40),
        (40, 40, 10, 10),
        (10, 10, 10.3, 10.3),
        (np.nan, 0, 10, 10),
        (0, 0, np.inf, 10),
        (-50, -50, -2, -2),
        (170, 10, 250, 60),
        (10, 130, 60, 300),
        (5, 5, 1e30, 9),
    ],
)
def test_a_box_that_shows_nothing_gives_padding_alone(edges: tuple[float, ...], mode: str) -> None:
    cut = crop(noise(5), box(*edges), 48, 40, 3, padding=33, mode=mode)
    np.testing.assert_array_equal(cut, np.full((48, 40, 3), 33))


def test_any_box_gives_a_crop_of_the_promised_shape() -> None:
    rng = np.random.default_rng(6)
    image = noise(6, 30, 50)
    for _ in range(500):
        edges = (rng.normal(20, 1, 4) * 10 ** rng.uniform(-2, 9, 4) * rng.choice([-1, 1], 4)).astype(np.float32)
        cut = crop(image, edges, 24, 17, 1, mode=MODES[rng.integers(2)], offset=float(rng.random()))
        assert cut.shape == (24, 17, 1)
        assert cut.dtype == np.uint8


def test_grey_pictures_give_grey_and_colour_crops() -> None:
    grey = noise(7, channels=1)
    edges = box(10, 20, 70, 90)
    flat = crop(grey[..., 0], edges, 48, 48, 1)
    np.testing.assert_array_equal(crop(grey, edges, 48, 48, 1), flat)
    np.testing.assert_array_equal(crop(grey, edges, 48, 48, 3), flat.repeat(3, axis=2))
    one = np.repeat(grey, 3, axis=2)
    np.testing.assert_allclose(crop(one, edges, 48, 48, 1).astype(int), flat.astype(int), atol=1)


def test_the_picture_is_neither_written_to_nor_kept() -> None:
    image = noise(8)
    image.flags.writeable = False
    cut = crop(image, box(10, 20, 58, 68), 48, 48, 3)
    assert cut.flags.writeable
    assert not np.shares_memory(cut, image)


def test_crops_follow_the_recipe_of_the_network() -> None:
    image = noise(9)
    faces = np.stack([box(10, 20, 40, 60), box(100, 60, 150, 130)])
    recipe = {"region": "face", "margin": 0.1, "shift_y": 0.05, "padding": 128}
    spec = expression_spec(crop=recipe, height=32, width=24, channels=1)
    cut = crops(image, faces, spec)
    assert cut.shape == (2, 32, 24, 1)
    squares = face_square(faces, 0.1, 0.05)
    np.testing.assert_array_equal(cut, [crop(image, square, 32, 24, 1, 128) for square in squares])
    np.testing.assert_array_equal(input_boxes(faces, None, spec.crop), squares)
    assert crops(image, faces[:0], spec).shape == (0, 32, 24, 1)


@pytest.mark.parametrize("eyes", VARIANTS)
def test_crops_of_a_region_come_from_the_landmarks(eyes: str) -> None:
    image, faces = noise(10), np.stack([box(10, 20, 40, 60)])
    points = face_points(30, 40)[None]
    spec = expression_spec(crop={"region": "eyes", "margin": 0.08, "mode": "centre", "eyes": eyes})
    expected = crop(image, region_box(points[0], "eyes", 0.08, eyes), 48, 48, 1, mode="centre")
    np.testing.assert_array_equal(crops(image, faces, spec, points)[0], expected)
    with pytest.raises(ValueError, match=r"region 'eyes' is cut out by landmarks: expected \(N, 68, 2\), found none"):
        crops(image, faces, spec)


def test_a_network_of_any_input_size_cannot_say_how_large_its_crops_are() -> None:
    with pytest.raises(ValueError, match="fixed input size"):
        crops(noise(11), np.zeros((1, 4), np.float32), expression_spec(height=None, width=None))


def views_of(image: NDArray[np.uint8], *views: str) -> NDArray[np.uint8]:
    """Cut the same face for each view, by a network of the mode 'mask'."""
    n = len(views)
    points = np.tile(face_points(60, 50), (n, 1, 1))
    spec = expression_spec(crop={"mode": "mask"})
    return crops(image, np.tile(box(50, 40, 98, 88), (n, 1)), spec, points, views)


def test_a_view_hides_the_parts_that_it_lacks_and_nothing_else() -> None:
    whole, seen = views_of(noise(1), "face", "nose_eyes")
    left, top, right, bottom = rounded(region_box(face_points(60, 50), "mouth") - np.tile([50, 40], 2))
    shown = np.ones((48, 48), bool)
    shown[top:bottom, left:right] = False
    np.testing.assert_array_equal(seen[shown], whole[shown])
    assert (seen[~shown] == 0).all()
    assert (whole > 0).all()


@pytest.mark.parametrize("region", [name for name in REGIONS if name != "face"])
def test_what_is_hidden_cannot_change_a_view(region: str) -> None:
    image, other = noise(1), noise(1)
    for part in set(PARTS) - set(region.split("_")):
        left, top, right, bottom = rounded(region_box(face_points(60, 50), part))
        other[top:bottom, left:right] = 255 - image[top:bottom, left:right]
    np.testing.assert_array_equal(views_of(image, region), views_of(other, region))


def test_a_black_pixel_is_not_taken_for_a_hidden_one_but_what_lies_outside_the_picture_is_hidden() -> None:
    black = np.zeros((120, 160, 3), np.uint8)
    assert (views_of(black, "face") == 1).all()
    cut_off = views_of(black[:, :70], "face")[0]
    assert (cut_off[:, :20] == 1).all()
    assert (cut_off[:, 20:] == 0).all()


def test_a_view_of_a_region_needs_landmarks() -> None:
    spec = expression_spec(crop={"mode": "mask", "region": "eyes"})
    with pytest.raises(ValueError, match="the view 'eyes' is found by landmarks"):
        crops(noise(1), box(50, 40, 98, 88)[None], spec)
