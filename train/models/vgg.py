"""VGG (Simonyan & Zisserman 2015): the region classifier of Lian et al., Fig. 1, and VGG-16 for small grey faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from train.models.inputs import DEFAULT, Step
from train.models.layers import Size, conv_norm_relu, pair
from train.models.stack import StackNet, convolution

# Widths of 3x3 convolutions; 0 halves the picture. Lian et al. give theirs in a figure only: this is our reading.
REGION = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 256, 256, 256, 0)
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


class Vgg(StackNet):
    """Stack 3x3 convolutions and 2x2 max pooling by a plan, then fully connected layers."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        size: Size = 64,
        plan: Sequence[int] = REGION,
        hidden: Sequence[int] = (),
        norm: bool = True,
        dropout: float = 0.0,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        layers: list[nn.Module] = []
        inside = channels
        for width in plan:
            layers.append(_convolution(inside, width, norm) if width else nn.MaxPool2d(2))
            inside = width or inside
        height, width = (side // 2 ** list(plan).count(0) for side in pair(size))
        keep: Literal["fan_in", "fan_out"] = "fan_out" if norm else "fan_in"
        super().__init__(layers, inside, (height, width), classes, channels, size, hidden, dropout, prepare, keep)


def _convolution(inside: int, outside: int, norm: bool) -> nn.Module:
    return conv_norm_relu(inside, outside) if norm else nn.Sequential(*convolution(inside, outside))
