from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import deltaE_ciede2000, rgb2lab

from streamer.drawing.overlay import TRACK, draw
from streamer.emotions import UNCERTAIN, colours
from streamer.types import Face, Result
from tests.conftest import LABELS
from tests.make import expression, face, result

Box = tuple[float, float, float, float]


def framed(faces: Sequence[Face], size: tuple[int, int] = (640, 480), grey: int = 120, stream: str = "cam") -> Result:
    image = np.full((size[1], size[0], 3), grey, np.uint8)
    return result(7, *faces, stream=stream, time=61.25, image=image)


def changed(result: Result, picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (picture != result.frame.image).any(axis=2)


def count_colour(picture: NDArray[np.uint8], label: str) -> int:
    return int((picture == colours()[label]).all(axis=2).sum())


def test_draws_on_a_copy() -> None:
    given = framed([face((200, 150, 300, 270))])
    before = given.frame.image.copy()
    picture = draw(given)
    assert picture.shape == before.shape
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert np.array_equal(given.frame.image, before)
    assert changed(given, picture).any()


def test_changes_nothing_without_faces_and_details() -> None:
    given = framed([])
    assert not changed(given, draw(given, details=False)).any()


def test_writes_the_status_line_into_a_corner() -> None:
    given = framed([])
    rows, columns = np.nonzero(changed(given, draw(given)))
    assert rows.min() > 440
    assert columns.max() < 200


def test_moves_the_status_line_away_from_a_face_in_its_corner() -> None:
    given = framed([face((0, 360, 120, 479))])
    spots = changed(given, draw(given))
    assert spots[450:, 400:].any()
    assert not spots[390:440, 20:100].any(), "the face stays free"


def test_draws_in_the_colour_of_the_label() -> None:
    for label in LABELS:
        picture = draw(framed([face((200, 150, 300, 270), expression=expression(label))]), details=False)
        assert count_colour(picture, label) > 200
        assert all(count_colour(picture, other) == 0 for other in LABELS if other != label)


def test_draws_uncertain_faces_and_faces_without_expression_in_grey() -> None:
    for doubtful in (expression(label="uncertain", confidence=0.3), None):
        picture = draw(framed([face((200, 150, 300, 270), expression=doubtful)]), details=False)
        assert count_colour(picture, "uncertain") > 200


def test_gives_every_emotion_a_colour_of_its_own() -> None:
    assert [*colours(), *colours(LABELS)] == 2 * [*LABELS, UNCERTAIN]
    assert len(set(colours().values())) == len(LABELS) + 1


@pytest.mark.parametrize(
    "seen_as",  # linear RGB to what is seen: Machado, Oliveira and Fernandes 2009, severity 1
    [
        np.eye(3),
        np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
        np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    ],
    ids=["all colours", "protanopia", "deuteranopia"],
)
def test_keeps_the_colours_apart_for_colour_blind_people_too(seen_as: NDArray[np.float64]) -> None:
    seen = {}
    for label, bgr in colours().items():
        linear = np.clip(seen_as @ (np.array(bgr[::-1]) / 255) ** 2.2, 0, 1)
        seen[label] = rgb2lab(linear ** (1 / 2.2))
    assert min(deltaE_ciede2000(a, b) for a, b in combinations(seen.values(), 2)) > 9


ODD = ("boredom", "happiness", "pain", "calm", "pride", "shame", "relief", "envy", "doubt")


def test_labels_that_are_no_emotions_have_colours_apart_from_all_others() -> None:
    found = colours(ODD)
    assert list(found) == ["happiness", *(label for label in ODD if label != "happiness"), UNCERTAIN]
    assert found["happiness"] == colours()["happiness"]
    seen = [rgb2lab(np.array(bgr[::-1]) / 255) for bgr in (found | colours()).values()]
    assert min(deltaE_ciede2000(a, b) for a, b in combinations(seen, 2)) > 9
    many = tuple(str(number) for number in range(60))
    assert len(set(colours(many).values())) == 61


def test_draws_an_unknown_label_in_its_own_colour() -> None:
    odd = expression(label="pain", probabilities=dict.fromkeys(ODD, 1 / len(ODD)))
    picture = draw(framed([face((200, 150, 300, 270), expression=odd)]), details=False)
    assert (picture == colours(ODD)["pain"]).all(axis=2).sum() > 200


def test_draws_less_of_the_box_while_the_label_is_not_stable() -> None:
    stable, unstable = (
        draw(framed([face((200, 150, 400, 350), expression=expression(stable=stable))]), details=False)
        for stable in (True, False)
    )
    assert 0 < count_colour(unstable, "happiness") < 0.6 * count_colour(stable, "happiness")


def test_makes_bars_as_long_as_the_probabilities() -> None:
    shares = dict.fromkeys(LABELS, 0.0) | {"happiness": 0.6, "anger": 0.3, "fear": 0.1}
    shown = expression(confidence=0.6, probabilities=shares)
    beside = draw(framed([face((100, 100, 300, 340), expression=shown)], size=(1280, 720)))[:, 306:]
    assert count_colour(beside, "anger") == pytest.approx(count_colour(beside, "happiness") / 2, rel=0.1)
    assert count_colour(beside, "fear") == pytest.approx(count_colour(beside, "happiness") / 6, rel=0.2)
    assert count_colour(beside, "contempt") == 0
    tracks = int((beside == TRACK).all(axis=2).sum())  # eight bars, less what is filled
    assert count_colour(beside, "happiness") == pytest.approx(0.6 * tracks / 7, rel=0.05)


def test_shows_the_confidence_in_whole_percent() -> None:
    box = (200, 150, 300, 270)
    shares = expression().probabilities
    low, same, high = (
        draw(framed([face(box, expression=expression(confidence=confidence, probabilities=shares))]))
        for confidence in (0.421, 0.424, 0.434)
    )
    assert np.array_equal(low, same)
    assert not np.array_equal(low, high)


def test_never_says_a_hundred_percent() -> None:
    box, shares = (200, 150, 300, 270), expression().probabilities
    surest, sure, less_sure = (
        draw(framed([face(box, expression=expression(confidence=confidence, probabilities=shares))]))
        for confidence in (1.0, 0.996, 0.99)
    )
    assert np.array_equal(surest, sure)
    assert not np.array_equal(sure, less_sure)


def test_shows_no_confidence_beside_uncertain_because_it_belongs_to_another_label() -> None:
    shares = expression().probabilities
    low, high = (
        draw(framed([face((200, 150, 300, 270), expression=expression("uncertain", c, probabilities=shares))]))
        for c in (0.2, 0.3)
    )
    assert np.array_equal(low, high)


def test_tells_which_region_answered_unless_it_is_the_whole_face() -> None:
    whole, part = (
        draw(framed([face((200, 150, 300, 270), expression=expression(region=region))])) for region in ("face", "eyes")
    )
    assert not np.array_equal(whole, part)


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_writes_light_on_dark_on_any_background(grey: int) -> None:
    given = framed([face((200, 150, 300, 270))], grey=grey)
    label = draw(given, details=False)[130:145, 225:290].max(axis=2)
    assert label.min() < 85
    assert label.max() > 235


def test_leaves_faces_free() -> None:
    boxes: list[Box] = [(60 + 140 * c, 40 + 140 * r, 120 + 140 * c, 110 + 140 * r) for c in range(4) for r in range(3)]
    for count in (1, 4, 12):
        given = framed([face(box, index) for index, box in enumerate(boxes[:count])])
        spots = changed(given, draw(given))
        for x1, y1, x2, y2 in np.array(boxes[:count], int):
            assert not spots[y1 + 8 : y2 - 8, x1 + 8 : x2 - 8].any()


def test_shows_bars_to_few_faces_only() -> None:
    boxes: list[Box] = [(20 + 300 * c, 60 + 200 * r, 120 + 300 * c, 170 + 200 * r) for c in range(4) for r in range(3)]
    few, many = (
        draw(given := framed([face(box, index) for index, box in enumerate(boxes[:count])], size=(1280, 720)))[:, :300]
        for count in (6, 7)
    )
    assert given.faces
    assert count_colour(few[60:170, 126:], "happiness") > 0
    assert count_colour(many[60:170, 126:], "happiness") == 0


def test_gives_small_faces_a_short_label_without_bars() -> None:
    given = framed([face((300, 200, 330, 232))])
    spots = changed(given, draw(given))
    rows, columns = np.nonzero(spots[:430])
    assert rows.max() - rows.min() < 70
    assert columns.max() - columns.min() < 90


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (24, 18), (320, 240), (640, 480), (1280, 720)])
def test_draws_inside_any_picture_whatever_the_box(size: tuple[int, int]) -> None:
    width, height = size
    boxes: list[Box] = [
        (-30, -30, 0.4 * width, 0.5 * height),
        (0.7 * width, -9, width + 40, 0.4 * height),
        (-1e7, -1e7, 1e7, 1e7),
        (0.8 * width, 0.8 * height, width, height),
        (0.5 * width, 0.5 * height, 0.5 * width, 0.6 * height),
        (width + 10, 0, width + 90, 80),
        (np.nan, 0, 5, 5),
        (np.inf, 0, np.inf, 5),
    ]
    for details in (True, False):
        given = framed([face(box, 10**index) for index, box in enumerate(boxes)], size=size)
        assert draw(given, details=details).shape == given.frame.image.shape


def test_writes_labels_inside_the_picture_for_faces_at_its_borders() -> None:
    at_the_top, at_the_bottom = framed([face((200, 0, 300, 110))]), framed([face((200, 380, 300, 479))])
    below = changed(at_the_top, draw(at_the_top, details=False))
    above = changed(at_the_bottom, draw(at_the_bottom, details=False))
    assert below[112:140].any()
    assert above[350:378].any()


def test_draws_names_that_are_not_ascii() -> None:
    for stream in ("Küche", "厨房", "rtsp://camera.example.org/" + 80 * "x", ""):
        given = framed([face((200, 150, 300, 270))], stream=stream)
        assert changed(given, draw(given))[450:].any()
