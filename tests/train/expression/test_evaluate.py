"""Evaluation of anything that maps pictures to probabilities, and its reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from typer.testing import CliRunner

from streamer.config import load_config
from tests.train.conftest import CLASSES, write_toy_set
from train.__main__ import app
from train.analysis import explain as explained
from train.data import EMOTIONS
from train.expression.batches.rows import fitting_rows, near_duplicates
from train.expression.classifier import Classifier
from train.expression.config import Data, Input, TrainConfig
from train.expression.evaluate import evaluate, subsets
from train.expression.fit import fit
from train.expression.open import open_classifier, read_run
from train.expression.reports import report

WriteConfig = Callable[..., Path]


def brightest_bar(images: np.ndarray) -> np.ndarray:
    """Answer by the row of the bar: right on every toy picture."""
    rows = images[..., 0].mean(axis=2).reshape(len(images), CLASSES, -1).mean(axis=2)
    return np.eye(CLASSES, dtype=np.float32)[rows.argmax(axis=1)] * 0.92 + 0.01


def toy_classifier(path: Path, answer: Callable[[np.ndarray], np.ndarray] = brightest_bar) -> Classifier:
    infer = lambda images: {"probabilities": answer(images)}  # noqa: E731
    return Classifier("bars", EMOTIONS, infer, Data(path=path), Input(size=48))


def change(folder: Path, **columns: Callable[[list[object]], list[object]]) -> None:
    table = parquet.read_table(folder / "fer-0.parquet").to_pydict()
    for name, function in columns.items():
        table[name] = function(table[name])
    parquet.write_table(pa.table(table), folder / "fer-0.parquet")


def test_every_choice_of_rows_is_reported(tmp_path: Path) -> None:
    folder = write_toy_set(tmp_path / "set", {"public": 2, "private": 3})
    first = 2 * CLASSES  # of the private rows
    change(
        folder,
        private_dup_elsewhere=lambda column: [i in (first, first + 1) for i in range(len(column))],
        ferplus_majority=lambda column: [-1 if i == first + 2 else label for i, label in enumerate(column)],
        ferplus_seed=lambda column: [(label + 1) % 8 if i == first else label for i, label in enumerate(column)],
    )
    found = evaluate(toy_classifier(folder), "private")
    rows = {name: scores.rows for name, scores in found.scores.items()}
    assert rows["ferplus_seed, all rows"] == 24
    assert rows["ferplus_seed, without duplicates"] == 22
    assert rows["ferplus_seed, without contempt"] == 21
    assert rows["ferplus_majority, all rows"] == 23
    assert found.first.accuracy == pytest.approx(23 / 24)
    assert found.scores["ferplus_seed, without duplicates"].accuracy == 1.0
    assert found.scores["ferplus_majority, all rows"].accuracy == 1.0


def test_a_choice_that_leaves_no_row_or_every_row_is_not_reported() -> None:
    labels, none, every = np.array([0, 1, -1]), np.zeros(3, bool), np.ones(3, bool)
    assert list(subsets(labels, none, none, EMOTIONS)) == ["all rows"]
    assert list(subsets(labels, every, every, EMOTIONS)) == ["all rows"]
    assert list(subsets(labels, none, np.array([True, False, False]), EMOTIONS)) == [
        "all rows",
        "without near-duplicates",
    ]


def test_the_temperature_comes_from_the_validation_split(tmp_path: Path) -> None:
    folder = write_toy_set(tmp_path / "set", {"public": 4, "private": 4})
    change(folder, ferplus_seed=lambda column: [(label + (i % 4 == 0)) % 8 for i, label in enumerate(column)])
    found = evaluate(toy_classifier(folder), "private")
    assert found.temperature > 1.2  # one answer in four is wrong, and all are sure
    assert found.data.validation == "public"


def test_a_classifier_of_other_classes_is_refused(tmp_path: Path) -> None:
    folder = write_toy_set(tmp_path / "set", {"public": 1})
    classifier = replace(toy_classifier(folder), name="two", labels=("yes", "no"))
    with pytest.raises(ValueError, match=r"two: answers \('yes', 'no'\)"):
        evaluate(classifier, "public")
    with pytest.raises(ValueError, match=r"two: answers \('yes', 'no'\)"):
        classifier.rows("public")


def test_an_unknown_split_names_those_that_exist(toy_set: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'final': expected one of train, public, private"):
        evaluate(toy_classifier(toy_set), "final")


def test_a_checkpoint_and_its_configuration_give_the_same_figures(write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config()
    written = fit(load_config(TrainConfig, path), until=1)
    one, other = (evaluate(open_classifier(source), "public") for source in (path, written))
    assert np.array_equal(one.probabilities, other.probabilities)
    with pytest.raises(FileNotFoundError, match="expected a checkpoint, found none"):
        open_classifier(write_config(name="never"))
    with pytest.raises(ValueError, match=r"notes\.txt: expected a configuration"):
        open_classifier(tmp_path / "notes.txt")


def test_a_run_is_judged_as_what_was_run_whatever_its_configuration_says_today(write_config: WriteConfig) -> None:
    fit(load_config(TrainConfig, write_config()), until=1)
    path = write_config(seed=9, optimizer={"rule": "adam"}, input={"size": 48}, serve={"flip": True})
    classifier = open_classifier(path, ["input.margin=0.2", "seed=8"])
    assert (classifier.made["seed"], classifier.made["rule"]) == (1, "momentum")
    assert (classifier.input.size, classifier.input.margin) == (24, 0.2)
    config, checkpoint = read_run(path, ["data.labels=fer2013"])
    assert (config.serve.flip, config.data.labels) == (True, "fer2013")
    assert checkpoint["config"]["data"]["labels"] == "ferplus_seed"


def test_the_report_holds_table_json_and_pictures(toy_set: Path, tmp_path: Path) -> None:
    report.write(evaluate(toy_classifier(toy_set), "public"), tmp_path / "out")
    values = json.loads((tmp_path / "out/report.json").read_text())
    assert values["scores"]["ferplus_seed, all rows"]["accuracy"] == 1.0
    assert values["temperature"]["fitted_on"] == "public"
    text = (tmp_path / "out/report.md").read_text()
    assert "| ferplus_seed, all rows | 48 | 100.00 % |" in text
    assert "| neutral | 6 | 1.000 |" in text
    for name in ("confusion.png", "calibration.png"):
        assert (tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG")


def test_the_command_line_prints_the_table_of_the_validation_split(write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config()
    fit(load_config(TrainConfig, path), until=1)
    result = CliRunner().invoke(app, ["evaluate", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "toy: fer public" in result.output
    assert json.loads((tmp_path / "out/report.json").read_text())["split"] == "public"


def test_rows_that_show_a_photo_of_the_training_rows_again_are_told_apart(tmp_path: Path) -> None:
    folder = write_toy_set(tmp_path / "set", {"train": 4, "public": 3})
    table = parquet.read_table(folder / "fer-0.parquet").to_pydict()
    first = table["split"].index("public")
    photo = cv2.imdecode(np.frombuffer(table["png"][first], np.uint8), cv2.IMREAD_GRAYSCALE)
    table["png"][0] = cv2.imencode(".png", cv2.add(photo, 9))[1].tobytes()  # brighter, so no twin by its pixels
    table["png"][1] = table["png"][first + 1]  # a twin, which training leaves out
    parquet.write_table(pa.table(table), folder / "fer-0.parquet")
    near = near_duplicates(Data(path=folder), "public")
    assert near[0]
    assert not near[1]


def test_what_is_fitted_to_answers_is_fitted_to_no_twin_of_what_it_is_judged_on(tmp_path: Path) -> None:
    folder = write_toy_set(tmp_path / "set", {"train": 4, "public": 3, "private": 1})
    table = parquet.read_table(folder / "fer-0.parquet").to_pydict()
    table["png"][1] = table["png"][table["split"].index("public") + 4]
    table["png"][2] = table["png"][table["split"].index("private")]
    table["ferplus_seed"][3] = -1
    parquet.write_table(pa.table(table), folder / "fer-0.parquet")
    data, seen = Data(path=folder), Input(size=24)
    assert not set(fitting_rows(data, seen, "public").names) & {"train-1", "train-3"}
    assert not set(fitting_rows(data, seen, "private").names) & {"train-2", "train-3"}
    assert len(fitting_rows(data, seen, "public")) == 4 * CLASSES - 2


def test_rules_are_fitted_without_twins_of_the_rows_that_they_are_judged_on(
    write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_toy_set(tmp_path / "set", {"train": 4, "public": 4, "private": 1})
    change(folder, png=lambda column: [*column[:4], *column[4:32], *column[:4], *column[36:]])
    path = write_config(data={"set": "fer", "path": str(folder)})
    fit(load_config(TrainConfig, path), until=1)
    fitted = []
    write = explained.write
    monkeypatch.setattr(explained, "write", lambda *given: fitted.append(given[-1]) or write(*given))
    result = CliRunner().invoke(app, ["explain", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert len(fitted[0]) == 4 * CLASSES - 4


def test_without_the_training_rows_there_is_no_check_for_near_duplicates(tmp_path: Path) -> None:
    found = evaluate(toy_classifier(write_toy_set(tmp_path / "set", {"public": 2})), "public")
    assert found.near_duplicates is None
    assert "by perceptual hash" not in report.to_markdown(found)


def test_a_hand_made_baseline_is_fitted_where_it_is_judged(write_config: WriteConfig) -> None:
    path = write_config(model={"name": "downsampled_svm", "args": {}})
    found = evaluate(open_classifier(path), "private")
    assert found.first.accuracy > 0.9
    assert found.made["model"] == "downsampled_svm"
    with pytest.raises(ValueError, match="'downsampled_svm' is fitted where it is judged"):
        fit(load_config(TrainConfig, path))
