"""DenseNet-BC (Huang et al. 2017) with class activation maps: the visualisation model of Lian et al., Fig. 2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import CamHead, Output, he_initialise


class DenseNet(nn.Module):
    """Stack dense blocks, each layer seeing the maps of all before it, with halving transitions in between."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        first: int = 16,
        blocks: Sequence[int] = (16, 16, 16),
        growth: int = 12,
        bottleneck: int = 4,
        compression: float = 0.5,
        dropout: float = 0.0,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        self.prepare = preparation(prepare, channels)
        layers: list[nn.Module] = [nn.Conv2d(channels, first, 3, padding=1, bias=False)]
        inside = first
        for position, count in enumerate(blocks):
            layers += [DenseLayer(inside + i * growth, growth, bottleneck * growth) for i in range(count)]
            inside += count * growth
            if position < len(blocks) - 1:
                outside = int(inside * compression)
                layers.append(nn.Sequential(*_norm_relu_conv(inside, outside, 1), nn.AvgPool2d(2)))
                inside = outside
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(inside), nn.ReLU(inplace=True))
        self.head = CamHead(inside, classes, dropout)
        he_initialise(self)

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.layers(self.prepare(images)))
        return output


class DenseLayer(nn.Module):
    """Append `growth` maps to those it is given, through a 1x1 bottleneck and a 3x3 convolution."""

    def __init__(self, inside: int, growth: int, bottleneck: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_norm_relu_conv(inside, bottleneck, 1), *_norm_relu_conv(bottleneck, growth, 3))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([maps, self.layers(maps)], dim=1)


def _norm_relu_conv(inside: int, outside: int, kernel: int) -> tuple[nn.Module, ...]:
    # Not in place: the block's other layers read the same maps.
    return nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
