"""Answers that change with the picture alone: against networks of which it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from engines import Outputs
from train.__main__ import app
from train.analysis import consistency
from train.data import BASIC, EMOTIONS, FaceSet, labelled
from train.expression.classifier import Classifier
from train.expression.config import Data, Input


def bright_on(side: str, n: int = 6) -> FaceSet:
    pictures = np.full((n, 40, 40, 1), 20, np.uint8)
    half = slice(0, 20) if side == "left" else slice(20, 40)
    pictures[:, 8:32, half] = 150
    return labelled(BASIC, [str(i) for i in range(n)], pictures, [1] * n)


def sides(pictures: NDArray[np.uint8]) -> Outputs:
    """Answer happiness where the left half is the brighter one, else sadness; never contempt but in the mind."""
    left, right = (pictures[:, :, part].mean(axis=(1, 2, 3)) for part in (slice(0, 20), slice(20, 40)))
    table = np.full((len(pictures), 8), 0.01, np.float32)
    table[:, 7] = 0.6
    table[np.arange(len(pictures)), np.where(left > right, 1, 3)] = 0.33
    return {"probabilities": table / table.sum(axis=1, keepdims=True)}


def network() -> Classifier:
    return Classifier("sides", EMOTIONS, sides, Data(), Input(size=40))


def test_what_a_network_rests_on_is_what_changes_its_answers() -> None:
    found = {one["change"]: one for one in consistency.measure(network(), bright_on("left"))}
    assert set(found) == {"none", *consistency.CHANGES}
    assert found["none"]["changed"] == 0
    assert found["none"]["accuracy"] == 1.0  # contempt, which the set lacks, is not asked for
    assert found["mirrored"]["changed"] == 1.0
    assert found["mirrored"]["accuracy"] == 0.0
    assert found["mirrored"]["difference"] > 0.8
    for name in set(found) - {"mirrored"}:
        assert found[name]["changed"] == 0, name
    low, high = found["mirrored"]["low"], found["mirrored"]["high"]
    assert low < 1 <= high


@pytest.mark.parametrize("name", consistency.CHANGES)
def test_every_change_keeps_the_form_and_its_directions_differ(name: str) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    changed = [change(pictures) for change in consistency.CHANGES[name]]
    for one in changed:
        assert one.shape == pictures.shape
        assert one.dtype == np.uint8
        assert not np.array_equal(one, pictures)
    assert len({one.tobytes() for one in changed}) == len(changed)


def test_the_table_is_written_for_a_checkpoint_or_a_shipped_network(tmp_path: Path, toy_set: Path) -> None:
    shipped = Path("engines/zoo/face.onnx").resolve()
    arguments = ["analyze", "consistency", str(shipped), "--out", str(tmp_path / "out"), "--data", str(toy_set)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "| mirrored |" in (tmp_path / "out/consistency.md").read_text()
