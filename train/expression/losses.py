"""What a network is trained towards: targets from labels or votes, and the balance of rare and frequent classes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.data import FaceSet
from train.expression.config import TrainConfig


def has_target(rows: FaceSet, loss: str) -> NDArray[np.bool_]:
    """Say which rows can be trained on: (N,)."""
    return rows.distribution.sum(axis=1) > 0 if loss == "distribution" else rows.labels >= 0


def targets(rows: FaceSet, loss: str, smoothing: float = 0.1) -> Tensor:
    """Return (N, classes) float32 targets that sum to 1; every row must have one (`has_target`).

    distribution: the share of the taggers' votes (Barsoum et al. 2016, Eq. 4). hard: all on the label. soft: the share
    `smoothing` is taken from the label and spread over all classes (Szegedy et al. 2016, sec. 7).
    """
    if loss == "distribution":
        return torch.from_numpy(rows.distribution)
    hard = torch.nn.functional.one_hot(torch.from_numpy(rows.labels), len(rows.classes)).float()
    return hard if loss == "hard" else hard * (1 - smoothing) + smoothing / len(rows.classes)


def class_weights(wanted: Tensor) -> Tensor:
    """Weigh each class by its rarity in (N, classes) targets, 1 in the mean over the rows; 0 where it never occurs."""
    counts = wanted.sum(dim=0)
    present = counts > 0
    return torch.where(present, len(wanted) / (counts.clamp(min=1e-9) * present.sum()), torch.zeros(()))


def epoch_order(wanted: Tensor, balance: str) -> Tensor:
    """Draw the (N,) order of an epoch: each row once, or for 'sample' with replacement, all classes equally often."""
    if balance != "sample":
        return torch.randperm(len(wanted))
    return torch.multinomial(wanted @ class_weights(wanted), len(wanted), replacement=True)


def loss_weights(config: TrainConfig, wanted: Tensor) -> Tensor | None:
    """Return the (classes,) weights for `cross_entropy`, or None where the configuration asks for none."""
    return class_weights(wanted) if config.balance == "loss" else None
