"""Runs with several seeds and over folds of subjects."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from streamer.config import load_config
from tests.train.conftest import CLASSES, CONFIG, toy_picture
from train.__main__ import app
from train.data.splits import FOLDS
from train.expression.config import TrainConfig
from train.expression.reports import repeat

WriteConfig = Callable[..., Path]
RAFD = ("neutral", "happy", "surprised", "sad", "angry", "disgusted", "fearful", "contemptuous")


def test_runs_with_several_seeds_are_summed_up_as_mean_and_deviation(write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config(phases=[{"epochs": 1, "size": 24}])
    result = CliRunner().invoke(app, ["repeat", str(path), "--seeds", "1,2,3"])
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "runs/toy/repeats.json").read_text())
    accuracies = [run["accuracy"] for run in values["runs"].values()]
    assert list(values["runs"]) == ["toy/seed-1", "toy/seed-2", "toy/seed-3"]
    assert values["mean"] == pytest.approx(statistics.fmean(accuracies))
    assert values["deviation"] == pytest.approx(statistics.stdev(accuracies))
    assert values["pooled"] is None  # every run judged the same rows
    assert "(3 runs)" in result.output


def test_finished_runs_are_judged_where_the_data_lie_now(write_config: WriteConfig, tmp_path: Path) -> None:
    config = load_config(TrainConfig, write_config(phases=[{"epochs": 1, "size": 24}]))
    before = repeat.repeat("toy", repeat.with_seeds(config, [1, 2]))
    here = Path(shutil.copytree(config.data.path, tmp_path / "moved: elsewhere"))
    config = config.model_copy(update={"data": config.data.model_copy(update={"path": here})})
    for run in (tmp_path / "runs/toy").glob("*/checkpoint.pt"):
        checkpoint = torch.load(run, weights_only=True)
        checkpoint["config"]["data"]["path"] = str(tmp_path / "gone")
        torch.save(checkpoint, run)
    assert repeat.repeat("toy", repeat.with_seeds(config, [1, 2])).to_json() == before.to_json()


def test_every_person_is_judged_once_over_the_folds(tmp_path: Path) -> None:
    folder, random = tmp_path / "rafd", np.random.default_rng(0)
    folder.mkdir()
    people = (1, 2, 20, 21, 35, 36, 50, 51, 60, 61)  # two of each of the paper's folds
    for person in people:
        for label in range(CLASSES - 1):
            picture = cv2.cvtColor(toy_picture(label, random), cv2.COLOR_GRAY2BGR)
            name = f"Rafd090_{person:02d}_Caucasian_female_{RAFD[label]}_frontal.png"
            cv2.imwrite(str(folder / name), picture)
    data = {"set": "rafd_front", "path": folder, "labels": "basic"}
    data |= {"train": "not fold0:rest", "validation": "not fold0:tenth", "test": "fold0"}
    values = {**CONFIG, "data": data, "runs": tmp_path / "runs", "phases": [{"epochs": 1, "size": 24}]}
    config = TrainConfig.model_validate(values)
    found = repeat.repeat("toy", repeat.with_folds(config))
    assert len(found.runs) == FOLDS
    assert found.pooled is not None
    assert found.pooled.rows == len(people) * (CLASSES - 1)
    assert {one.split for one in found.runs.values()} == {f"fold{k}" for k in range(FOLDS)}


def test_wrong_seeds_and_splits_that_are_no_folds_are_named(write_config: WriteConfig) -> None:
    with pytest.raises(ValueError, match="expected numbers like 1,2,3,4,5"):
        repeat.seeds_of("1,two")
    config = load_config(TrainConfig, write_config())
    with pytest.raises(ValueError, match="toy: expected splits like 'not fold0' and 'fold0' to cross-validate, found"):
        repeat.with_folds(config)
    result = CliRunner().invoke(app, ["repeat", str(write_config())])
    assert "expected one of --seeds and --folds" in str(result.exception)
