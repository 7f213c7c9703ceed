"""Fit one network: the loop reads in the order in which things happen."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import os
import time
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
from train.data import FaceSet, load
from train.transforms import augment


def fit(config: TrainConfig) -> Path:
    """Train from the last checkpoint, if there is one, to the end; return the checkpoint's path.

    Raises RuntimeError where the loss is not finite (the checkpoint of the last good epoch stays).
    """
    run = config.runs / config.name
    run.mkdir(parents=True, exist_ok=True)
    train, validation = training_rows(config), load(config.data.set, config.data.path, config.data.validation, config.data.labels)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
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
        save(run / "checkpoint.pt", config, model, average, optimizer, epoch + 1)
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


def training_rows(config: TrainConfig) -> FaceSet:
    """Load the rows to train on: those with a label distribution and without a twin among the rows judged on."""
    rows = load(config.data.set, config.data.path, config.data.train, config.data.labels)
    judged = {
        digest
        for split in (config.data.validation, config.data.test)
        for digest in _digests(load(config.data.set, config.data.path, split, config.data.labels).images)
    }
    twin = np.array([digest in judged for digest in _digests(rows.images)])
    usable = rows.distribution.sum(axis=1) > 0 if config.loss == "distribution" else rows.labels >= 0
    print(f"training rows: {len(rows)} read, {int((~usable).sum())} without label, {int((twin & usable).sum())} twins dropped")
    return rows[usable & ~twin]


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


def save(path: Path, config: TrainConfig, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
    """Write everything a run needs to go on as one dict, under a temporary name first."""
    checkpoint = {
        "config": config.model_dump(mode="json"),
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
    """Read a checkpoint without running any code from it. Raises ValueError where it is none."""
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"{path}: not a readable checkpoint ({error})") from error
    return checkpoint


def _accuracy(model: nn.Module, rows: FaceSet, device: torch.device) -> float:
    judged = rows[rows.labels >= 0]
    return float((predict(model, judged.images, device).argmax(1).numpy() == judged.labels).mean())


def _targets(rows: FaceSet, loss: str) -> Tensor:
    if loss == "hard":
        return torch.from_numpy(rows.labels)
    return torch.from_numpy(rows.distribution)


def _digests(images: NDArray[np.uint8]) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
