"""The loop of every task, on a network of one weight."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from streamer.config import Section
from train import checkpoint, loop
from train.checkpoint import State
from train.config import Optimizer, RunConfig

STEPS = 4


class Toy(RunConfig):
    """Configure the run of a toy."""

    model: Section = Section()


def config_of(folder: Path, **changes: Any) -> Toy:
    values: dict[str, Any] = {
        "name": "toy",
        "optimizer": Optimizer(rule="sgd", rate=0.1, weight_decay=0, schedule="constant", average=0),
        "phases": [{"epochs": 3, "size": 8}],
        "runs": folder,
    }
    return Toy.model_validate(values | changes)


class Slope(loop.Training[Tensor]):
    """Learn the slope of y = 2 x, from numbers that are drawn; `judged` are the figures of its epochs."""

    classes = ("slope",)
    steps = STEPS
    judged: tuple[float, ...] = (0.1, 0.3, 0.2)

    def __init__(self, config: Toy, device: torch.device) -> None:
        self.config, self.device, self.epoch, self.closed = config, device, 0, False

    def start(self) -> State:
        torch.manual_seed(self.config.seed)
        return loop.begin(self.config, nn.Linear(1, 1, bias=False), self.device)

    def batches(self, state: State) -> Iterator[Tensor]:
        self.epoch = len(state.epochs)
        while True:  # the loop takes as many as it needs
            yield torch.rand(16, 1)

    def losses(self, model: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = (model(batch) - 2 * batch).square().mean()
        return error, {"error": error, "mean": batch.mean()}

    def judge(self, network: nn.Module) -> dict[str, Any]:
        return {"validation_accuracy": self.judged[self.epoch]}

    def close(self) -> None:
        self.closed = True


def slope_of(path: Path, kind: str = "model") -> float:
    return float(checkpoint.load(path)[kind]["weight"])


def making(kind: type[Slope], made: list[Slope]) -> Callable[[Toy, torch.device], Slope]:
    """Return what makes a training and remembers it."""

    def make(config: Toy, device: torch.device) -> Slope:
        made.append(kind(config, device))
        return made[-1]

    return make


def test_every_epoch_leaves_a_line_with_what_the_task_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = loop.fit(config_of(tmp_path), Slope)
    lines = [json.loads(line) for line in path.with_name("epochs.jsonl").read_text().splitlines()]
    assert [list(line) for line in lines] == [
        ["epoch", "size", "rate", "error", "mean", "validation_accuracy", "seconds"]
    ] * 3
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert lines[2]["error"] < lines[0]["error"]
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_run_in_parts_draws_the_same_numbers(tmp_path: Path) -> None:
    whole = loop.fit(config_of(tmp_path / "whole"), Slope)
    for until in (1, 2, None):
        parts = loop.fit(config_of(tmp_path / "parts"), Slope, until)
    assert slope_of(whole) == slope_of(parts)


@pytest.mark.parametrize(("keep", "epoch"), [("last", 3), ("best", 2)])
def test_any_task_keeps_the_best_epoch_where_that_is_asked_for(tmp_path: Path, keep: str, epoch: int) -> None:
    config = config_of(tmp_path / keep, keep=keep)
    loop.fit(config, Slope)
    network, epochs = checkpoint.of_run(config, nn.Linear(1, 1, bias=False))
    until = loop.fit(config_of(tmp_path / "until"), Slope, epoch)
    assert epochs == 3
    assert float(network.state_dict()["weight"]) == slope_of(until, "average")


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(tmp_path)
    there: list[bool] = []
    monkeypatch.setattr("train.checkpoint.os.fsync", lambda file: there.append(checkpoint.path_of(config).exists()))
    loop.fit(config, Slope)
    assert there == [False, True, True]  # from the second epoch on the one before is there


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ({"validation_accuracy": 0.5}, 0.5),
        ({"validation_error": 0.1, "validation_score": -0.1}, -0.1),
        ({"validation_accuracy": 0.9, "macro_recall": 0.4}, 0.4),
    ],
)
def test_schedules_count_on_what_a_task_is_chosen_by(line: dict[str, float], counts: float) -> None:
    state = State(nn.Linear(1, 1), nn.Linear(1, 1), torch.optim.SGD([torch.zeros(1)]), epochs=[line])
    assert state.history == [counts]


def test_a_run_without_a_new_best_ends_early(tmp_path: Path) -> None:
    class Falling(Slope):
        judged = (0.3, 0.2, 0.1)

    path = loop.fit(config_of(tmp_path, early_stop=1), Falling)
    assert checkpoint.load(path)["epoch"] == 2


def test_gradients_are_clipped_where_the_task_says_so(tmp_path: Path) -> None:
    class Careful(Slope):
        CLIP = 1e-3

    torch.manual_seed(1)
    before = float(nn.Linear(1, 1, bias=False).state_dict()["weight"])
    free, held = (slope_of(loop.fit(config_of(tmp_path / kind.__name__), kind, 1)) for kind in (Slope, Careful))
    assert abs(held - before) == pytest.approx(STEPS * 0.1 * 1e-3, rel=1e-3)
    assert abs(free - before) > 0.1


@pytest.mark.parametrize("where", ["loss", "weights"])
def test_what_is_not_finite_ends_the_run_and_what_is_held_is_closed(tmp_path: Path, where: str) -> None:
    class Broken(Slope):
        def losses(self, model: nn.Module, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            loss, parts = super().losses(model, batch)
            if self.epoch and where == "loss":
                return loss * torch.nan, parts | {"error": loss * torch.nan}
            if self.epoch:
                with torch.no_grad():
                    next(model.parameters()).fill_(torch.inf)
            return loss, parts

    made: list[Slope] = []
    with pytest.raises(RuntimeError, match=r"epoch 2.*; the last good checkpoint is kept"):
        loop.fit(config_of(tmp_path), making(Broken, made))
    assert made[0].closed
    assert checkpoint.load(tmp_path / "toy/checkpoint.pt")["epoch"] == 1
