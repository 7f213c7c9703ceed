"""A small network for the 68 landmarks of a face, their visibility, and whether there is a usable face at all.

A strided residual net (He et al. 2016) whose last maps are flattened, so that the heads know where things are; the
points are answered as offsets from the mean face (Feng et al. 2018 regress them so).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from train.models.inputs import in_float
from train.models.layers import conv_norm_relu, he_initialise, normalise, residual_stages
from train.models.residual import skip

POINTS = 68
SPREAD = 0.1  # of the crop's side: an offset of 1 moves a point so far


class Points(NamedTuple):
    """Hold what the network answers to N pictures.

    points: (N, 68, 2) in shares of the picture's side. visibility: (N, 68) logits. usable: (N,) logits.
    """

    points: Tensor
    visibility: Tensor
    usable: Tensor


class LandmarkNet(nn.Module):
    """Map (N, C, size, size) pictures in 0-255 to `Points`; the first of the widths is the stem's."""

    mean: Tensor

    def __init__(
        self,
        channels: int = 1,
        size: int = 80,
        widths: Sequence[int] = (24, 40, 80, 128),
        blocks: Sequence[int] = (2, 2, 1),
        squeeze: int = 32,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_norm_relu(channels, widths[0], stride=2), conv_norm_relu(widths[0], widths[1], stride=2)
        )
        self.blocks = residual_stages(widths[1:], blocks, skip)
        self.squeeze = conv_norm_relu(widths[-1], squeeze, kernel=1)
        cells = -(-size // 2 ** (1 + len(blocks)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(squeeze * cells * cells + widths[-1], POINTS * 3 + 1)
        self.register_buffer("mean", torch.full((POINTS, 2), 0.5))
        he_initialise(self)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Points:
        maps = self.blocks(self.stem(normalise(images)))
        features = torch.cat([self.squeeze(maps).flatten(1), maps.mean(dim=(2, 3))], dim=1)
        answers = in_float(self.head, self.dropout(features))
        offsets = answers[:, : 2 * POINTS].reshape(-1, POINTS, 2)
        return Points(self.mean + SPREAD * offsets, answers[:, 2 * POINTS : -1], answers[:, -1])
