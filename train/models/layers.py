"""Pieces that several architectures share: per-image normalisation and the classifier that yields class activation maps."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Output(NamedTuple):
    """Hold logits (N, classes), pooled features (N, channels) and cam (N, classes, h, w); mean(cam) + bias = logits."""

    logits: Tensor
    features: Tensor
    cam: Tensor


def normalise(images: Tensor) -> Tensor:
    """Give every picture zero mean and unit deviation; a flat picture becomes zero, not NaN."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = ((images - mean) ** 2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return (images - mean) / (deviation + 1.0)


class CamHead(nn.Module):
    """Classify by global average pooling and one FC layer (Zhou et al. 2016, Eq. 2: M_c = sum_k w_k^c f_k)."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, classes)

    def forward(self, maps: Tensor) -> Output:
        features = maps.mean(dim=(2, 3))
        cam = torch.einsum("nkhw,ck->nchw", maps.detach(), self.fc.weight.detach())
        return Output(self.fc(self.dropout(features)), features, cam)
