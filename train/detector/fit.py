"""Fit a detector: scenes are drawn anew for every step; the loop reads in the order in which things happen."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from streamer.faces.detect import keep_best
from streamer.types import Detections
from train import checkpoint, processes
from train.checkpoint import State
from train.descent import descend
from train.detector.config import DetectorConfig
from train.detector.loss import Truth, losses
from train.detector.pictures import Picture
from train.detector.place import Scene
from train.detector.scenes import Painter
from train.detector.scores import average_precision, match
from train.detector.sources import prepared
from train.fit import autocast, build_optimizer
from train.models.detector import FaceDetector

log = logging.getLogger(__name__)

LOWEST = 0.05  # score down to which answers are judged
HELD_SCENES = 48  # of 256 pixels, judged after every epoch


class Batches(Dataset[tuple[Tensor, Truth]]):
    """Hold the batches of a whole run; each is drawn from its own number, whoever asks and in which order."""

    def __init__(self, config: DetectorConfig, painter: Painter) -> None:
        self.config, self.painter, self.rank = config, painter, processes.rank()

    def __len__(self) -> int:
        return self.config.epochs * self.config.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Truth]:
        """Return (N, 1, S, S) float32 pictures in 0-255 and their faces."""
        random = np.random.default_rng((self.config.seed, step, self.rank))
        size = self.config.size_at(step // self.config.steps)
        return collate([self.painter.paint(random, size) for _ in range(self.config.optimizer.batch)])


def collate(scenes: Sequence[Scene]) -> tuple[Tensor, Truth]:
    """Put scenes of one size into tensors, with room for the faces of the fullest."""
    most = max(1, *(len(scene.boxes) for scene in scenes))
    boxes, points = np.zeros((len(scenes), most, 4), np.float32), np.zeros((len(scenes), most, 5, 2), np.float32)
    kind = np.zeros((len(scenes), most), np.int64)
    for row, scene in enumerate(scenes):
        count = len(scene.boxes)
        if count:
            boxes[row, :count], points[row, :count], kind[row, :count] = scene.boxes, scene.points, scene.kind
    images = torch.from_numpy(np.stack([scene.image for scene in scenes]))[:, None].float()
    return images, Truth(*(torch.from_numpy(part) for part in (boxes, points, kind)))


def fit(config: DetectorConfig, until: int | None = None) -> Path:
    """Train from the last checkpoint, if there is one, to the end or through epoch `until`; return the checkpoint.

    Raises RuntimeError where the loss is not finite and OSError where the disk is full: the last good checkpoint stays.
    """
    with processes.joined() as device:
        pictures = prepared(config.data)
        held = held_scenes(pictures, config)
        state = start(config, device)
        path = config.runs / config.name / "checkpoint.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.resume(path, config, state)
        model = processes.parallel(state.model)
        painter = Painter([picture for picture in pictures if not picture.held], config.scenes)
        batches = _load(config, painter, first=len(state.epochs) * config.steps)
        while len(state.epochs) < min(until or config.epochs, config.epochs):
            started = time.monotonic()
            parts = train_epoch(config, state, model, batches, device)
            precision = processes.shared(judge(state.average, held, device))
            _note(config, state, parts, precision, time.monotonic() - started)
            checkpoint.save(path, config, ("face",), state)
            checkpoint.report(path.with_name("epochs.jsonl"), state)
        return path


def start(config: DetectorConfig, device: torch.device) -> State:
    """Build network, average and update rule as the seed says."""
    torch.manual_seed(config.seed)
    model = build(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return State(model, copy.deepcopy(model).eval(), build_optimizer(model, config.optimizer))


def build(config: DetectorConfig) -> FaceDetector:
    """Build the network of a configuration with weights as drawn."""
    sizes = config.model
    return FaceDetector(1, sizes.stem, sizes.widths, sizes.blocks, sizes.pyramid)


def _load(config: DetectorConfig, painter: Painter, first: int) -> Iterator[tuple[Tensor, Truth]]:
    batches = Batches(config, painter)
    steps = range(first, len(batches))
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=steps,
            num_workers=config.workers,
            worker_init_fn=lambda _: cv2.setNumThreads(1),
        )
    )


def train_epoch(
    config: DetectorConfig,
    state: State,
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Truth]],
    device: torch.device,
) -> dict[str, float]:
    """Learn from the next batches; return the mean of each part of the loss.

    Raises RuntimeError where the loss is not finite.
    """
    model.train()

    def answered(batch: tuple[Tensor, Truth]) -> dict[str, Tensor]:
        images, truth = batch
        with autocast(device, config.precision):
            maps = model(images.to(device, memory_format=torch.channels_last))
        return losses(maps, Truth(*(part.to(device) for part in truth)), config.losses)

    return descend(config, config.steps, state, batches, answered, clip=10.0)


def held_scenes(
    pictures: Sequence[Picture], config: DetectorConfig, count: int = HELD_SCENES, size: int = 256
) -> list[Scene]:
    """Paint the scenes of held-back people on which thresholds are chosen; always the same ones."""
    painter = Painter([picture for picture in pictures if picture.held or not len(picture.boxes)], config.scenes)
    random = np.random.default_rng(0)
    return [painter.paint(random, size) for _ in range(count)]


def judge(network: nn.Module, scenes: Sequence[Scene], device: torch.device) -> float:
    """Return the average precision at IoU 0.5 on scenes of one size."""
    found = predict(network, np.stack([scene.image for scene in scenes]), device)
    rows = []
    for faces, scene in zip(found, scenes, strict=True):
        boxes, kind = np.array(scene.boxes, np.float32).reshape(-1, 4), np.array(scene.kind)
        rows.append(match(faces, boxes[kind == 1], boxes[kind == -1]))
    return average_precision(rows)


def predict(
    network: nn.Module, images: NDArray[np.uint8], device: torch.device, threshold: float = LOWEST, batch: int = 8
) -> list[Detections]:
    """Return the faces of (N, H, W) grey pictures, sides a multiple of 32."""
    found = []
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            pictures = torch.from_numpy(images[first : first + batch])[:, None].float()
            maps = network(pictures.to(device, memory_format=torch.channels_last))
            parts = [part.float().cpu().numpy() for part in (maps.boxes, maps.logits.sigmoid(), maps.points)]
            found += [keep_best(Detections(*rows), threshold) for rows in zip(*parts, strict=True)]
    return found


def _note(config: DetectorConfig, state: State, parts: dict[str, float], precision: float, seconds: float) -> None:
    state.epochs.append(
        {
            "epoch": len(state.epochs) + 1,
            "size": config.size_at(len(state.epochs)),
            "rate": state.optimizer.param_groups[0]["lr"],
            **parts,
            "validation_accuracy": round(precision, 5),
            "seconds": round(seconds, 1),
        }
    )
