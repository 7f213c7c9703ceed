"""Hidden parts are dimmed and the region that was judged by is framed, wherever the face lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.drawing.overlay import draw
from streamer.drawing.shade import dim_hidden, frame_region, hidden_parts
from streamer.faces.regions import REGIONS, region_box
from streamer.types import Expression, Face, Frame, Result
from tests.make import points_of_face

GREY = 120


def a_face(left: float = 200, top: float = 150, side: float = 120, hidden: str = "", **changes: Any) -> Face:
    visibility = np.ones(68, np.float32)
    if hidden:
        visibility[REGIONS[hidden]] = 0.1
    points = points_of_face(side, left, top)
    box = np.array([left, top, left + side, top + side], np.float32)
    return Face(1, box, 0.9, 0.0, **({"landmarks": points, "visibility": visibility} | changes))


def blank(height: int = 480, width: int = 640) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GREY, np.uint8)


def test_a_hidden_mouth_is_dimmed_and_the_rest_is_not() -> None:
    picture, face = blank(), a_face(hidden="mouth")
    dim_hidden(picture, face)
    assert face.landmarks is not None
    x, y = face.landmarks[48:68].mean(axis=0).astype(int)
    assert (picture[y, x] < GREY / 2).all()
    assert (picture[int(face.landmarks[36:48, 1].max())] == GREY).all()
    assert (picture[:150] == GREY).all()


def test_what_is_seen_or_was_never_looked_at_is_left_as_it_is() -> None:
    for face in (a_face(), a_face(visibility=None, hidden="mouth"), a_face(landmarks=None, hidden="mouth")):
        picture = blank()
        dim_hidden(picture, face)
        assert (picture == GREY).all()


@pytest.mark.parametrize(
    ("region", "hidden"), [("nose_eyes", ["mouth"]), ("eyes", ["nose", "mouth"]), ("face", []), ("none", ["mouth"])]
)
def test_what_is_dimmed_is_what_the_answer_was_not_given_by(region: str, hidden: list[str]) -> None:
    expression = Expression("happiness", 0.8, {"happiness": 1.0}, region, None, True, 0.0)
    assert hidden_parts(a_face(hidden="mouth", expression=expression)) == hidden


@pytest.mark.parametrize(("left", "top"), [(-60, -60), (600, 440), (5000, -5000)])
def test_faces_cut_by_the_edge_or_outside_are_drawn_without_an_error(left: float, top: float) -> None:
    face = a_face(left, top, hidden="eyes")
    picture = blank()
    dim_hidden(picture, face)
    frame_region(picture, face, (0, 255, 0))
    assert picture.shape == blank().shape


def test_the_region_used_is_framed() -> None:
    expression = Expression("happiness", 0.8, {"happiness": 1.0}, "nose_eyes", None, True, 0.0)
    face, picture = a_face(hidden="mouth", expression=expression), blank()
    frame_region(picture, face, (0, 255, 0))
    rows, columns = np.nonzero((picture != GREY).any(axis=2))
    assert face.landmarks is not None
    box = region_box(face.landmarks, "nose_eyes", 0.12)
    np.testing.assert_allclose([columns.min(), rows.min(), columns.max(), rows.max()], box, atol=2.5)


def test_the_overlay_shows_both() -> None:
    expression = Expression("happiness", 0.8, {"happiness": 1.0}, "nose_eyes", None, True, 0.0)
    face = a_face(hidden="mouth", expression=expression)
    picture = draw(Result(Frame(blank(), "cam", 0, 0.0, 0.0), (face,)), details=False)
    assert face.landmarks is not None
    x, y = face.landmarks[48:68].mean(axis=0).astype(int)
    assert (picture[y, x] < GREY / 2).all()
