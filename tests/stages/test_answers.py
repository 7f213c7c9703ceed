"""Which labels are answered, and for which prior, is the user's choice; what a network cannot do is refused."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from numpy.typing import NDArray

from engines import EngineSpec, View
from engines.fake import FakeEngine
from streamer.config import Config, check_config
from streamer.explain.face import explain_face
from streamer.service.reload import reload
from streamer.stages.answers import answered, weights
from streamer.stages.express import Expresser
from streamer.stages.smoothing import ExpressionSettings
from streamer.types import Face, Frame, Result
from tests.conftest import LABELS, expression_spec
from tests.make import SAMPLE, streamer

STATED = dict(zip(LABELS, (0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.1), strict=True))
SAID = np.array([[0.4, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.3]], np.float32)
BUT_CONTEMPT = LABELS[:-1]


def network(prior: bool = True, **changes: object) -> EngineSpec:
    return expression_spec(**({"prior": STATED} if prior else {}), **changes)


def engine(said: NDArray[np.float32] = SAID, **changes: object) -> FakeEngine:
    return FakeEngine(network(**changes), lambda batch: {"probabilities": np.repeat(said, len(batch), axis=0)})  # type: ignore[arg-type]


def result(at: float = 0.0, stream: str = "a") -> Result:
    frame = Frame(np.full((120, 160, 3), 90, np.uint8), stream, round(25 * at), at, 0.0)
    return Result(frame, (Face(1, np.float32([20, 20, 80, 90]), 0.9, at),))


def asked(settings: ExpressionSettings) -> NDArray[np.float32]:
    return answered(SAID, ["face"], network(), settings)[0]


def test_without_a_wish_answers_are_the_networks_own() -> None:
    np.testing.assert_allclose(asked(ExpressionSettings()), SAID[0] / SAID.sum(), rtol=1e-6)
    np.testing.assert_array_equal(weights(network(prior=False), ExpressionSettings()), np.ones(8))


def test_another_prior_is_bayes_rule() -> None:
    wanted = dict(zip(LABELS, (1, 1, 2, 2, 3, 4, 5, 2), strict=True))
    expected = SAID[0] * [wanted[label] / STATED[label] for label in LABELS]
    found = asked(ExpressionSettings(prior=wanted))
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        asked(ExpressionSettings(prior={name: 7 * one for name, one in wanted.items()})), found, rtol=1e-5
    )
    even = SAID[0] / [STATED[label] for label in LABELS]
    np.testing.assert_allclose(asked(ExpressionSettings(prior="even")), even / even.sum(), rtol=1e-5)
    np.testing.assert_allclose(asked(ExpressionSettings(prior=STATED)), SAID[0] / SAID.sum(), rtol=1e-5)


def test_the_temperature_comes_before_the_prior() -> None:
    spec = network(views={"mouth": View(temperature=2.0)})
    softened = np.sqrt(SAID) / np.sqrt(SAID).sum() / [STATED[label] for label in LABELS]
    found = answered(SAID, ["mouth"], spec, ExpressionSettings(prior="even"))
    np.testing.assert_allclose(found, softened / softened.sum(), rtol=1e-5)


def test_a_label_that_may_not_be_answered_leaves_its_share_to_the_others() -> None:
    found = asked(ExpressionSettings(labels=BUT_CONTEMPT))
    assert found[-1] == 0
    np.testing.assert_allclose(found[:-1], SAID[0, :-1] / SAID[0, :-1].sum(), rtol=1e-5)
    both = asked(ExpressionSettings(labels=("neutral", "fear"), prior={"neutral": 1, "fear": 3}))
    np.testing.assert_allclose(both[0] / both[6], (0.4 / 0.3) / (0.05 * 3 / 0.05), rtol=1e-5)
    assert np.count_nonzero(both) == 2


def test_a_face_is_given_only_labels_that_may_be_answered_and_no_reliability() -> None:
    said = np.float32([[0.3, *[0.02] * 6, 0.58]])
    reliable = {"reliability": dict.fromkeys(LABELS, 0.8)}
    for settings, label, reliability in (
        (ExpressionSettings(), "contempt", 0.8),
        (ExpressionSettings(labels=BUT_CONTEMPT), "neutral", None),
        (ExpressionSettings(prior="even"), "contempt", None),
    ):
        [face] = Expresser(engine(said, **reliable), settings)([result()])[0].faces
        assert face.expression is not None
        assert (face.expression.label, face.expression.reliability) == (label, reliability)
        assert tuple(face.expression.probabilities) == (settings.labels or LABELS)
        assert sum(face.expression.probabilities.values()) == pytest.approx(1)


def test_labels_that_are_taken_away_while_running_are_gone_at_once() -> None:
    stage = Expresser(engine(np.float32([[0.1, *[0.01] * 6, 0.84]])), ExpressionSettings())
    assert stage([result(0.0)])[0].faces[0].expression.label == "contempt"  # type: ignore[union-attr]
    stage.settings = ExpressionSettings(labels=BUT_CONTEMPT)
    [face] = stage([result(0.04)])[0].faces
    assert face.expression is not None
    assert face.expression.label == "neutral"
    assert sum(face.expression.probabilities.values()) == pytest.approx(1)


def test_a_face_that_cannot_be_judged_is_as_likely_each_of_the_labels_that_may_be_answered() -> None:
    stage = Expresser(engine(views={"mouth": View()}), ExpressionSettings(labels=("fear", "anger")))
    hidden = result()
    face = Face(1, hidden.faces[0].box, 0.9, 0.0, visibility=np.zeros(68, np.float32), usable=0.0)
    [face] = stage([Result(hidden.frame, (face,))])[0].faces
    assert face.expression is not None
    assert face.expression.probabilities == {"anger": 0.5, "fear": 0.5}


def test_an_explanation_is_of_the_answer_that_was_given() -> None:
    settings = ExpressionSettings(labels=("neutral", "contempt", "fear"), prior="even")
    stage = Expresser(engine(), settings)
    [given] = stage([result()])
    found = explain_face(stage.engine, given.frame.image, given.faces[0], settings)
    assert found.shown == found.label == "contempt"
    assert given.faces[0].expression is not None
    assert found.probabilities == pytest.approx(given.faces[0].expression.probabilities)


@pytest.mark.parametrize(
    ("prior", "settings", "message"),
    [
        (True, {"labels": ("joy", "fear")}, r"expression\.labels: expected some of neutral, .*contempt, found joy$"),
        (False, {"prior": "even"}, r"expression\.prior: expected a network whose card gives the prior .*found 'fake'$"),
        (True, {"prior": {"neutral": 1, "fear": 2}}, r"prior: expected 'even' or a share of neutral, happiness"),
        (True, {"prior": {**STATED, "joy": 1}}, r"expression\.prior: expected 'even' or a share of .*, found .*joy$"),
    ],
)  # fmt: skip
def test_what_the_network_cannot_do_is_refused_before_anything_runs(
    prior: bool, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Expresser(engine(prior=prior), ExpressionSettings(**settings))  # type: ignore[arg-type]


def test_both_networks_must_be_able_to() -> None:
    parts = engine(prior=False, views={"mouth": View()})
    with pytest.raises(ValueError, match="expected a network whose card gives the prior"):
        Expresser(engine(), ExpressionSettings(prior="even"), regions=parts)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("labels=[fear]", "labels: expected two different ones at least, found fear"),
        ("labels=[fear, fear]", "labels: expected two different ones at least, found fear, fear"),
        ("labels=[]", "labels: expected two different ones at least, found none"),
        ("prior={fear: 0, anger: 1}", r"prior: expected shares above 0 .*, found fear 0, anger 1"),
        ("prior={fear: -1, anger: 1}", r"prior: expected shares above 0"),
        ("prior=odd", "expression.prior"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        check_config(Config, {}, [f"expression.{value}"], "configuration")
    assert "\n" not in str(caught.value)


def test_values_are_taken_from_files_and_the_command_line() -> None:
    values = {"expression": {"labels": ["fear", "anger"], "prior": {"fear": 1, "anger": 2}}}
    found = check_config(Config, values, [], "configuration").expression
    assert (found.labels, found.prior) == (("fear", "anger"), {"fear": 1, "anger": 2})
    assert check_config(Config, {}, ["expression.prior=even"], "configuration").expression.prior == "even"
    json.loads(Config(expression=found).model_dump_json())


def test_a_run_that_asks_for_a_label_that_no_network_knows_ends_in_one_line() -> None:
    done = streamer("run", SAMPLE, "--set", "expression.labels=[joy, fear]")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("found joy")


def test_a_reload_that_asks_for_too_much_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing:
        def retune(self, config: Config) -> None:
            Expresser(engine(), ExpressionSettings()).check(config.expression)

    now = Config()
    with caplog.at_level(logging.WARNING):
        wrong = Config(expression=ExpressionSettings(labels=("joy", "fear")))
        assert reload(Refusing(), now, lambda: wrong) is now  # type: ignore[arg-type]
    assert "configuration not reloaded: expression.labels: expected some of neutral" in caplog.text
    right = Config(expression=ExpressionSettings(labels=("anger", "fear")))
    assert reload(Refusing(), now, lambda: right).expression.labels == ("anger", "fear")  # type: ignore[arg-type]
