"""The 11-layer CNN of Sun, Zhao, Jin (2018) with visual attention, their Tables 2 and 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from engines.errors import UserError
from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import FlatHead, Output, Size, activation_maps, he_initialise, pair, require_size

# Widths of 3x3 convolutions without bias; 0 halves the picture.
PLAN = (16, 16, 16, 0, 32, 32, 32, 0, 64, 64, 0, 128, 128, 0)


class BaselineNet(nn.Module):
    """Classify by one FC layer without bias on all maps (Table 2)."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        size: Size = (144, 112),
        dropout: float = 0.5,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        self.size = pair(size)
        self.prepare = preparation(prepare, channels)
        self.layers = _convolutions(channels)
        positions = (self.size[0] // 16) * (self.size[1] // 16)
        self.head = FlatHead(PLAN[-2] * positions, (), classes, dropout, biases=(False, False))
        he_initialise(self, "fan_in")

    def forward(self, images: Tensor) -> Output:
        require_size(images, self.size)
        output: Output = self.head(self.layers(self.prepare(images)))
        return output


class AttentionNet(nn.Module):
    """Pool the maps by a learned weight for every position (Table 3).

    Fully convolutional: a picture of any size, a group photo too, gives logits and an attention map of its size / 16.
    weights: 'free' (Eq. 4), 'symmetric' (Eq. 5, for aligned frontal faces) or 'uniform' (global average pooling).
    beta: sharpness of the softmax over the positions.
    """

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        weights: Literal["free", "symmetric", "uniform"] = "free",
        units: int = 66,
        beta: float = 1.0,
        dropout: float = 0.5,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        if weights not in {"free", "symmetric", "uniform"}:
            raise UserError(f"model.args.weights: expected free, symmetric or uniform, found '{weights}'")
        self.prepare = preparation(prepare, channels)
        self.layers = _convolutions(channels)
        self.weigh = None if weights == "uniform" else Weigh(PLAN[-2], units, beta, mirrored=weights == "symmetric")
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(PLAN[-2], classes, bias=False)
        he_initialise(self, "fan_in")

    def forward(self, images: Tensor) -> Output:
        maps = self.layers(self.prepare(images))
        positions = maps.shape[2] * maps.shape[3]
        attention = torch.full_like(maps[:, 0], 1 / positions) if self.weigh is None else self.weigh(maps)
        weighted = maps * attention[:, None]
        features = weighted.sum(dim=(2, 3))  # Eq. 1
        cam = activation_maps(weighted, self.fc.weight) * positions
        return Output(self.fc(self.dropout(features)), features, cam, attention)


class Weigh(nn.Module):
    """Say how much each position counts, by what is seen there: two tanh layers and a softmax over all positions.

    The mirrored form averages each row with its mirror image before the softmax. The denominator printed in Eq. 5 is
    not mirrored and its weights would not sum to 1.
    """

    def __init__(self, channels: int, units: int, beta: float, mirrored: bool) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(channels, units, 1)
        self.score = nn.Conv2d(units, 1, 1)
        self.beta, self.mirrored = beta, mirrored

    def forward(self, maps: Tensor) -> Tensor:
        scores = torch.tanh(self.score(torch.tanh(self.hidden(maps))))[:, 0]  # Eq. 2, 3
        if self.mirrored:
            scores = (scores + scores.flip(2)) / 2
        return (self.beta * scores).flatten(1).softmax(dim=1).reshape(scores.shape)


def _convolutions(channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in PLAN:
        if width:
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.ReLU(inplace=True)]
            channels = width
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)
