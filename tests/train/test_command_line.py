"""The command line refuses what it would ignore, and takes data in the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.config import load_config
from train.__main__ import app
from train.expression.config import TrainConfig
from train.expression.fit import fit

WriteConfig = Callable[..., Path]
CONFIGS = Path(__file__).parents[2] / "configs" / "train"


@pytest.mark.parametrize("name", ["detector.yaml", "landmarks.yaml"])
@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("fit", ["--data", "somewhere"]),
        ("export", ["--int8", "--test"]),
        ("export", ["--format", "pt2"]),
        ("export", ["--target", "tensorrt", "--data", "somewhere"]),
        ("export", ["another.yaml"]),
        ("evaluate", ["--split", "private"]),
        ("evaluate", ["--set-name", "ferplus", "--data", "somewhere"]),
    ],
)
def test_what_means_nothing_to_the_detector_or_the_landmarks_is_refused(
    name: str, command: str, given: list[str]
) -> None:
    with pytest.raises(
        ValueError, match=f"{name}: configures no expression network; .*: expected it without "
    ) as raised:
        CliRunner().invoke(app, [command, str(CONFIGS / name), *given], catch_exceptions=False)
    named = str(raised.value).split("without ")[1].split(", ")
    assert set(named) == {one for one in given if one.startswith("--") or one.endswith(".yaml")}


@pytest.mark.parametrize("command", ["fit", "evaluate", "export"])
def test_a_task_that_there_is_not_is_named_with_those_that_there_are(tmp_path: Path, command: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("task: gaze\nname: odd\n")
    expected = r"odd.yaml: unknown task 'gaze': expected one of expression, detection, landmarks"
    with pytest.raises(ValueError, match=expected):
        CliRunner().invoke(app, [command, str(path)], catch_exceptions=False)


def test_an_int8_form_is_of_one_model_and_lies_beside_it() -> None:
    given = ["export", "one.onnx", "two.onnx", "--int8", "--out", "three.onnx"]
    with pytest.raises(ValueError, match=r"one.onnx: its int8 form .*: expected it without --out, two\.onnx"):
        CliRunner().invoke(app, given, catch_exceptions=False)


@pytest.mark.parametrize("command", [["fit"], ["repeat", "--seeds", "1,2"]])
def test_training_takes_the_folder_of_its_data(write_config: WriteConfig, tmp_path: Path, command: list[str]) -> None:
    wanted = tmp_path / "there is no such set"
    with pytest.raises(OSError, match="there is no such set"):
        CliRunner().invoke(app, [*command, str(write_config()), "--data", str(wanted)], catch_exceptions=False)


def test_a_run_of_no_epochs_is_refused(write_config: WriteConfig, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["fit", str(write_config()), "--until", "0"])
    assert result.exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_an_export_is_called_as_its_run_is(write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that serves for many regions must not write all their networks to one file."""
    path = write_config()
    fit(load_config(TrainConfig, path, ["name=toy/seed-1"]), until=1)
    written: list[str] = []
    monkeypatch.setattr(
        "train.expression.export.export", lambda sources, out, *rest, **named: written.append(out.name) or out
    )
    for suffix in ([], ["--format", "pt2"]):
        result = CliRunner().invoke(app, ["export", str(path), "--set", "name=toy/seed-1", *suffix])
        assert result.exit_code == 0, result.output
    assert written == ["toy-seed-1.onnx", "toy-seed-1.pt2"]
