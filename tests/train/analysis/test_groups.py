"""What is answered about groups of people, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from train.__main__ import app
from train.analysis import groups
from train.data.sets.utkface import Person

LABELS = ("calm", "glad")


def test_shares_and_means_are_counted_for_each_group() -> None:
    people = (
        [Person(40, "male", "Black")] * 30 + [Person(40, "female", "Asian")] * 20 + [Person(5, "male", "Black")] * 25
    )
    glad = np.array([0.9] * 10 + [0.1] * 20 + [0.6] * 20 + [0.3] * 25, np.float32)
    found = groups.measure(np.stack([1 - glad, glad], axis=1), LABELS, people)
    assert found["adults"]["faces"] == 50
    assert found["adults, Black"]["labels"]["glad"]["share"] == pytest.approx(10 / 30)
    assert found["adults, female, Asian"]["labels"]["glad"]["mean"] == pytest.approx(0.6)
    assert found["3 to 9 years"]["labels"]["calm"]["share"] == 1.0
    assert found["3 to 9 years"]["faces"] == 25
    assert "adults, White" not in found  # nobody, so nothing is said
    low, high = found["adults, male, Black"]["labels"]["glad"]["mean_interval"]
    mean = (10 * 0.9 + 20 * 0.1) / 30
    assert low < mean < high
    assert high - low == pytest.approx(2 * 1.96 * glad[:30].std(ddof=1) / np.sqrt(30), rel=1e-3)


def test_children_are_in_no_group_of_adults() -> None:
    people = [Person(age, "female", "White") for age in range(0, 80)]
    members = groups.groups(people)
    assert members["adults"].sum() == 80 - groups.ADULT
    bands = np.stack([members[f"{low} to {high} years"] for low, high in groups.BANDS])
    assert (bands.sum(axis=0) == 1).all()


def test_the_furthest_apart_are_named() -> None:
    people = [Person(30, "male", "Indian")] * 20 + [Person(30, "female", "White")] * 20
    glad = np.array([0.2] * 20 + [0.7] * 20, np.float32)
    found = groups.measure(np.stack([1 - glad, glad], axis=1), LABELS, people)
    text = groups.to_markdown("net", found, LABELS)
    assert "| glad | male, Indian: 0.200 (0.200-0.200) | female, White: 0.700 (0.700-0.700) |" in text


def test_the_command_asks_a_network_about_a_folder_of_faces(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(24):
        picture = random.integers(0, 256, (64, 64, 3), np.uint8)
        (tmp_path / "faces").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f"faces/{20 + number}_{number % 2}_0_2017{number}.jpg"), picture)
    shipped = Path("engines/zoo/face.onnx").resolve()
    arguments = ["analyze", "groups", str(shipped), "--photos", str(tmp_path / "faces"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--set", f"data.cache={tmp_path / 'cache'}"])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out/groups.json").read_text())
    assert found["adults"]["faces"] == 24
    assert sum(one["share"] for one in found["adults"]["labels"].values()) == pytest.approx(1)
