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
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from train import checkpoint, processes
from train.checkpoint import State
from train.descent import descend
from train.detector.batches.pictures import Picture
from train.detector.batches.place import Scene
from train.detector.batches.scenes import Painter
from train.detector.batches.sources import prepared
from train.detector.config import DetectorConfig
from train.detector.losses import Truth, losses
from train.detector.mine import mine
from train.detector.predict import predict
from train.detector.scores import average_precision, match
from train.detector.start import build, go_on_from
from train.detector.teacher import MIRRORED
from train.expression.fit import autocast, build_optimizer

log = logging.getLogger(__name__)

HELD_SCENES = 48  # of 256 pixels, judged after every epoch


class Batches(Dataset[tuple[Tensor, Truth]]):
    """Hold this process's shares of the batches of a run; each is drawn from its own number, whoever asks and when.

    Painting costs half as much as learning, so a few batches are kept and shown again, mirrored (data echoing, Choi et
    al. 2019).
    """

    KEPT = 8

    def __init__(self, config: DetectorConfig, painter: Painter) -> None:
        self.config, self.painter, self.rank = config, painter, processes.rank()
        self.count = processes.share(config.optimizer.batch)
        self._kept: dict[int, tuple[Tensor, Truth]] = {}

    def __len__(self) -> int:
        return self.config.epochs * self.config.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Truth]:
        """Return (N, 1, S, S) float32 pictures in 0-255 and their faces."""
        turn, place = divmod(step, self.KEPT)
        block, show = divmod(turn, self.config.echo)
        first = block * self.config.echo * self.KEPT + place
        if first not in self._kept:
            self._kept = {number: kept for number, kept in self._kept.items() if first - number < self.KEPT}
            random = np.random.default_rng((self.config.seed, first, self.rank))
            size = self.config.size_at(first // self.config.steps)
            self._kept[first] = collate([self.painter.paint(random, size) for _ in range(self.count)])
        return mirror(*self._kept[first]) if show % 2 else self._kept[first]


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


def mirror(images: Tensor, truth: Truth) -> tuple[Tensor, Truth]:
    """Exchange left and right; a person's right eye stays the right one."""
    width = images.shape[3]
    boxes = torch.stack([width - truth.boxes[..., 2], truth.boxes[..., 1], width - truth.boxes[..., 0],
                         truth.boxes[..., 3]], dim=2)  # fmt: skip
    points = (truth.points * truth.points.new_tensor([-1, 1]) + truth.points.new_tensor([width, 0]))[:, :, MIRRORED]
    return images.flip(3), Truth(boxes, points, truth.kind)


def fit(config: DetectorConfig, until: int | None = None) -> Path:
    """Train from the last checkpoint, if there is one, to the end or through epoch `until`; return the checkpoint.

    Raises UserError where the checkpoint is of another run, RuntimeError where the loss is not finite and OSError
    where the disk is full: the last good checkpoint stays.
    """
    with processes.joined() as device:
        processes.share(config.optimizer.batch)  # before any work
        pictures = prepared(config.data)
        held = held_scenes(pictures, config)
        state = start(config, device)
        path = config.runs / config.name / "checkpoint.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.resume(path, config, ("face",), state)
        model = processes.parallel(state.model)
        shown = [picture for picture in pictures if not picture.held]
        painter = Painter(shown, config.scenes)
        while len(state.epochs) < min(until or config.epochs, config.epochs):
            started = time.monotonic()
            epoch = len(state.epochs)
            if config.mine:
                random = np.random.default_rng((config.seed, epoch, processes.rank()))
                painter.alarms = mine(state.average, shown, random)
            parts = train_epoch(config, state, model, _load(config, painter, epoch), device)
            precision = processes.shared(judge(state.average, held))
            _note(config, state, parts, precision, time.monotonic() - started)
            checkpoint.save(path, config, ("face",), state)
            checkpoint.report(path.with_name("epochs.jsonl"), state)
        return path


def start(config: DetectorConfig, device: torch.device) -> State:
    """Build network, average and update rule as the seed says."""
    torch.manual_seed(config.seed)
    network = build(config)
    if config.init is not None:
        go_on_from(network, config.init)
    model = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return State(model, copy.deepcopy(model).eval(), build_optimizer(model, config.optimizer))


def _load(config: DetectorConfig, painter: Painter, epoch: int) -> Iterator[tuple[Tensor, Truth]]:
    return iter(
        DataLoader(
            Batches(config, painter),
            batch_size=None,
            sampler=range(epoch * config.steps, (epoch + 1) * config.steps),
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
    """Learn from the batches of an epoch; return the mean of each part of the loss.

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
