"""Inception (Szegedy et al. 2015; batch normalisation and 3x3 pairs of 2016) sized for grey faces of 48x48."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import CamHead, Output, conv_norm_relu, he_initialise


class InceptionNet(nn.Module):
    """Stack stages of inception blocks, a max pooling before each; `stages` lists the widths of the blocks."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        stem: int = 64,
        stages: Sequence[Sequence[int]] = ((128, 192), (256, 256, 320), (384, 512)),
        dropout: float = 0.4,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        self.prepare = preparation(prepare, channels)
        layers: list[nn.Module] = [conv_norm_relu(channels, stem // 2), conv_norm_relu(stem // 2, stem)]
        inside = stem
        for widths in stages:
            layers.append(nn.MaxPool2d(2))
            for width in widths:
                layers.append(InceptionBlock(inside, width))
                inside = width
        self.layers = nn.Sequential(*layers)
        self.head = CamHead(inside, classes, dropout)
        he_initialise(self)

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.layers(self.prepare(images)))
        return output


class InceptionBlock(nn.Module):
    """See the maps through 1x1, 3x3, 5x5 (as two 3x3) and pooling, in the proportions of GoogLeNet's block 3a."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        quarter, half, eighth, reduced = width // 4, width // 2, width // 8, 3 * width // 8
        self.branches = nn.ModuleList(
            [
                conv_norm_relu(inside, quarter, 1),
                nn.Sequential(conv_norm_relu(inside, reduced, 1), conv_norm_relu(reduced, half)),
                nn.Sequential(
                    conv_norm_relu(inside, width // 16, 1),
                    conv_norm_relu(width // 16, eighth),
                    conv_norm_relu(eighth, eighth),
                ),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_norm_relu(inside, eighth, 1)),
            ]
        )

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([branch(maps) for branch in self.branches], dim=1)
