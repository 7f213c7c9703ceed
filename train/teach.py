"""Distillation (Hinton et al. 2015): targets that mix the taggers' votes with what trained networks see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train import models
from train.config import TrainConfig
from train.data import FaceSet
from train.fit import autocast, to_tensor
from train.rows import cut

SHIFTS = ((0, 0), (0, 2), (0, -2), (2, 0), (-2, 0))  # pixels


def taught(rows: FaceSet, config: TrainConfig, device: torch.device) -> FaceSet:
    """Move the distribution of each row towards the mean answer of the teachers, by `teacher.share`.

    The teachers have the network's own architecture. Each sees a picture and its mirror image in five places.
    """
    if config.teacher is None:
        return rows
    seen = cut(rows, config, 0)
    answers = []
    for weights in config.teacher.weights:
        network = models.build(config.model.name, len(rows.classes), config.input.channels, config.model.args)
        models.load_weights(network, weights)
        answers.append(_mean_answer(network.to(device).eval(), seen.images, config.precision, device))
    share = config.teacher.share
    mixed = (1 - share) * rows.distribution + share * np.mean(answers, axis=0)
    return replace(rows, distribution=mixed.astype(np.float32))


def _mean_answer(
    network: torch.nn.Module, images: NDArray[np.uint8], precision: str, device: torch.device
) -> NDArray[np.float32]:
    found = []
    with torch.inference_mode(), autocast(device, precision):
        for start in range(0, len(images), 256):
            pictures = to_tensor(images[start : start + 256]).to(device, memory_format=torch.channels_last)
            views = [_shifted(side, *shift) for shift in SHIFTS for side in (pictures, pictures.flip(3))]
            found.append(torch.stack([network(view).logits.float().softmax(1) for view in views]).mean(0).cpu())
    return np.asarray(torch.cat(found).numpy())


def _shifted(pictures: Tensor, down: int, right: int) -> Tensor:
    """Move pictures by whole pixels; their edges are repeated."""
    height, width = pictures.shape[2:]
    padded = torch.nn.functional.pad(pictures, (2, 2, 2, 2), mode="replicate")
    return padded[:, :, 2 - down : 2 - down + height, 2 - right : 2 - right + width]
