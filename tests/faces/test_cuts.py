"""Pictures in a row: where another shot begins, and what looks like that but is none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.faces.cuts import Cuts

HEIGHT, WIDTH = 180, 320
Picture = NDArray[np.uint8]
SHAPES = [(HEIGHT, WIDTH), (1, 1), (50, 4000), (4000, 50)]


def scene(seed: int, height: int = HEIGHT, width: int = 2 * WIDTH) -> Picture:
    """Paint a place: soft ground, and things with edges on it, other ones for every seed."""
    random = np.random.default_rng(seed)
    ground = random.integers(40, 200, (4, 7, 3)).astype(np.uint8)
    image = cv2.resize(ground, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        x, y = int(random.integers(0, width)), int(random.integers(0, height))
        size = random.integers(8, 50, 2).tolist()
        colour = random.integers(0, 255, 3).tolist()
        if random.random() < 0.5:
            cv2.rectangle(image, (x, y), (x + size[0], y + size[1]), colour, cv2.FILLED)
        else:
            cv2.ellipse(image, (x, y), tuple(size), 0, 0, 360, colour, cv2.FILLED)
    return np.asarray(image, np.uint8)


def view(place: Picture, x: float = 0.0) -> Picture:
    """Look at a place from x on, in widths of the picture."""
    left = int(x * WIDTH)
    return place[:, left : left + WIDTH]


def brighter(image: Picture, gain: float | NDArray[np.float64], offset: float | NDArray[np.float64] = 0.0) -> Picture:
    return np.clip(image.astype(float) * gain + offset, 0, 255).astype(np.uint8)


def cuts(pictures: list[Picture]) -> list[int]:
    notice = Cuts()
    return [index for index, image in enumerate(pictures) if notice.update(image)]


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_a_cut_is_noticed_in_its_very_frame_and_once(seed: int) -> None:
    one, other = view(scene(seed)), view(scene(seed + 1))
    assert cuts([one] * 5 + [other] * 5 + [one] * 5) == [5, 10]


def test_cuts_that_follow_each_other_closely_are_all_noticed() -> None:
    places = [view(scene(seed)) for seed in range(10)]
    assert cuts([place for place in places for _ in range(3)]) == list(range(3, 30, 3))


def test_a_still_or_grey_or_noisy_picture_is_no_cut() -> None:
    random = np.random.default_rng(0)
    grey = [np.full((HEIGHT, WIDTH, 3), 128, np.uint8)] * 10
    grain = [brighter(grey[0], 1, random.normal(0, 8, (HEIGHT, WIDTH, 3))) for _ in range(50)]
    dark = brighter(view(scene(1)), 0.08)
    night = [brighter(dark, 1, random.normal(0, 5, dark.shape)) for _ in range(50)]
    for pictures in (grey, grain, night, [view(scene(1))] * 10):
        assert cuts(pictures) == []


@pytest.mark.parametrize(
    "light",
    [
        pytest.param([1, 1, 0.4, 0.4, 1, 1.8, 1.8, 1], id="exposure"),
        pytest.param([1, 1, 2, 1.5, 1, 1, 2, 1], id="flashes"),
        pytest.param([1, 1, 1000, 1000, 1, 1, 0, 0, 1], id="white and black"),
        pytest.param([1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0.3, 0.6, 1], id="fade out and in"),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_light_is_no_cut(light: list[float], seed: int) -> None:
    image = np.maximum(view(scene(seed)), 1)
    assert cuts([brighter(image, gain) for gain in light]) == []


def test_another_shot_behind_black_is_a_cut_when_it_shows() -> None:
    one, other, black = view(scene(1)), view(scene(2)), np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    assert cuts([one, one, black, black, black, other, other]) == [5]


def test_coloured_light_is_no_cut() -> None:
    random, image = np.random.default_rng(0), view(scene(3))
    assert cuts([brighter(image, random.uniform(0.3, 1.5, 3)) for _ in range(30)]) == []


@pytest.mark.parametrize("speed", [0.02, 0.06, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_a_pan_is_no_cut(speed: float, seed: int) -> None:
    place = scene(seed)
    assert cuts([view(place)] * 3 + [view(place, x) for x in np.arange(0, 0.99, speed)]) == []


@pytest.mark.parametrize("seed", range(4))
def test_somebody_who_walks_by_close_to_the_camera_is_no_cut(seed: int) -> None:
    place, walker = view(scene(seed)), scene(seed + 50, HEIGHT, WIDTH * 2 // 5)
    pictures = []
    for left in range(-walker.shape[1], WIDTH, WIDTH // 12):
        image = place.copy()
        first, last = max(left, 0), min(left + walker.shape[1], WIDTH)
        image[:, first:last] = walker[:, first - left : last - left]
        pictures.append(image)
    assert cuts([place, *pictures, place]) == []


def dissolve(one: list[Picture], other: list[Picture]) -> list[Picture]:
    """Blend pictures into as many others."""
    shares = np.linspace(0, 1, len(one) + 2)[1:-1]
    return [brighter(a, 1 - share, share * b.astype(float)) for share, a, b in zip(shares, one, other, strict=True)]


@pytest.mark.parametrize("length", [8, 15, 25, 50])
@pytest.mark.parametrize("seed", range(0, 8, 2))
def test_a_dissolve_ends_a_shot_once_and_while_it_lasts(seed: int, length: int) -> None:
    one, other = view(scene(seed)), view(scene(seed + 1))
    pictures = [one] * 15 + dissolve([one] * length, [other] * length) + [other] * 30
    (begins,) = cuts(pictures)
    assert 15 + 0.3 * length < begins <= 15 + length + 3


def test_a_dissolve_between_cameras_that_pan_ends_a_shot() -> None:
    one, other = scene(3), scene(4)
    steps = np.arange(0, 0.4, 0.005)
    first, second = [view(one, x) for x in steps], [view(other, 0.4 - x) for x in steps]
    pictures = first[:30] + dissolve(first[30:50], second[30:50]) + second[50:]
    assert len(cuts(pictures)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_zoom_is_no_dissolve(seed: int) -> None:
    place = view(scene(seed))
    turns = [cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), 0, zoom) for zoom in np.linspace(1, 1.7, 80)]
    zoomed = [np.asarray(cv2.warpAffine(place, turn, (WIDTH, HEIGHT)), np.uint8) for turn in turns]
    assert cuts(zoomed + zoomed[::-1]) == []


def test_a_fade_to_black_and_back_is_no_dissolve() -> None:
    image = view(scene(5))
    dark = [brighter(image, gain) for gain in np.linspace(1, 0.02, 25)]
    assert cuts([image] * 10 + dark + dark[::-1] + [image] * 10) == []


def test_a_stream_of_noise_soon_counts_as_usual() -> None:
    random = np.random.default_rng(0)
    noise = [random.integers(0, 255, (36, 48, 3)).astype(np.uint8) for _ in range(200)]
    assert max(cuts(noise), default=0) <= 5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pictures_of_any_shape_are_compared_and_another_shape_begins_a_shot(shape: tuple[int, int]) -> None:
    image = cv2.resize(view(scene(1)), shape[::-1], interpolation=cv2.INTER_AREA)
    other = cv2.resize(image, (shape[1] + 8, shape[0]))
    assert cuts([image, image, other, other, image]) == [2, 4]


@pytest.mark.data
def test_cuts_between_real_shots_and_none_within(shared: Path) -> None:
    found = {}
    for name, expected in (
        ("media/videos/short_hamilton_clip.mp4", [20, 82, 211]),
        ("cases/hard_cuts.mp4", [25, 50, 75]),
    ):
        video, pictures = cv2.VideoCapture(str(shared / name)), []
        while (read := video.read())[0]:
            pictures.append(np.asarray(read[1], np.uint8))
        video.release()
        found[name] = (cuts(pictures), expected)
    assert all(noticed == expected for noticed, expected in found.values()), found
