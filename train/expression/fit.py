"""Fit an expression network: what the loop of all tasks learns from, one set of faces or several at once."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines.errors import UserError
from train import loop, processes
from train.autocast import autocast
from train.checkpoint import State
from train.data import FaceSet
from train.expression.batches import joint
from train.expression.batches.joint import Lesson
from train.expression.batches.parts import training_parts
from train.expression.batches.rows import cut, labelled_rows, training_rows
from train.expression.batches.transforms import augment, mixup, random_affine
from train.expression.batches.views import Cover, draw_views, move, pad, show_views, zoom
from train.expression.config import TrainConfig
from train.expression.losses import epoch_order, loss_weights, targets
from train.expression.predict import predict, to_tensor
from train.expression.start import start
from train.expression.teach import taught, taught_sets
from train.loop import Training
from train.models.classic import FEATURES

log = logging.getLogger(__name__)

Answer = Callable[[NDArray[np.uint8]], Tensor]


def fit(config: TrainConfig, until: int | None = None) -> Path:
    """Train a network as `loop.fit` does. Raises UserError too where the splits differ in their classes."""
    if config.model.name in FEATURES:
        raise UserError(f"{config.name}: '{config.model.name}' is fitted where it is judged: use `train evaluate`")
    if (last := config.size_at(config.epochs - 1)) != config.input.size:
        log.warning("trained at %d pixels at last, judged and served at %d (input.size)", last, config.input.size)
    return loop.fit(config, ExpressionTraining, until)


class Batch(NamedTuple):
    """Hold N pictures (N, C, H, W), their (N, classes) targets, and what is added to their logits, if anything."""

    images: Tensor
    targets: Tensor
    added: Tensor | None


class ExpressionTraining(Training[Batch]):
    """Give the loop faces with labels or votes."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self.lesson = several_sets(config) if config.data.sets else None
        self.rows = self.lesson.rows if self.lesson else one_set(config, device)
        self.seen = self.rows if self.lesson else cut(self.rows, config, 0)
        self.classes = self.rows.classes
        self.score = judged_by(config, self.classes, self.lesson)
        self.targets = targets(self.rows, "distribution" if self.lesson else config.loss, config.smoothing)
        weights = loss_weights(config, self.targets)
        self.weights = None if weights is None else weights.to(device)
        rows = sum(self.lesson.counts) if self.lesson else len(self.rows)
        self.steps = max(1, rows // config.optimizer.batch)
        self.cover = Cover(config.augment.occlude, config.data, config.input) if config.input.regions else None

    def start(self) -> State:
        """Build network, average and optimizer from the seed."""
        return start(self.config, self.seen, self.device)

    def batches(self, state: State) -> Iterator[Batch]:
        """Yield the rows of an epoch in random order, changed at random."""
        epoch, size = len(state.epochs), self.config.optimizer.batch
        if self.config.input.mode == "centre":
            self.seen = cut(self.rows, self.config, epoch)
        drawn = self.lesson.order() if self.lesson else epoch_order(self.targets, self.config.balance)
        order = processes.shared(drawn).numpy()
        for step in range(self.steps):
            chosen = order[step * size : (step + 1) * size][processes.rank() :: processes.count()]
            yield self._changed(chosen, self.config.size_at(epoch))

    def _changed(self, chosen: NDArray[np.int64], size: int) -> Batch:
        """Change the chosen rows at random; where several regions are learned, show one of each face."""
        rows, wanted = self.seen[chosen], self.targets[chosen].to(self.device)
        if self.cover:
            return Batch(self._views(self.cover, rows, size), wanted, None)
        groups = self.lesson.groups[chosen] if self.lesson else None
        images = to_tensor(rows.images).to(self.device, memory_format=torch.channels_last)
        height, width = images.shape[2:]
        matrices = random_affine(len(images), self.config.augment, width / height, self.device)
        changed = augment(images, size, self.config.augment, matrices)
        added = self.lesson.added[groups].to(self.device) if self.lesson else None
        return Batch(*mixup(changed, wanted, self.config.augment.mixup, groups), added)

    def _views(self, cover: Cover, rows: FaceSet, size: int) -> Tensor:
        """Show one region of each face, the one that an occluder leaves where one is drawn."""
        assert rows.landmarks is not None
        settings, seen = self.config.augment, self.config.input
        faces = cover(rows.images, rows.landmarks)
        images = to_tensor(faces.pictures).to(self.device, memory_format=torch.channels_last)
        height, width = images.shape[2:]
        matrices = random_affine(len(images), settings, width / height, self.device)
        views = draw_views(faces, seen.regions)
        shape = (height, width) if seen.mode == "pad" else (size, round(size * width / height))
        points = move(faces.points, matrices, (height, width), shape)
        if seen.mode == "mask":
            return show_views(augment(images, size, settings, matrices), points, views, seen, faces.visibility)
        zoomed = zoom(points, views, matrices, shape, seen)
        return pad(augment(images, size, settings, zoomed.matrices), zoomed.extent, seen.padding)

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the cross-entropy with the targets."""
        with autocast(self.device, self.config.precision):
            logits = model(batch.images).logits.float()
        if batch.added is not None:
            logits = logits + batch.added
        loss = F.cross_entropy(logits, batch.targets, self.weights)
        return loss, {"loss": loss}

    def judge(self, network: nn.Module) -> dict[str, Any]:
        """Return the accuracy on the validation rows, and of several sets more."""
        return self.score(partial(predict, network, device=self.device, precision=self.config.precision))

    def close(self) -> None:
        """Close the landmark network, if one looks at the faces."""
        if self.cover:
            self.cover.close()


def one_set(config: TrainConfig, device: torch.device) -> FaceSet:
    """Load the training rows of one set, their targets mixed with the teachers' answers where there are some."""
    rows, counts = training_rows(config)
    log.info("training rows: %s", ", ".join(f"{n} {what}" for what, n in counts.items()))
    return taught(rows, config, device)


def several_sets(config: TrainConfig) -> Lesson:
    """Load the training rows of several sets and put them side by side."""
    found = taught_sets(joint.lesson(config, training_parts(config)), config)
    log.info(
        "an epoch: %s rows of each set; it answers for the prior %s",
        found.counts,
        ", ".join(f"{name} {share:.3f}" for name, share in found.prior.items()),
    )
    return found


def judged_by(
    config: TrainConfig, classes: tuple[str, ...], lesson: Lesson | None
) -> Callable[[Answer], dict[str, Any]]:
    """Load the validation rows; return what scores a function from pictures to logits on them.

    Several sets count alike, and what is best is said by macro recall.
    """
    if not lesson:
        rows = labelled_rows(config.data, config.input, config.data.validation, classes, config.name)
        return lambda ask: {"validation_accuracy": round(_accuracy(ask(rows.images), rows), 5)}
    parts = joint.judged_parts(config, lesson)

    def scored(ask: Answer) -> dict[str, Any]:
        sets = {part.name: part.scores(ask(part.rows.images)) for part in parts}
        accuracy, recall = (
            round(statistics.fmean(one[key] for one in sets.values()), 5) for key in ("accuracy", "macro_recall")
        )
        return {"validation_accuracy": accuracy, "macro_recall": recall, "sets": sets}

    return scored


def _accuracy(logits: Tensor, rows: FaceSet) -> float:
    return float((logits.argmax(1).numpy() == rows.labels).mean())
