"""Fitting: it learns, goes on exactly where it stopped, and loses nothing when something goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from streamer.config import load_config
from tests.train.conftest import CLASSES, CONFIG, write_toy_config, write_toy_set
from train import checkpoint, schedule
from train.__main__ import app
from train.config import Optimizer
from train.data import FaceSet, load
from train.expression.batches.rows import training_rows
from train.expression.config import TrainConfig
from train.expression.fit import fit
from train.expression.start import start
from train.models.weights import read_weights
from train.tasks import TASKS, task_of

WriteConfig = Callable[..., Path]


def read(path: Path, *overrides: str) -> TrainConfig:
    return load_config(TrainConfig, path, overrides)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_set: Path) -> Path:
    """Return the checkpoint of a run that has come to its end."""
    return fit(read(write_toy_config(tmp_path_factory.mktemp("finished"), toy_set)))


def weights(path: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoint.load(path)["average"]
    return found


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_short_run_through_the_command_line_learns_the_toy_classes(write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config(phases=[{"epochs": 12, "size": 24}], optimizer={"rate": 0.1, "batch": 8, "average": 0.9})
    result = CliRunner().invoke(app, ["fit", str(path)])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (tmp_path / "runs/toy/epochs.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["validation_accuracy"] > 0.8


def test_a_run_in_two_parts_equals_one_in_one_part_bit_for_bit(write_config: WriteConfig) -> None:
    whole = fit(read(write_config(name="whole")))
    parts = read(write_config(name="parts"))
    fit(parts, until=1)
    assert checkpoint.load(parts.runs / "parts/checkpoint.pt")["epoch"] == 1
    stopped = fit(parts)
    assert equal(weights(whole), weights(stopped))
    assert equal(checkpoint.load(whole)["model"], checkpoint.load(stopped)["model"])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(write_config: WriteConfig) -> None:
    one, again, other = (
        fit(read(write_config(name=name), f"seed={seed}"), until=1) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert equal(weights(one), weights(again))
    assert not equal(weights(one), weights(other))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(write_config: WriteConfig) -> None:
    path = write_config()
    written = fit(read(path), until=1)
    ruined = checkpoint.load(written)
    ruined["model"]["head.fc.bias"].fill_(torch.inf)
    torch.save(ruined, written)
    kept = written.read_bytes()
    with pytest.raises(RuntimeError, match="last good checkpoint is kept"):
        fit(read(path))
    assert written.read_bytes() == kept


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device that is always full")
def test_a_full_disk_keeps_the_previous_checkpoint(write_config: WriteConfig) -> None:
    path = write_config()
    written = fit(read(path), until=1)
    kept = written.read_bytes()
    written.with_suffix(".tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="the previous checkpoint is kept"):
        fit(read(path))
    assert written.read_bytes() == kept
    assert not written.with_suffix(".tmp").is_symlink()


@pytest.mark.parametrize(
    ("override", "was", "says"),
    [
        ("model.args.widths=[12, 16]", r"model.args.widths=\[8, 16\]", r"model.args.widths=\[12, 16\]"),
        ("seed=9", "seed=1", "seed=9"),
        ("loss=soft", "loss=hard", "loss=soft"),
        ("optimizer.rule=adam", "optimizer.rule=momentum", "optimizer.rule=adam"),
        ("keep=best", "keep=last", "keep=best"),
        ("data.labels=fer2013", "data.labels=ferplus_seed", "data.labels=fer2013"),
        ("phases=[{epochs: 3, size: 16}]", r"phases=\[.*24.*\]", r"phases=\[.*16.*\]"),
        ("phases=[{epochs: 2, size: 24}]", r"phases=\[.*3.*\]", r"phases=\[.*2.*\]"),
    ],
)
def test_a_checkpoint_of_another_run_is_named(
    write_config: WriteConfig, finished: Path, override: str, was: str, says: str
) -> None:
    path = write_config(runs=str(finished.parents[1]))
    with pytest.raises(ValueError, match=rf"the run was begun with {was}, the configuration says {says}; expected"):
        fit(read(path, override))


def test_a_run_goes_on_where_its_files_lie_now_and_as_long_as_is_wanted(
    write_config: WriteConfig, toy_set: Path, finished: Path, tmp_path: Path
) -> None:
    runs = tmp_path / "elsewhere"
    shutil.copytree(finished.parent, runs / "moved")
    shutil.copytree(toy_set, tmp_path / "copied")
    path = write_config(name="moved", runs=str(runs), data={"path": str(tmp_path / "copied")})
    longer = "phases=[{epochs: 4, size: 24}]"
    went_on = fit(read(path, longer, "precision=f32", "serve.flip=true", "early_stop=9"))
    assert went_on == runs / "moved/checkpoint.pt"
    assert checkpoint.load(went_on)["epoch"] == 4


def test_a_run_does_not_go_on_with_other_classes(write_config: WriteConfig, finished: Path) -> None:
    config = read(write_config(runs=str(finished.parents[1])))
    state = start(config, training_rows(config)[0], torch.device("cpu"))
    with pytest.raises(ValueError, match=r"begun with the classes \('neutral', .*the data have \('a', 'b'\)"):
        checkpoint.resume(finished, config, ("a", "b"), state)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: not a readable checkpoint"):
        checkpoint.load(path)
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="expected a checkpoint with config and average"):
        checkpoint.load(path)


def test_training_starts_from_given_weights_and_leaves_frozen_ones(write_config: WriteConfig) -> None:
    first = fit(read(write_config(name="first")), until=1)
    path = write_config(name="second", optimizer={**CONFIG["optimizer"], "average": 0.0})
    second = fit(read(path, f"init={first}", "freeze=[stem.0, blocks]"), until=1)
    given, found = weights(first), weights(second)
    assert torch.equal(given["stem.0.weight"], found["stem.0.weight"])
    norms = [name for name in found if name.startswith("blocks") and name.endswith("running_var")]
    assert norms
    assert all(torch.equal(given[name], found[name]) for name in norms)
    assert not torch.equal(given["head.fc.weight"], found["head.fc.weight"])
    with pytest.raises(ValueError, match="expected weights to start from"):
        fit(read(write_config(name="third"), "freeze=[stem]"))


def test_a_validation_split_of_other_classes_is_refused(
    write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_toy_set(tmp_path / "set", {"train": 2, "public": 1, "private": 1})

    def shifted(name: str, path: Path, split: str, labels: str) -> FaceSet:
        rows = load(name, path, split, labels)
        return replace(rows, classes=("joy", *rows.classes[1:])) if split == "public" else rows

    monkeypatch.setattr("train.expression.batches.rows.load", shifted)
    with pytest.raises(ValueError, match=r"other: answers \('neutral', .*'fer' has \('joy', "):
        fit(read(write_config(name="other", data={"path": str(folder)})))


def test_pictures_with_a_twin_among_the_judged_are_not_trained_on(tmp_path: Path) -> None:
    folder = write_toy_set(tmp_path / "set", {"train": 2, "public": 1, "private": 1})
    import pyarrow as pa
    import pyarrow.parquet as parquet

    table = parquet.read_table(folder / "fer-0.parquet").to_pydict()
    table["png"][3] = table["png"][table["split"].index("private")]
    table["ferplus_seed"][5] = -1
    parquet.write_table(pa.table(table), folder / "fer-0.parquet")
    config = TrainConfig.model_validate({**CONFIG, "data": {"path": folder}})
    rows, counts = training_rows(config)
    assert counts == {"read": 2 * CLASSES, "unlabelled": 1, "twins": 1, "used": 2 * CLASSES - 2}
    assert "train-3" not in rows.names
    assert "train-5" not in rows.names


def test_a_run_that_ends_at_another_size_than_it_is_judged_at_says_so(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("train.expression.fit.log.warning", lambda text, *values: told.append(text % values))
    fit(read(write_config(), "input.size=32"), until=1)
    assert told == ["trained at 24 pixels at last, judged and served at 32 (input.size)"]


def test_the_best_epoch_is_kept_and_a_run_without_progress_ends_early(write_config: WriteConfig) -> None:
    stuck: dict[str, Any] = {"rule": "sgd", "rate": 1e-12, "batch": 16, "average": 0.0, "schedule": "constant"}
    path = fit(read(write_config(phases=[{"epochs": 9, "size": 24}], optimizer=stuck, keep="best", early_stop=2)))
    found = checkpoint.load(path)
    history = [line["validation_accuracy"] for line in found["epochs"]]
    assert len(history) < 9
    assert len(history) - 1 - int(np.argmax(history)) == 2
    assert found["best"] is not None
    started = read_weights(path)  # what another run starts from is what this one is judged by
    assert all(torch.equal(started[name], value) for name, value in found["best"].items())


def test_the_rate_falls_after_epochs_without_progress() -> None:
    settings = Optimizer(rate=1.0, schedule="plateau", patience=2, factor=0.5)
    assert schedule.rate(settings, 0.0, [0.1, 0.2, 0.3]) == 1.0
    assert schedule.rate(settings, 0.0, [0.3, 0.2, 0.3]) == 0.5
    assert schedule.rate(settings, 0.0, [0.3, 0.2, 0.3, 0.1, 0.1]) == 0.25
    assert schedule.rate(settings, 0.0, [0.3, 0.2, 0.3, 0.4, 0.1]) == 0.5


def test_one_cycle_warms_up_and_ends_at_zero() -> None:
    assert schedule.one_cycle(0.0, 0.1) == 0.0
    assert schedule.one_cycle(0.1, 0.1) == pytest.approx(1.0)
    assert schedule.one_cycle(1.0, 0.1) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teacher.weights=[a.onnx]", "loss=soft"], "toy.yaml: teacher: .* expected loss 'distribution', found 'soft'"),
        (
            ["augment.occlude=0.2"],
            "augment.occlude: expected the regions in input.regions that may be left, found none",
        ),
        (["input.regions=[mouth]", "input.channels=3"], "several regions .* expected none of input.channels=3$"),
        (
            ["input.regions=[mouth]", "augment.crop=0.1", "augment.mixup=0.2", "input.mode=centre", "input.align=true"],
            "expected none of input.mode=centre, input.align, augment.crop, augment.mixup$",
        ),
        (["input.regions=[mouth]", "input.face_box=landmarks"], "expected none of input.face_box=landmarks$"),
    ],
)
def test_what_would_not_be_done_is_refused(write_config: WriteConfig, overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(write_config(), *overrides)


def test_the_configurations_that_come_with_the_project_can_be_done(write_config: WriteConfig) -> None:
    paths = sorted((Path(__file__).parents[3] / "configs" / "train").glob("*.yaml"))
    of_expression = [path for path in paths if task_of(path) is TASKS["expression"]]
    assert len(of_expression) > 20
    for path in of_expression:
        read(path)
    read(write_config(), "teacher.weights=[a.onnx]", "loss=distribution")
