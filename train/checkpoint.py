"""Checkpoints: one dict with all a run needs to go on, written under a temporary name and renamed."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engines.errors import UserError
from streamer.config import check_config
from train import processes
from train.config import RunConfig
from train.data import EMOTIONS

log = logging.getLogger(__name__)

CHOSEN_BY = ("macro_recall", "validation_score", "validation_accuracy")  # the first that an epoch's line has
CHOSEN_LATER = {"name", "serve"}  # keys that say nothing about the training
GOING_ON = {"precision", "early_stop"}  # keys that may change while a run goes on, beside phases to come


@dataclass
class State:
    """Hold what changes while a network is fitted.

    average: moving average of the weights, the network that is judged and exported. epochs: one line of figures for
    each epoch done. best: the average of the best epoch so far where the configuration keeps it.
    """

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    @property
    def history(self) -> list[float]:
        """Return how good each epoch done was, the higher the better: see `Training.judge`."""
        return [next(line[key] for key in CHOSEN_BY if key in line) for line in self.epochs]


def path_of(config: RunConfig) -> Path:
    """Return where the checkpoint of a run lies."""
    return config.runs / config.name / "checkpoint.pt"


def save(path: Path, config: RunConfig, classes: tuple[str, ...], state: State) -> None:
    """Write the checkpoint; every process takes part, process 0 writes.

    Raises OSError where the disk does not take it; the previous checkpoint is kept.
    """
    numbers = processes.gathered(_random_numbers())
    if processes.rank():
        return
    checkpoint = {
        "config": config.model_dump(mode="json"),
        "classes": list(classes),
        "epoch": len(state.epochs),
        "epochs": state.epochs,
        "model": state.model.state_dict(),
        "average": state.average.state_dict(),
        "best": state.best,
        "optimizer": state.optimizer.state_dict(),
        "rng": numbers,
    }
    unfinished = path.with_suffix(".tmp")
    try:
        with unfinished.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name with nothing in it
        unfinished.replace(path)
    except (OSError, RuntimeError) as error:
        unfinished.unlink(missing_ok=True)
        reason = str(error).splitlines()[0]
        raise OSError(f"{path}: could not be written ({reason}); the previous checkpoint is kept") from error


def report(path: Path, state: State) -> None:
    """Write one JSON line an epoch, from the checkpoint's own record: a stopped run leaves no half or double line."""
    if processes.rank():
        return
    lines = [json.dumps(line) for line in state.epochs]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(lines[-1], flush=True)


def resume(path: Path, config: RunConfig, classes: tuple[str, ...], state: State) -> None:
    """Load the checkpoint of the same run into a fresh state, if there is one.

    Raises UserError where the checkpoint is of another run: its configuration says something else.
    """
    if not path.exists():
        return
    checkpoint = load(path)
    require_run(path, checkpoint, config, goes_on=True)
    if (found := classes_of(checkpoint)) != classes:
        raise UserError(f"{path}: the run was begun with the classes {found}, the data have {classes}")
    _load_weights(state.model, checkpoint["model"], path)
    _load_weights(state.average, checkpoint["average"], path)
    state.optimizer.load_state_dict(checkpoint["optimizer"])
    state.epochs = checkpoint.get("epochs") or [{"validation_accuracy": 0.0}] * checkpoint["epoch"]
    state.best = checkpoint.get("best")
    _restore_random_numbers(checkpoint["rng"])
    log.info("goes on after epoch %d of %s", len(state.epochs), path)


def require_run(path: Path, checkpoint: dict[str, Any], config: RunConfig, *, goes_on: bool = False) -> None:
    """Raise UserError where a configuration says something else about the training than that of the run.

    Where things lie does not count. goes_on: what is still to come may change: later phases, precision, an early end.
    """
    run, done = check_config(type(config), checkpoint["config"], (), str(path)), checkpoint["epoch"]
    free = CHOSEN_LATER | (GOING_ON if goes_on else set())
    if goes_on and _sizes(run)[:done] == _sizes(config)[:done]:
        free |= {"phases"}
    then, now = ({key: value for key, value in one.told().items() if key not in free} for one in (run, config))
    if found := list(_differences(then, now)):
        was, says = (", ".join(f"{key}={values[side]}" for key, *values in found) for side in (0, 1))
        raise UserError(
            f"{path}: the run was begun with {was}, the configuration says {says}; expected the same, or another name "
            "or folder for another run"
        )


def _sizes(config: RunConfig) -> list[int]:
    return [config.size_at(epoch) for epoch in range(config.epochs)]


def _differences(then: dict[str, Any], now: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each key, dotted, of which two configurations say different things, with both values."""
    for key in {**then, **now}:
        old, new = then.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{above}{key}.")
        elif old != new:
            yield f"{above}{key}", old, new


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code from it.

    Raises FileNotFoundError where there is none, UserError where the file is something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a checkpoint, found none; `python -m train fit` writes it")
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({str(error).splitlines()[0]})") from error
    if not isinstance(checkpoint, dict) or not {"config", "average"} <= set(checkpoint):
        raise UserError(f"{path}: expected a checkpoint with config and average, found something else")
    return checkpoint


def restored(path: Path, checkpoint: dict[str, Any], network: nn.Module) -> nn.Module:
    """Give a network the weights that its run is judged by, the best epoch's, else the last average; end its training.

    Raises UserError where the weights do not fit.
    """
    _load_weights(network, checkpoint.get("best") or checkpoint["average"], path)
    return network.eval()


def of_run(config: RunConfig, network: nn.Module) -> tuple[nn.Module, int]:
    """Give a network the weights of a configuration's run; return it and the number of epochs done.

    Raises FileNotFoundError where nothing was trained yet, UserError where the run was begun with something else.
    """
    path = path_of(config)
    saved = load(path)
    require_run(path, saved, config)
    return restored(path, saved, network), saved["epoch"]


def classes_of(checkpoint: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels in the order of the logits."""
    return tuple(checkpoint.get("classes", EMOTIONS))


def _load_weights(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        problems = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise UserError(f"{path}: its weights do not fit the configured model: {problems}") from error


def _random_numbers() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def _restore_random_numbers(states: Any) -> None:
    if not isinstance(states, list) or len(states) != processes.count():
        log.warning("another number of processes than before: random numbers start anew")
        return
    mine = states[processes.rank()]
    torch.set_rng_state(mine["cpu"])
    if "cuda" in mine and torch.cuda.is_available():
        torch.cuda.set_rng_state(mine["cuda"])
