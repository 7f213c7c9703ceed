"""The loop that fits every network: epochs, rates, averages, validation, checkpoints, as they follow each other.

What is particular to a task it gives as a `Training`: the state at the start, the batches of an epoch, the losses of a
batch, and validation figures.
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import cv2
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from train import checkpoint, processes
from train.checkpoint import State
from train.config import Optimizer, RunConfig
from train.models.weights import rest_frozen
from train.schedule import is_best, is_over, rate

Batch = TypeVar("Batch")
Config = TypeVar("Config", bound=RunConfig)


class Training(ABC, Generic[Batch]):
    """Give the loop what a task learns from. One belongs to one run.

    CLIP: largest norm of the gradient, None for any. classes: labels in the order of the outputs. steps: of an epoch.
    """

    CLIP: ClassVar[float | None] = None
    classes: tuple[str, ...]
    steps: int

    @abstractmethod
    def start(self) -> State:
        """Build network, average and optimizer from the seed, the same in every process; see `begin`."""

    @abstractmethod
    def batches(self, state: State) -> Iterator[Batch]:
        """Yield this process's shares of the batches of the next epoch, each when it is asked for."""

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to minimise, and the parts of it to report, by name."""

    @abstractmethod
    def judge(self, network: nn.Module) -> dict[str, Any]:
        """Return validation figures, of which the first of `checkpoint.CHOSEN_BY` is the better the higher it is."""

    def close(self) -> None:
        """Release what is held; most hold nothing."""


def fit(config: Config, prepare: Callable[[Config, torch.device], Training[Any]], until: int | None = None) -> Path:
    """Train from the last checkpoint, if there is one, to the end or through epoch `until`; return the checkpoint.

    Raises UserError where the checkpoint is of another run, RuntimeError where loss or weights are not finite, and
    OSError where the disk is full: the last good checkpoint stays.
    """
    with processes.joined() as device:
        processes.share(config.optimizer.batch)  # before any work
        torch.backends.cudnn.deterministic = True
        with closing(prepare(config, device)) as training:
            state = training.start()
            path = checkpoint.path_of(config)
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.resume(path, config, training.classes, state)
            model = processes.parallel(state.model)
            while len(state.epochs) < min(until or config.epochs, config.epochs):
                if is_over(state.history, config.early_stop):
                    break
                started = time.monotonic()
                losses = train_epoch(config, state, model, training)
                figures = processes.shared(training.judge(state.average))
                note(config, state, losses | figures, time.monotonic() - started)
                checkpoint.save(path, config, training.classes, state)
                checkpoint.report(path.with_name("epochs.jsonl"), state)
            return path


def begin(config: RunConfig, model: nn.Module, device: torch.device) -> State:
    """Bring a network to its device, with its average and optimizer; from here on each process draws for itself."""
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(config.seed + processes.rank())
    return State(model, copy.deepcopy(model).eval(), build_optimizer(model, config.optimizer))


def train_epoch(config: RunConfig, state: State, model: nn.Module, training: Training[Batch]) -> dict[str, float]:
    """Learn from the batches of an epoch; return the mean of each reported part of the loss.

    model: that of the state, as the processes share it. Raises RuntimeError where loss or weights are not finite.
    """
    model.train()
    rest_frozen(model)
    epoch, steps, sums = len(state.epochs), training.steps, dict[str, float]()
    quiet = processes.rank() > 0 or not Console().is_terminal
    batches = islice(training.batches(state), steps)
    title = f"epoch {epoch + 1} of {config.epochs}"
    for step, batch in enumerate(track(batches, title, total=steps, transient=True, disable=quiet)):
        done = epoch * steps + step
        for group in state.optimizer.param_groups:
            group["lr"] = rate(config.optimizer, done / (config.epochs * steps), state.history)
        loss, parts = training.losses(model, batch)
        values = {name: processes.mean(part) for name, part in parts.items()}
        if not all(math.isfinite(value) for value in values.values()):
            raise RuntimeError(
                f"epoch {epoch + 1}, step {step}: the loss is {values}; the last good checkpoint is kept"
            )
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if training.CLIP is not None:
            nn.utils.clip_grad_norm_(state.model.parameters(), training.CLIP)
        state.optimizer.step()
        update_average(state.average, state.model, min(config.optimizer.average, (1 + done) / (10 + done)))
        sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
    if not all(weight.isfinite().all() for weight in state.average.state_dict().values()):
        raise RuntimeError(f"epoch {epoch + 1}: weights are not finite any more; the last good checkpoint is kept")
    return {name: round(value / steps, 5) for name, value in sums.items()}


def note(config: RunConfig, state: State, figures: dict[str, Any], seconds: float) -> None:
    """Add the figures of an epoch to the state; keep its average where it is the best so far and `keep` asks for it."""
    line = {
        "epoch": len(state.epochs) + 1,
        "size": config.size_at(len(state.epochs)),
        "rate": state.optimizer.param_groups[0]["lr"],
        **figures,
        "seconds": round(seconds, 1),
    }
    state.epochs.append(line)
    if config.keep == "best" and is_best(state.history):
        state.best = {name: value.clone() for name, value in state.average.state_dict().items()}


def numbered(batches: Dataset[Batch], state: State, steps: int, workers: int = 0) -> Iterator[Batch]:
    """Load the batches of the next epoch, each drawn from its number alone, whoever draws it.

    workers: processes that draw them; 0 draws them here.
    """
    first = len(state.epochs) * steps
    own = torch.Generator()  # the loader draws a seed, which must not cost the run one of its random numbers
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=range(first, first + steps),
            generator=own,
            num_workers=workers,
            worker_init_fn=lambda _: cv2.setNumThreads(1),
        )
    )


def build_optimizer(model: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Build the optimizer of what is trained; biases and norms are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed, free = ([p for p in trained if (p.ndim > 1) == wanted] for wanted in (True, False))
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    rules: dict[str, Any] = {
        "sgd": lambda: torch.optim.SGD(groups, lr=settings.rate),
        "momentum": lambda: torch.optim.SGD(groups, lr=settings.rate, momentum=0.9, nesterov=True),
        "adam": lambda: torch.optim.AdamW(groups, lr=settings.rate),
        "rmsprop": lambda: torch.optim.RMSprop(groups, lr=settings.rate),
    }
    optimizer: torch.optim.Optimizer = rules[settings.rule]()
    return optimizer


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the exponential moving average of weights and buffers towards the model."""
    for kept, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)
