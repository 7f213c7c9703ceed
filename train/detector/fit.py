"""Fit a detector: what the loop of all tasks learns from is painted anew for every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from train import loop, processes
from train.autocast import autocast
from train.checkpoint import State
from train.detector.batches.collate import Batches
from train.detector.batches.mine import mine
from train.detector.batches.pictures import Picture
from train.detector.batches.place import Scene
from train.detector.batches.scenes import Painter
from train.detector.batches.sources import prepared
from train.detector.config import DetectorConfig
from train.detector.losses import Truth, losses
from train.detector.predict import predict
from train.detector.scores import average_precision, match
from train.detector.start import start
from train.loop import Training

HELD_SCENES = 48  # of 256 pixels, judged after every epoch

Batch = tuple[Tensor, Truth]


def fit(config: DetectorConfig, until: int | None = None) -> Path:
    """Train a network as `loop.fit` does."""
    return loop.fit(config, DetectorTraining, until)


class DetectorTraining(Training[Batch]):
    """Give the loop painted scenes."""

    CLIP = 10.0
    classes = ("face",)

    def __init__(self, config: DetectorConfig, device: torch.device) -> None:
        self.config, self.device, self.steps = config, device, config.steps
        pictures = prepared(config.data)
        self.held = held_scenes(pictures, config)
        self.shown = [picture for picture in pictures if not picture.held]
        self.painter = Painter(self.shown, config.scenes)

    def start(self) -> State:
        """Build network, average and optimizer from the seed."""
        return start(self.config, self.device)

    def batches(self, state: State) -> Iterator[Batch]:
        """Paint the scenes of an epoch; where it is asked for, the network first looks for its own false alarms."""
        if self.config.mine:
            random = np.random.default_rng((self.config.seed, len(state.epochs), processes.rank()))
            self.painter.alarms = mine(state.average, self.shown, random)
        return loop.numbered(Batches(self.config, self.painter), state, self.steps, self.config.workers)

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of scores, boxes and points together, and each."""
        images, truth = batch
        with autocast(self.device, self.config.precision):
            maps = model(images.to(self.device, memory_format=torch.channels_last))
        parts = losses(maps, Truth(*(part.to(self.device) for part in truth)), self.config.losses)
        return parts["total"], parts

    def judge(self, network: nn.Module) -> dict[str, Any]:
        """Return the average precision on scenes of held-back people."""
        return {"validation_score": round(judge(network, self.held), 5)}


def held_scenes(
    pictures: Sequence[Picture], config: DetectorConfig, count: int = HELD_SCENES, size: int = 256
) -> list[Scene]:
    """Paint the scenes of held-back people on which thresholds are chosen; always the same ones."""
    kept = [picture for picture in pictures if picture.held or picture.source in ("textures", "backgrounds")]
    painter = Painter(kept, config.scenes)
    random = np.random.default_rng(0)
    return [painter.paint(random, size) for _ in range(count)]


def judge(network: nn.Module, scenes: Sequence[Scene]) -> float:
    """Return the average precision at IoU 0.5 on scenes of one size."""
    found = predict(network, np.stack([scene.image for scene in scenes]))
    rows = []
    for faces, scene in zip(found, scenes, strict=True):
        boxes, kind = np.array(scene.boxes, np.float32).reshape(-1, 4), np.array(scene.kind)
        rows.append(match(faces, boxes[kind == 1], boxes[kind == -1]))
    return average_precision(rows)
