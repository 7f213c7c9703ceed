"""Fit a landmark network: batches are drawn anew for every step; the loop reads in the order in which things happen."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from streamer.faces.regions import crop, face_square
from train import checkpoint, processes
from train.checkpoint import State
from train.data.textures import textures
from train.descent import descend
from train.expression.fit import autocast, build_optimizer
from train.landmarks.batches import Batches
from train.landmarks.bias import EYES
from train.landmarks.config import LandmarksConfig
from train.landmarks.faces import Faces, read
from train.models.landmarks import LandmarkNet, Points

log = logging.getLogger(__name__)

OUTSIDE = 0.4  # weight of points that cannot be seen


def fit(config: LandmarksConfig, until: int | None = None) -> Path:
    """Train from the last checkpoint, if there is one, to the end or through epoch `until`; return the checkpoint.

    Raises UserError where the checkpoint is of another run, RuntimeError where the loss is not finite and OSError
    where the disk is full: the last good checkpoint stays.
    """
    with processes.joined() as device:
        processes.share(config.optimizer.batch)  # before any work
        sources = [read(source, source.train) for source in config.sources]
        for source, faces in zip(config.sources, sources, strict=True):
            log.info("%s: %d faces", source.set, len(faces))
        held = read(config.sources[0], "validation")
        state = start(config, sources[0], device)
        path = config.runs / config.name / "checkpoint.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.resume(path, config, ("face",), state)
        model = processes.parallel(state.model)
        batches = _load(config, sources, first=len(state.epochs) * config.steps)
        while len(state.epochs) < min(until or config.epochs, config.epochs):
            started = time.monotonic()
            parts = train_epoch(config, state, model, batches, device)
            error = normalised_error(predict(state.average, held, config), held.points).mean()
            _note(config, state, parts, processes.shared(float(error)), time.monotonic() - started)
            checkpoint.save(path, config, ("face",), state)
            checkpoint.report(path.with_name("epochs.jsonl"), state)
        return path


def start(config: LandmarksConfig, faces: Faces, device: torch.device) -> State:
    """Build network, average and update rule as the seed says; the points start from the mean of some faces."""
    torch.manual_seed(config.seed)
    model = build(config)
    squares = face_square(faces.boxes, config.margin, 0.0)
    shares = (faces.points - squares[:, None, :2]) / (squares[:, 2] - squares[:, 0])[:, None, None]
    model.mean.copy_(torch.from_numpy(shares.mean(axis=0)))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    torch.manual_seed(config.seed + processes.rank())  # from here on each process drops out parts of its own
    return State(model, copy.deepcopy(model).eval(), build_optimizer(model, config.optimizer))


def build(config: LandmarksConfig) -> LandmarkNet:
    """Build the network of a configuration with weights as drawn."""
    sizes = config.model
    return LandmarkNet(1, sizes.size, sizes.widths, sizes.blocks, sizes.squeeze, sizes.dropout)


def _load(config: LandmarksConfig, sources: list[Faces], first: int) -> Iterator[tuple[Tensor, ...]]:
    batches = Batches(config, sources, textures())
    cv2.setNumThreads(1)
    own = torch.Generator()  # the loader draws a seed, which must not cost the run one of its random numbers
    return iter(DataLoader(batches, batch_size=None, sampler=range(first, len(batches)), generator=own))


def train_epoch(
    config: LandmarksConfig,
    state: State,
    model: nn.Module,
    batches: Iterator[tuple[Tensor, ...]],
    device: torch.device,
) -> dict[str, float]:
    """Learn from the next batches; return the mean of each part of the loss.

    Raises RuntimeError where the loss is not finite.
    """
    model.train()

    def answered(batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        images, *wanted = (field.to(device) for field in batch)
        planes = images.permute(0, 3, 1, 2).float().to(memory_format=torch.channels_last)
        with autocast(device, config.precision):
            found = model(planes)
        return losses(found, config, *wanted)

    return descend(config, config.steps, state, batches, answered, clip=5.0)


def losses(
    found: Points, config: LandmarksConfig, points: Tensor, located: Tensor, visibility: Tensor, usable: Tensor
) -> dict[str, Tensor]:
    """Return the parts of the loss: the normalised error of the points, and cross-entropies of the rest."""
    eyes = (points[:, EYES[0]] - points[:, EYES[1]]).norm(dim=1)
    # A profile's eyes lie close together: its unit is a share of the face's height.
    unit = torch.maximum(eyes, 0.4 * (points[:, 8] - points[:, 27]).norm(dim=1)).clamp(min=1e-3)
    distance = ((found.points - points).square().sum(dim=2) + 1e-8).sqrt() / unit[:, None]
    weight = (OUTSIDE + (1 - OUTSIDE) * visibility) * located[:, None]
    error = (distance * weight).sum() / weight.sum().clamp(min=1)
    seen = F.binary_cross_entropy_with_logits(found.visibility, visibility)
    known = usable.isfinite()
    face = F.binary_cross_entropy_with_logits(found.usable[known], usable[known])
    total = config.points * error + seen + config.usable * face
    return {"total": total, "points": error.detach(), "visibility": seen.detach(), "usable": face.detach()}


def predict(network: nn.Module, faces: Faces, config: LandmarksConfig, batch: int = 64) -> NDArray[np.float32]:
    """Return the (N, 68, 2) landmarks, in pixels, of faces cut by their own boxes as serving cuts them.

    The network may lie on any device.
    """
    device = next(network.parameters()).device
    squares = np.floor(face_square(faces.boxes, config.margin, 0.0) + 0.5)
    side = config.model.size
    crops = np.stack(
        [crop(picture, square, side, side, 1) for picture, square in zip(faces.pictures, squares, strict=True)]
    )
    found = []
    with torch.inference_mode():
        for first in range(0, len(crops), batch):
            planes = torch.from_numpy(crops[first : first + batch]).permute(0, 3, 1, 2).float()
            found.append(network(planes.to(device)).points.cpu().numpy())
    shares = np.concatenate(found)
    sides = (squares[:, 2:] - squares[:, :2])[:, None]
    return np.asarray(squares[:, None, :2] + shares * sides, np.float32)


def normalised_error(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the mean distance of (N, 68, 2) landmarks in units of the outer eye corners' distance: (N,)."""
    eyes = np.linalg.norm(wanted[:, EYES[0]] - wanted[:, EYES[1]], axis=1)
    return np.asarray(np.linalg.norm(found - wanted, axis=2).mean(axis=1) / eyes)


def _note(config: LandmarksConfig, state: State, parts: dict[str, float], error: float, seconds: float) -> None:
    state.epochs.append(
        {
            "epoch": len(state.epochs) + 1,
            "rate": state.optimizer.param_groups[0]["lr"],
            **parts,
            "validation_error": round(error, 5),
            "validation_accuracy": round(-error, 5),  # what schedules count on: higher is better
            "seconds": round(seconds, 1),
        }
    )
