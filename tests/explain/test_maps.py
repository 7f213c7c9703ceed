"""Live maps: which face's, when there is no time for one, and how they lie over the picture."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import Crop, Outputs, View
from engines.fake import FakeEngine
from streamer.build import build_pipeline
from streamer.config import Config, load_config
from streamer.drawing.heat import heated, lay_heat
from streamer.drawing.overlay import draw
from streamer.explain.maps import Explainer, MapSettings, check_maps
from streamer.faces.regions import REGIONS, seen_boxes
from streamer.stages.ask import Answer, Question
from streamer.stages.express import Expresser
from streamer.stages.smoothing import ExpressionSettings
from streamer.types import Face, Frame, Result
from tests.conftest import LABELS, expression_spec
from tests.make import points_of_face

BOXES = np.array([[40, 40, 140, 160], [300, 200, 360, 280]], np.float32)


def looking_classifier(outputs: Sequence[str] = ("probabilities", "cam"), **crop: Any) -> FakeEngine:
    """Answer happiness; the map of label c is hot in row c of 8, attention in the last column."""

    def answer(batch: NDArray[np.uint8]) -> Outputs:
        probabilities = np.full((len(batch), 8), 0.01, np.float32)
        probabilities[:, 1] = 0.93
        cam = np.tile(np.eye(8, dtype=np.float32)[:, :, None], (len(batch), 1, 1, 8))
        attention = np.zeros((len(batch), 8, 8), np.float32)
        attention[..., -1] = 1 / 8
        found = {"probabilities": probabilities, "cam": cam, "attention": attention}
        return {name: found[name] for name in outputs}

    return FakeEngine(expression_spec(outputs=tuple(outputs), crop=Crop(**crop)), answer)


def perceived(at: float = 0.0, *, live: bool = False, age: float = 0.0, count: int = 2, stream: str = "cam") -> Result:
    frame = Frame(np.full((480, 640, 3), 100, np.uint8), stream, 0, at, time.monotonic() - age, live)
    return Result(frame, tuple(Face(row + 1, BOXES[row], 0.9, at) for row in range(count)))


def expresser(settings: MapSettings, engine: FakeEngine | None = None, **classifier: Any) -> Expresser:
    answering = looking_classifier(**classifier)
    return Expresser(answering, ExpressionSettings(), Explainer(settings, engine))


def test_the_map_of_the_shown_label_comes_with_the_classification_itself() -> None:
    stage = expresser(MapSettings())
    [result] = stage([perceived()])
    for face in result.faces:
        assert face.heat is not None
        assert face.heat.label == "happiness"
        assert face.heat.values.argmax() // 8 == LABELS.index("happiness")
    assert stage.engine.batch_sizes == [2]  # type: ignore[attr-defined]


def test_a_chosen_label_has_its_own_map() -> None:
    [result] = expresser(MapSettings(label="fear"))([perceived()])
    assert {face.heat.label for face in result.faces if face.heat} == {"fear"}
    assert result.faces[0].heat is not None
    assert result.faces[0].heat.values.argmax() // 8 == LABELS.index("fear")


def test_attention_belongs_to_no_label() -> None:
    outputs = ("probabilities", "attention")
    [result] = expresser(MapSettings(name="attention"), outputs=outputs)([perceived()])
    assert result.faces[0].heat is not None
    assert result.faces[0].heat.label is None
    assert result.faces[0].heat.values[:, -1].min() > 0


def test_a_map_covers_what_the_network_saw_and_moves_with_the_face() -> None:
    stage = expresser(MapSettings(), margin=0.1)
    [result] = stage([perceived()])
    assert result.faces[0].heat is not None
    assert np.allclose(result.faces[0].heat.box, [18, 28, 162, 172])  # square, 120 pixels and a tenth on either side
    later = perceived(at=0.01, count=1)
    moved = Face(1, BOXES[0] + 30, 0.9, 0.0)
    [result] = stage([Result(later.frame, (moved,))])
    assert result.faces[0].heat is not None
    assert np.allclose(result.faces[0].heat.box, [48, 58, 192, 202])
    assert stage.engine.batch_sizes == [2]  # type: ignore[attr-defined]


def test_a_live_frame_that_is_late_goes_without_maps_and_a_file_waits_for_them() -> None:
    stage = expresser(MapSettings(budget=0.05))
    late, punctual, file = perceived(live=True, age=0.2), perceived(live=True), perceived(age=9.0)
    seen = [stage([one])[0].faces for one in (late, punctual, file)]
    assert [[face.heat is not None for face in faces] for faces in seen] == [[False] * 2, [True] * 2, [True] * 2]
    assert all(face.expression for face in seen[0]), "the answer itself does not fall out"


def test_a_network_for_maps_alone_is_asked_once_for_all_streams_and_again_when_maps_are_old() -> None:
    own = looking_classifier()
    stage = expresser(MapSettings(interval=0.1), own, outputs=("probabilities",))
    for at in (0.0, 0.04, 0.12):
        results = stage([perceived(at), perceived(at, stream="door")])
        assert all(face.heat for result in results for face in result.faces)
    assert own.batch_sizes == [4, 4]


def test_a_slow_network_for_maps_looks_at_as_many_faces_as_there_is_time_for() -> None:
    own = looking_classifier()
    answer = own.function

    def slow(batch: NDArray[np.uint8]) -> Outputs:
        time.sleep(0.03 * len(batch))
        return answer(batch)

    own.function = slow
    stage = expresser(MapSettings(interval=0.0, budget=0.055), own, outputs=("probabilities",))
    stage([perceived(0.0, live=True)])  # measures
    [result] = stage([perceived(0.1, live=True)])
    assert [face.heat is not None for face in result.faces].count(True) == 1
    assert own.batch_sizes == [2, 1]


def test_a_late_stream_takes_no_maps_from_one_that_has_time() -> None:
    own = looking_classifier()
    stage = expresser(MapSettings(interval=0.0, budget=5.0), own, outputs=("probabilities",))
    stage([perceived(0.0, live=True), perceived(0.0, live=True, stream="late")])  # measures
    late, timely = stage([perceived(0.1, live=True, stream="late", age=9.0), perceived(0.1, live=True)])
    assert [face.heat is not None for face in late.faces] == [False, False]
    assert [face.heat is not None for face in timely.faces] == [True, True]
    assert own.batch_sizes == [4, 2]


def test_lost_tracks_and_ended_streams_are_forgotten() -> None:
    stage = expresser(MapSettings())
    assert stage.explainer is not None
    stage([perceived()])
    stage([perceived(0.1, count=0)])
    assert stage.explainer._looks == {"cam": {}}
    stage.explainer.forget("cam")
    assert stage.explainer._looks == {}


def test_a_network_without_the_map_or_the_label_is_refused() -> None:
    with pytest.raises(ValueError, match="gives probabilities, no 'cam': name a network that does by overlay.model"):
        check_maps(MapSettings(), expression_spec())
    with pytest.raises(ValueError, match="overlay.label 'joy': expected one of neutral, happiness"):
        check_maps(MapSettings(label="joy"), looking_classifier().spec)
    with pytest.raises(ValueError, match="gives probabilities, features, cam, no 'attention'"):
        build_pipeline(load_config(Config, None, ["overlay.cam=true", "overlay.map=attention"]), [])
    with pytest.raises(ValueError, match="budget > 0"):
        MapSettings(budget=0)


def test_heat_lies_over_its_box_and_nowhere_else() -> None:
    picture = np.full((100, 120, 3), 100, np.uint8)
    values = np.zeros((2, 2), np.float32)
    values[:, 1] = 1
    lay_heat(picture, values, np.array([20, 30, 60, 70], np.float32))
    outside = np.ones((100, 120), bool)
    outside[30:70, 20:60] = False
    assert (picture[outside] == 100).all()
    jet = cv2.applyColorMap(np.array([[0, 255]], np.uint8), cv2.COLORMAP_JET)[0]
    assert np.allclose(picture[50, 22], 0.4 * jet[0] + 50, atol=2)
    assert np.allclose(picture[50, 57], 0.4 * jet[1] + 50, atol=2)
    assert np.allclose(picture[30:70, 20:60], heated(np.full((40, 40, 3), 100, np.uint8), values), atol=2)


@pytest.mark.parametrize(
    "box",
    [(-50, -50, 30, 30), (-1e7, -1e7, 1e7, 1e7), (90, 90, 300, 300), (200, 0, 300, 9), (5, 5, 5, 5), (np.nan,) * 4],
)
def test_heat_is_drawn_inside_the_picture_whatever_the_box(box: tuple[float, ...]) -> None:
    picture = np.full((100, 120, 3), 100, np.uint8)
    lay_heat(picture, np.random.default_rng(0).random((6, 6), np.float32), np.array(box, np.float32))
    assert picture.shape == (100, 120, 3)


def test_the_overlay_shows_maps_when_asked_and_says_how_many_it_had_no_time_for() -> None:
    [result] = expresser(MapSettings())([perceived()])
    plain, hot = draw(result, details=False), draw(result, details=False, maps=True)
    spots = (plain != hot).any(axis=2)
    assert spots[60:140, 60:120].mean() > 0.9
    assert not spots[300:, :200].any(), "every face has its map: nothing to say"
    [late] = expresser(MapSettings(budget=0.05))([perceived(live=True, age=0.2)])
    spots = (draw(late, details=False) != draw(late, details=False, maps=True)).any(axis=2)
    assert spots[440:, :300].any()
    assert not spots[:440].any()


def test_an_answer_of_a_network_without_maps_takes_the_old_map_away() -> None:
    stage = expresser(MapSettings())
    [result] = stage([perceived()])
    assert all(face.heat for face in result.faces)
    later, explainer = perceived(at=0.1), stage.explainer
    assert explainer is not None
    question = Question(later.frame, later.faces[:1], ["face"])
    explainer.note(Answer(question, stage.engine.spec, {"probabilities": np.ones((1, 8), np.float32) / 8}))
    [result] = explainer([Result(later.frame, result.faces)])
    assert [face.heat is None for face in result.faces] == [True, False]


def seen_in_part(*hidden: str, usable: float = 1.0, at: float = 0.0) -> Result:
    """Return a frame with one face of which some parts are hidden."""
    visibility = np.ones(68, np.float32)
    for part in hidden:
        visibility[REGIONS[part]] = 0
    result = perceived(at, count=1)
    points = points_of_face(100, 40, 50)
    return replace(result, faces=(replace(result.faces[0], landmarks=points, visibility=visibility, usable=usable),))


def test_a_partly_hidden_face_has_the_map_of_the_network_and_the_region_that_answered() -> None:
    whole, parts = looking_classifier(), looking_classifier()
    parts.spec = expression_spec(
        outputs=("probabilities", "cam"),
        crop=Crop(region="nose_eyes", margin=0.1),
        views={"nose_eyes": View()},
        labels=(*LABELS[:1], "fear", *LABELS[2:6], "happiness", *LABELS[7:]),
    )
    stage = Expresser(whole, ExpressionSettings(), Explainer(MapSettings(label="fear")), regions=parts)
    hidden = seen_in_part("mouth")
    [result] = stage([hidden])
    heat, face = result.faces[0].heat, result.faces[0]
    assert (whole.batch_sizes, parts.batch_sizes) == ([], [1])
    assert heat is not None
    assert heat.values.argmax() // 8 == 1, "its own place for fear"
    assert np.allclose(heat.box, seen_boxes([face], parts.spec, ["nose_eyes"])[0], atol=0.01)
    assert heat.box[3] < face.box[3]


def test_a_face_that_cannot_be_judged_has_no_map_and_is_not_counted_as_missing_one() -> None:
    stage = Expresser(looking_classifier(), ExpressionSettings(), Explainer(MapSettings()), regions=looking_parts())
    assert stage([seen_in_part()])[0].faces[0].heat is not None
    [result] = stage([seen_in_part(usable=0.0, at=0.1)])
    assert result.faces[0].heat is None
    assert (draw(result, details=False) == draw(result, details=False, maps=True)).all()


def looking_parts() -> FakeEngine:
    parts = looking_classifier(region="mouth", margin=0.1)
    parts.spec = parts.spec.model_copy(update={"views": {"mouth": View()}})
    return parts
