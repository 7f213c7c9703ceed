"""Fit a landmark network: what the loop of all tasks learns from is drawn anew for every step."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from train import loop
from train.autocast import autocast
from train.checkpoint import State
from train.data.textures import textures
from train.landmarks.batches.draw import Batches, held_back
from train.landmarks.batches.read import read
from train.landmarks.config import LandmarksConfig
from train.landmarks.losses import losses
from train.landmarks.predict import predict, usable
from train.landmarks.scores import normalised_error, recall_at
from train.landmarks.start import start
from train.loop import Training

log = logging.getLogger(__name__)

Batch = tuple[Tensor, ...]

PASSING = 0.02  # of what is no usable face that may pass for one where it is judged how many faces do


def fit(config: LandmarksConfig, until: int | None = None) -> Path:
    """Train a network as `loop.fit` does."""
    return loop.fit(config, LandmarkTraining, until)


class LandmarkTraining(Training[Batch]):
    """Give the loop faces in boxes that are a little wrong, some of them hidden in part."""

    CLIP = 5.0
    classes = ("face",)

    def __init__(self, config: LandmarksConfig, device: torch.device) -> None:
        self.config, self.device, self.steps = config, device, config.steps
        self.sources = [read(source, source.train) for source in config.sources]
        for source, kinds in zip(config.sources, self.sources, strict=True):
            log.info("%s: %s", source.set, ", ".join(f"{len(faces)} {faces.kind.name.lower()}" for faces in kinds))
        [self.held] = read(config.sources[0], "validation")
        self.drawn = Batches(config, self.sources, textures())
        self.told_apart = held_back(config)
        cv2.setNumThreads(1)

    def start(self) -> State:
        """Build network, average and optimizer from the seed."""
        return start(self.config, self.sources[0][0], self.device)

    def batches(self, state: State) -> Iterator[Batch]:
        """Draw the batches of an epoch."""
        return loop.numbered(self.drawn, state, self.steps)

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of points, visibility and usable faces together, and each."""
        images, *wanted = (field.to(self.device) for field in batch)
        planes = images.permute(0, 3, 1, 2).float().to(memory_format=torch.channels_last)
        with autocast(self.device, self.config.precision):
            found = model(planes)
        parts = losses(found, self.config, *wanted)
        return parts["total"], parts

    def judge(self, network: nn.Module) -> dict[str, Any]:
        """Return the error on held-back people, and the share of usable faces that are told from all but few others.

        What schedules count on is higher where the error is lower.
        """
        error = float(normalised_error(predict(network, self.held, self.config), self.held.points).mean())
        logits = usable(network, self.told_apart.images)
        kept = recall_at(logits, self.told_apart.usable, PASSING)
        return {
            "validation_error": round(error, 5),
            "validation_usable": round(kept, 5),
            "validation_score": round(-error, 5),
        }
