"""Numbers of an evaluation against counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from engines import tempered
from train.expression.scores import (
    calibration_error,
    fit_temperature,
    limited,
    macro_recall,
    measure,
    nll,
    reliability,
    surest_accuracy,
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


def test_the_interval_of_an_accuracy_holds_it_and_says_how_little_ten_rows_tell() -> None:
    labels = np.zeros(10, np.int64)
    assert measure(confident([0] * 10), labels, CLASSES).interval == wilson(10, 10)
    few, many = (wilson(n * 4 // 5, n) for n in (50, 5000))
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


def test_macro_recall_counts_the_classes_that_occur_alike_and_its_interval_holds_it() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    found = measure(confident([0] * 90 + [1] * 4 + [0] * 6), labels, CLASSES)
    assert found.macro_recall == pytest.approx((1 + 0.4) / 2)
    assert found.macro_recall == macro_recall(labels, np.array([0] * 90 + [1] * 4 + [0] * 6))
    low, high = found.macro_recall_interval
    assert low < found.macro_recall < high
    # The recall of ten rows decides: 0.4 ± 1.96 sqrt(0.4 * 0.6 / 10), halved.
    assert high - low == pytest.approx(1.96 * np.sqrt(0.4 * 0.6 / 10), rel=0.1)
    low, high = found.macro_f1_interval
    assert low < found.macro_f1 < high


def test_the_surest_rows_are_those_of_the_highest_confidence() -> None:
    probabilities = np.concatenate([confident([0] * 8, 0.9), confident([0] * 2, 0.5)])
    assert surest_accuracy(probabilities, np.array([0] * 8 + [1] * 2)) == 1.0
    assert surest_accuracy(probabilities[::-1], np.array([0] * 9 + [1])) == pytest.approx(7 / 8)


def test_a_network_is_asked_for_some_of_its_labels_alone() -> None:
    probabilities = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]], np.float32)
    asked = limited(probabilities, CLASSES, ("cross", "calm"))
    np.testing.assert_allclose(asked, [[0.6, 0.4], [0.5, 0.5]], atol=1e-6)
    assert limited(probabilities, CLASSES, CLASSES) is probabilities


def test_a_temperature_of_few_rows_is_bounded_and_a_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.arange(12) % 3
    assert fit_temperature(confident(labels.tolist()), labels) == pytest.approx(0.5, rel=0.01)
    assert "is fitted to 12 rows, and kept within 0.5-2: expected 100 rows at least" in caplog.text
    caplog.clear()
    many = np.arange(120) % 3
    assert fit_temperature(confident(many.tolist()), many) < 0.1
    assert not caplog.text
