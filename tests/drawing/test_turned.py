"""What is drawn of a turned face lies where the face is: maps, hidden parts, the judged region, an explanation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import Crop, Outputs, View
from engines.fake import FakeEngine
from streamer.drawing.heat import lay_heat
from streamer.drawing.shade import dim_hidden, frame_region
from streamer.explain.face import explain_face
from streamer.explain.maps import Explainer, MapSettings
from streamer.faces.regions import REGIONS, crops_of
from streamer.faces.roll import turned
from streamer.stages.express import Expresser
from streamer.stages.smoothing import ExpressionSettings
from streamer.types import Face, Frame, Result
from tests.conftest import expression_spec
from tests.make import expression
from tests.turned import MIDDLE, SIDE, angles, around, points_at, texture, turn


def a_face(degrees: float, **changes: object) -> Face:
    roll = float(np.radians(degrees))
    values = {"landmarks": points_at(roll), "visibility": np.ones(68, np.float32), "roll": roll} | changes
    return Face(1, around(np.float32([[122.5, 100, 197.5, 200]]), np.float32([roll]))[0], 0.9, 0.0, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("degrees", [0, 40, -60])
def test_a_map_lies_over_what_it_is_of(degrees: float) -> None:
    def answer(batch: NDArray[np.uint8]) -> Outputs:
        cam = np.zeros((len(batch), 8, 8, 8), np.float32)
        cam[:, 1, 6, 1] = 1  # low in the face and to the left
        return {"probabilities": np.tile(np.float32([0.01, 0.93, *[0.01] * 6]), (len(batch), 1)), "cam": cam}

    spec = expression_spec(outputs=("probabilities", "cam"), crop=Crop(margin=0.1))
    stage = Expresser(FakeEngine(spec, answer), ExpressionSettings(), Explainer(MapSettings()))
    frame = Frame(np.full((300, 320, 3), 100, np.uint8), "a", 0, 0.0, 0.0)
    heat = stage([Result(frame, (a_face(degrees),))])[0].faces[0].heat
    assert heat is not None
    picture = np.full((300, 320, 3), 100, np.uint8)
    lay_heat(picture, heat.values, heat.box, heat.roll)
    y, x = np.nonzero(picture[..., 2].astype(int) - picture[..., 0] > 60)
    where = turned(np.float32([[[160 - 0.3125 * 120, 150 + 0.3125 * 120]]]), MIDDLE[None], angles(degrees))[0, 0]
    assert np.hypot(x.mean() + 0.5 - where[0], y.mean() + 0.5 - where[1]) < 4
    untouched = np.hypot(*(np.mgrid[:300, :320] - np.array([150, 160])[:, None, None])) > 60 * 2**0.5 + 3
    assert (picture[untouched] == 100).all()
    assert 120**2 * 0.97 < (picture != 100).any(axis=2).sum() < 120**2 * 1.03


def test_hidden_parts_are_dimmed_and_the_judged_region_is_framed_where_they_are() -> None:
    seen = np.ones(68, np.float32)
    seen[REGIONS["mouth"]] = 0.1
    face = a_face(50, visibility=seen, expression=expression(region="nose_eyes"))
    assert face.landmarks is not None
    picture = np.full((300, 320, 3), 120, np.uint8)
    dim_hidden(picture, face)
    dark = (picture < 60).all(axis=2)
    x, y = np.floor(face.landmarks[48:68].mean(axis=0)).astype(int)
    assert dark[y, x]
    upright = np.full((300, 320, 3), 120, np.uint8)
    dim_hidden(upright, a_face(0, visibility=seen, expression=expression(region="nose_eyes")))
    assert dark.sum() == pytest.approx((upright < 60).all(axis=2).sum(), rel=0.1)
    framed = np.full((300, 320, 3), 120, np.uint8)
    frame_region(framed, face, (0, 255, 0))
    rows, columns = np.nonzero((framed != 120).any(axis=2))
    level = turned(np.stack([columns, rows], axis=1)[None].astype(np.float32), MIDDLE[None], -angles(50))[0]
    assert level[:, 1].max() < 150 + 0.3 * SIDE  # above the mouth, once it is turned back
    assert level[:, 1].min() > 150 - 0.6 * SIDE


def test_an_explanation_shows_the_face_upright_with_the_region_where_it_is() -> None:
    spec = expression_spec(
        outputs=("probabilities", "cam"), crop=Crop(region="mouth"), views={"mouth": View()}, width=48
    )
    answers = {"probabilities": np.full((1, 8), 0.125, np.float32), "cam": np.zeros((1, 8, 4, 4), np.float32)}

    def answer(batch: NDArray[np.uint8]) -> Outputs:
        return {name: np.repeat(value, len(batch), axis=0) for name, value in answers.items()}

    said = expression(region="mouth")
    panels = []
    for degrees in (0, 60):
        picture = turn(texture(), float(np.radians(degrees)))
        found = explain_face(FakeEngine(spec, answer), picture, a_face(degrees, expression=said))
        panels.append(found)
    assert np.corrcoef(panels[0].face.ravel(), panels[1].face.ravel())[0, 1] > 0.97
    np.testing.assert_allclose(panels[0].part, panels[1].part, atol=4)
    np.testing.assert_allclose(panels[0].box, panels[1].box, atol=4)
    [seen] = crops_of(turn(texture(), float(np.radians(60))), [a_face(60)], spec, ["mouth"])
    np.testing.assert_array_equal(panels[1].seen, seen)
