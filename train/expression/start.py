"""Build an expression network: at the start of a run, and as its checkpoint left it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.errors import UserError
from train import loop, models
from train.checkpoint import State, classes_of, restored
from train.data import FaceSet
from train.expression.config import TrainConfig

log = logging.getLogger(__name__)

SETTLING = 512  # pictures that show an artefact's batch norms what flows through them


def start(config: TrainConfig, rows: FaceSet, device: torch.device) -> State:
    """Build network, average and optimizer from the seed, the same in every process."""
    if config.freeze and not config.init:
        raise UserError(f"freeze {list(config.freeze)}: expected weights to start from (init), found none")
    torch.manual_seed(config.seed)
    model = build(config, len(rows.classes))
    if config.init:
        redrawn = models.load_weights(model, config.init, config.freeze)
        log.info("starts from %s%s", config.init, f", but for {', '.join(redrawn)}" if redrawn else "")
        if config.init.suffix == ".onnx":
            models.settle(model, rows.images[:SETTLING])
    models.fit_inputs(model, rows.images)
    return loop.begin(config, model, device)


def build(config: TrainConfig, classes: int) -> nn.Module:
    """Build the network of a configuration with weights as drawn."""
    return models.build(config.model.name, classes, config.input.channels, config.model.args)


def restore(path: Path, checkpoint: dict[str, Any], config: TrainConfig) -> nn.Module:
    """Build the network that a checkpoint is judged by; see `checkpoint.restored`."""
    return restored(path, checkpoint, build(config, len(classes_of(checkpoint))))
