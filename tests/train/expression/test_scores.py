"""Numbers of an evaluation against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engines import tempered
from train.expression.scores import (
    bootstrap,
    calibration_error,
    fit_temperature,
    measure,
    nll,
    reliability,
    wilson,
)

CLASSES = ("calm", "glad", "cross")


def confident(answers: list[int], confidence: float = 0.8) -> np.ndarray:
    table = np.full((len(answers), 3), (1 - confidence) / 2, np.float32)
    table[np.arange(len(answers)), answers] = confidence
    return table


def test_classes_and_confusion_are_counted_by_hand() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    found = measure(confident([0, 0, 0, 1, 1, 0]), labels, CLASSES)
    assert found.rows == 6
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.confusion == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    calm = found.classes["calm"]
    assert (calm.precision, calm.recall, calm.rows, calm.answers) == (0.75, 0.75, 4, 4)
    assert found.classes["glad"].f1 == pytest.approx(0.5)
    assert found.classes["cross"].answers == 0
    assert found.macro_f1 == pytest.approx((0.75 + 0.5) / 2)  # 'cross' does not occur
    assert found.calibration_error == pytest.approx(abs(0.8 - 4 / 6), abs=1e-6)


def test_no_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="expected labelled rows"):
        measure(confident([]), np.zeros(0, np.int64), CLASSES)


def test_the_bootstrap_interval_holds_the_accuracy_and_narrows_with_rows() -> None:
    few, many = (bootstrap(np.arange(n) % 5 > 0) for n in (50, 5000))
    assert few[0] < many[0] < 0.8 < many[1] < few[1]
    assert many[1] - many[0] == pytest.approx(2 * 1.96 * np.sqrt(0.8 * 0.2 / 5000), rel=0.1)


def test_wilson_intervals_are_those_of_the_tables() -> None:
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-3)
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_reliability_is_the_precision_of_an_answer_and_leaves_out_what_is_never_answered() -> None:
    table = reliability(measure(confident([0, 0, 0, 1]), np.array([0, 0, 1, 1]), CLASSES))
    assert set(table) == {"calm", "glad"}
    assert table["calm"]["precision"] == pytest.approx(2 / 3)
    assert table["calm"]["low"] < 2 / 3 < table["calm"]["high"]
    assert table["calm"]["answers"] == 3


def test_the_fitted_temperature_undoes_a_known_one_and_lowers_the_loss() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 3))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([random.choice(3, p=row) for row in honest])
    sharp = tempered(honest.astype(np.float32), 0.5)
    temperature = fit_temperature(sharp, labels)
    assert temperature == pytest.approx(2.0, rel=0.05)
    assert nll(tempered(sharp, temperature), labels) < nll(sharp, labels)
    assert calibration_error(tempered(sharp, temperature), labels) < 0.02 < calibration_error(sharp, labels)
