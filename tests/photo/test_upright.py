"""Photos that lie on their side or head: found by their faces, said so, and shown upright; nothing else is turned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import streamer.bench.scene
from streamer.bench.scene import draw_scene
from streamer.commands.photo import run
from streamer.config import Config, load_config, preset
from streamer.photo.analyst import Analyst
from streamer.photo.decode import Photo, read_photo
from streamer.photo.upright import TURNS, find_turn, turned


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config(Config, preset("photos"))


@pytest.fixture(scope="module")
def analyst(config: Config) -> Iterator[Analyst]:
    with Analyst(config) as one:
        yield one


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """Return the portrait of the test clips before a plain ground, wider than high."""
    stored = Path(streamer.bench.scene.__file__).with_name("portrait.jpg")
    image = np.full((300, 420, 3), 110, np.uint8)
    image[30:270, 40:280] = cv2.resize(read_photo(stored).image, (240, 240), interpolation=cv2.INTER_AREA)
    return image


@pytest.mark.parametrize("turn", TURNS)
def test_a_photo_on_its_side_or_head_is_turned_and_says_so(
    analyst: Analyst, portrait: NDArray[np.uint8], turn: int
) -> None:
    lying = turned(portrait, 360 - turn)
    photo, result = analyst.look_upright(Photo(lying, ("scaled",)))
    assert photo.notes == ("scaled", f"turned by {turn}°")
    np.testing.assert_array_equal(photo.image, portrait)
    np.testing.assert_array_equal(result.frame.image, portrait)
    (face,) = result.faces
    np.testing.assert_allclose(face.box[:2], (120, 80), atol=15)


def test_an_upright_photo_stays_and_costs_no_further_search(analyst: Analyst, portrait: NDArray[np.uint8]) -> None:
    found = analyst.look(portrait)

    class Refusing:
        landmarker = analyst.stages.perceive.landmarker

        def __call__(self, frames: object) -> None:
            raise AssertionError("searched turned copies of a photo with a face that is upright")

    assert find_turn(Refusing(), portrait, found.faces) == 0
    photo, _ = analyst.look_upright(Photo(portrait))
    assert photo.notes == ()


def test_one_upright_face_among_lying_ones_keeps_a_photo_as_it_is(
    analyst: Analyst, portrait: NDArray[np.uint8]
) -> None:
    lying = turned(portrait[:, :300], 90)
    wall = np.concatenate([portrait[:, :300], lying, lying], axis=1)
    assert analyst.look_upright(Photo(wall))[0].notes == ()


@pytest.mark.parametrize("seed", range(3))
def test_pictures_without_faces_are_not_turned(analyst: Analyst, seed: int) -> None:
    random = np.random.default_rng(seed)
    spots = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(spots, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)
    for _ in range(20):
        place, size = random.integers(0, 480, 2).tolist(), int(random.integers(10, 60))
        cv2.circle(image, place, size, random.integers(0, 256, 3).tolist(), 3)
        cv2.putText(image, "8:B @ oo", place, 0, size / 20, random.integers(0, 256, 3).tolist(), 3)
    photo, _ = analyst.look_upright(Photo(image))
    assert photo.notes == ()
    assert photo.image is image


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 2), (20, 20)], ids=str)
def test_pictures_of_any_shape_are_searched_turned(analyst: Analyst, shape: tuple[int, int]) -> None:
    photo, result = analyst.look_upright(Photo(np.full((*shape, 3), 90, np.uint8)))
    assert (photo.notes, result.faces) == ((), ())


def test_a_hall_of_mirrors_on_its_side_and_a_photo_of_a_photo_are_looked_at(analyst: Analyst) -> None:
    hall = turned(draw_scene(1600, 1200, 300, 0.2), 90)
    photo, result = analyst.look_upright(Photo(hall))
    assert len(result.faces) <= 300  # heads overlap, but none is taken for two
    assert photo.notes in ((), ("turned by 270°",))
    framed = np.full((600, 800, 3), 200, np.uint8)
    framed[150:450, 200:600] = cv2.resize(draw_scene(800, 600, 4, 0.1), (400, 300), interpolation=cv2.INTER_AREA)
    assert len(analyst.look_upright(Photo(framed))[1].faces) <= 4


def test_without_landmarks_nothing_is_turned(portrait: NDArray[np.uint8]) -> None:
    with Analyst(load_config(Config, preset("photos"), ["landmarks.kind=none"])) as analyst:
        assert analyst.look_upright(Photo(turned(portrait, 90)))[0].notes == ()


def test_the_command_writes_a_lying_photo_upright(tmp_path: Path, config: Config, portrait: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(tmp_path / "lying.png"), turned(portrait, 90))
    assert run(config, [str(tmp_path / "lying.png")], tmp_path / "out", page=True) == 0
    (photo,) = json.loads((tmp_path / "out" / "photos.json").read_text())["photos"]
    assert photo["notes"] == ["turned by 270°"]
    assert (photo["width"], photo["height"]) == (420, 300)
    assert len(photo["faces"]) == 1
    assert cv2.imread(str(tmp_path / "out" / "lying.png")).shape == (300, 420, 3)
    assert "turned by 270°" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.data
def test_a_portrait_without_exif_that_lies_on_its_side_is_found(shared: Path, analyst: Analyst) -> None:
    photo, result = analyst.look_upright(read_photo(shared / "cases" / "sideways_no_exif.jpg"))
    assert photo.notes[0].startswith("turned by ")
    assert len(result.faces) == 1
