"""Fit one network: the loop reads in the order in which things happen."""

from __future__ import annotations

import copy
import json
import math
import os
import pickle
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from train import models
from train.config import Optimizer, TrainConfig
from train.data import EMOTIONS, FaceSet
from train.rows import judged_rows, training_rows
from train.transforms import augment


def fit(config: TrainConfig) -> Path:
    """Train from the last checkpoint, if there is one, to the end; return the checkpoint's path.

    Raises RuntimeError where the loss is not finite (the checkpoint of the last good epoch stays).
    """
    run = config.runs / config.name
    run.mkdir(parents=True, exist_ok=True)
    train, counts = training_rows(config)
    print("training rows: {read} read, {unlabelled} without label, {twins} twins dropped, {used} used".format(**counts))
    validation = judged_rows(config.data, config.input, config.data.validation)
    device = device_of()
    torch.manual_seed(config.seed)
    model = models.build(config.model.name, len(train.classes), config.input.channels, config.model.args)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = copy.deepcopy(model).eval()
    optimizer = build_optimizer(model, config.optimizer)
    first = resume(run / "checkpoint.pt", config, model, average, optimizer)
    for epoch in range(first, config.epochs):
        started = time.monotonic()
        loss = train_epoch(config, epoch, train, model, average, optimizer, device)
        accuracy = _accuracy(average, validation, device)
        save(run / "checkpoint.pt", config, train.classes, model, average, optimizer, epoch + 1)
        line = {
            "epoch": epoch + 1,
            "size": config.size_at(epoch),
            "loss": round(loss, 4),
            "validation_accuracy": round(accuracy, 4),
            "seconds": round(time.monotonic() - started, 1),
        }
        with (run / "epochs.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)
    return run / "checkpoint.pt"


def train_epoch(
    config: TrainConfig,
    epoch: int,
    rows: FaceSet,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
) -> float:
    """Pass once over the rows in random order; return the mean loss."""
    model.train()
    batch, size, total = config.optimizer.batch, config.size_at(epoch), 0.0
    order = torch.randperm(len(rows)).numpy()
    steps = len(rows) // batch
    for step in track(range(steps), description=f"epoch {epoch + 1}", transient=True, disable=not os.isatty(1)):
        chosen = rows[order[step * batch : (step + 1) * batch]]
        images = augment(to_tensor(chosen.images), size, config.augment).to(device, memory_format=torch.channels_last)
        targets = _targets(chosen, config.loss).to(device)
        rate = config.optimizer.rate * one_cycle((epoch * steps + step) / (config.epochs * steps), config.optimizer.warm_up)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(model(images).logits.float(), targets)
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"epoch {epoch + 1}, step {step}: the loss is {loss.item()}; the last good checkpoint is kept")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        update_average(average, model, min(config.optimizer.average, (1 + epoch * steps + step) / (10 + epoch * steps + step)))
        total += loss.item()
    return total / steps


def predict(model: nn.Module, images: NDArray[np.uint8], device: torch.device, batch: int = 128) -> Tensor:
    """Return (N, classes) float32 logits of (N, H, W, C) pictures."""
    model.eval()
    found = []
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
        for start in range(0, len(images), batch):
            pictures = to_tensor(images[start : start + batch]).to(device, memory_format=torch.channels_last)
            found.append(model(pictures).logits.float().cpu())
    return torch.cat(found)


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Turn (N, H, W, C) uint8 into (N, C, H, W) float32 in 0-255."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()


def one_cycle(progress: float, warm_up: float) -> float:
    """Scale the rate: linear warm-up, then a cosine to zero; progress in 0-1."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def build_optimizer(model: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Build the update rule; biases and norms are not decayed."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    free = [p for p in model.parameters() if p.ndim <= 1]
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


def save(path: Path, config: TrainConfig, classes: Sequence[str], model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """Write everything a run needs to go on as one dict, under a temporary name first."""
    checkpoint = {
        "config": config.model_dump(mode="json"),
        "classes": list(classes),
        "epoch": epoch,
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
    }
    unfinished = path.with_suffix(".tmp")
    try:
        torch.save(checkpoint, unfinished)
    except (OSError, RuntimeError) as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(f"{path}: could not be written ({error}); the previous checkpoint is kept") from error
    unfinished.replace(path)


def resume(path: Path, config: TrainConfig, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint of the same architecture, if there is one; return the epochs done."""
    if not path.exists():
        return 0
    checkpoint = load_checkpoint(path)
    if checkpoint["config"]["model"] != config.model.model_dump(mode="json"):
        raise ValueError(f"{path}: holds the model {checkpoint['config']['model']}, the configuration asks for {config.model}")
    model.load_state_dict(checkpoint["model"])
    average.load_state_dict(checkpoint["average"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    torch.set_rng_state(checkpoint["rng"])
    return int(checkpoint["epoch"])


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code from it.

    Raises FileNotFoundError where there is none, ValueError where the file is something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected a checkpoint, found none; `python -m train fit` writes it")
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path}: not a readable checkpoint ({error})") from error
    return checkpoint


def restore(path: Path, checkpoint: dict[str, Any], config: TrainConfig) -> nn.Module:
    """Build the averaged network of a checkpoint, in evaluation mode. Raises ValueError where the weights do not fit."""
    network = models.build(config.model.name, len(classes_of(checkpoint)), config.input.channels, config.model.args)
    try:
        network.load_state_dict(checkpoint["average"])
    except RuntimeError as error:
        wrong = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"{path}: its weights do not fit the model {config.model}: {wrong}") from error
    return network.eval()


def classes_of(checkpoint: dict[str, Any]) -> tuple[str, ...]:
    """Return the labels in the order of the logits."""
    return tuple(checkpoint.get("classes", EMOTIONS))


def device_of() -> torch.device:
    """Take the first CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _accuracy(model: nn.Module, rows: FaceSet, device: torch.device) -> float:
    judged = rows[rows.labels >= 0]
    return float((predict(model, judged.images, device).argmax(1).numpy() == judged.labels).mean())


def _targets(rows: FaceSet, loss: str) -> Tensor:
    if loss == "hard":
        return torch.from_numpy(rows.labels)
    return torch.from_numpy(rows.distribution)
