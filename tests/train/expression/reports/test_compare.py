"""Runs beside the figures of the papers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from streamer.config import load_config
from tests.train.conftest import CONFIG
from train.__main__ import app
from train.expression.config import TrainConfig
from train.expression.fit import fit
from train.expression.reports import compare
from train.expression.reports.compare import Figure, Run

WriteConfig = Callable[..., Path]


def run_like(**traits: Any) -> Run:
    values = {"data": "fer", "labels": "ferplus_seed", "region": "face", "mode": "pad", "model": "residual"} | traits
    seen = {"region": values["region"], "mode": values["mode"]}
    made = {"model": values["model"], "rule": "adam", "init": values.get("init", False)}
    report = {"name": "one", "data": values["data"], "labels": values["labels"], "input": seen, "made": made}
    return Run(report)


@pytest.mark.parametrize(
    ("traits", "figure"),
    [
        ({}, Figure("A", "Table 6", 81.93)),
        ({"region": "mouth_eyes"}, Figure("A", "Table 6", 81.57)),
        ({"data": "rafdb", "mode": "centre", "region": "eyes"}, Figure("A", "Table 5", 40.16)),
        ({"data": "rafd_pose", "model": "attention"}, Figure("B", "Table 5", 93.1)),
        ({"data": "sfew", "model": "attention", "init": True}, Figure("B", "Table 5 with FER-2013", 48.3)),
        ({"labels": "fer2013", "model": "zca_net"}, Figure("D", "section 3.4", 57.02)),
        ({"data": "fer2013", "labels": "fer2013", "model": "alexnet"}, Figure("E", "section 6", 57.0)),
        ({"labels": "fer2013"}, None),
        ({"mode": "centre"}, None),
        ({"data": "expw", "mode": "pad", "labels": "label"}, Figure("A", "Table 6", 71.90)),
        ({"data": "expw", "mode": "centre"}, None),
        ({"data": "jaffe"}, None),
    ],
)
def test_a_run_finds_its_figure_in_the_papers(traits: dict[str, Any], figure: Figure | None) -> None:
    assert compare.reference(run_like(**traits)) == figure


def test_the_papers_are_complete_and_no_two_entries_fit_one_run() -> None:
    entries = yaml.safe_load(compare.PAPERS.read_text())
    assert {entry["paper"] for entry in entries} == set("ABCDE")
    kinds = [{key: str(value) for key, value in entry.items() if key != "accuracy"} for entry in entries]
    assert len({json.dumps(kind, sort_keys=True) for kind in kinds}) == len(entries)


def test_update_rules_are_listed_and_drawn_side_by_side(write_config: WriteConfig, tmp_path: Path) -> None:
    paths = []
    for rule, rate in (("sgd", 0.05), ("rmsprop", 0.001)):
        optimizer = {**CONFIG["optimizer"], "rule": rule, "rate": rate}
        paths.append(write_config(name=rule, optimizer=optimizer, phases=[{"epochs": 2, "size": 24}]))
        fit(load_config(TrainConfig, paths[-1]))
    result = CliRunner().invoke(app, ["compare", *map(str, paths), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out/compare.md").read_text()
    assert "| sgd | fer public | ferplus_seed, all rows | 48 |" in text
    assert "| rmsprop | fer public |" in text
    assert "81.93 (A, Table 6)" in text
    assert (tmp_path / "out/curves.png").read_bytes().startswith(b"\x89PNG")
    epochs = json.loads((tmp_path / "out/epochs.json").read_text())
    assert {name: [line["epoch"] for line in lines] for name, lines in epochs.items()} == {
        "sgd": [1, 2],
        "rmsprop": [1, 2],
    }
    best = max(line["validation_accuracy"] for line in epochs["sgd"])
    assert f"| {100 * best:.2f} |" in next(line for line in text.splitlines() if line.startswith("| sgd | fer ferplus"))


def test_a_figure_stands_beside_the_rows_of_its_own_label_rule_alone() -> None:
    scores = {"interval": [0.8, 0.9], "rows": 10, "accuracy": 0.85, "macro_f1": 0.8}
    names = ("ferplus_seed, all rows", "ferplus_seed, without contempt", "ferplus_majority, all rows")
    report = {**run_like().values, "scores": dict.fromkeys(names, scores)}
    differences = {cells[2]: cells[-1] for cells in compare.rows([Run(report)])}
    assert differences == dict(zip(names, ("+3.07", "+3.07", ""), strict=True))


@pytest.mark.parametrize("content", ["{}", "[1]", '{"name": "a"', '{"name": "a", "data": "fer", "scores": {}}'])
def test_a_file_that_is_no_report_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(
        ValueError, match=r"other\.json: (expected what `train evaluate --out`|not a readable JSON file)"
    ):
        compare.open_run(path, None)


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected report\.json or repeats\.json"):
        compare.open_run(tmp_path, None)
