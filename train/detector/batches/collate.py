"""Batches of painted scenes, each drawn from its own number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from train import processes
from train.detector.batches.place import Scene
from train.detector.batches.scenes import Painter
from train.detector.config import DetectorConfig
from train.detector.losses import Truth
from train.detector.teacher import MIRRORED


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
