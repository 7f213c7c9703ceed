"""Inception-ResNet (Szegedy et al. 2017) for grey faces of 48x48: its blocks A, B and C at 24, 12 and 6 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engines.errors import UserError
from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import CamHead, Output, Size, conv_norm_relu, he_initialise

# Kernels of each branch behind its 1x1 convolution, by stage.
BRANCHES: tuple[tuple[tuple[Size, ...], ...], ...] = (
    ((), (3,), (3, 3)),
    ((), ((1, 7), (7, 1))),
    ((), ((1, 3), (3, 1))),
)


class InceptionResNet(nn.Module):
    """Stack residual inception blocks with a reduction before each stage."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        widths: Sequence[int] = (128, 256, 512),
        blocks: Sequence[int] = (2, 3, 2),
        scale: float = 0.17,
        dropout: float = 0.2,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        self.prepare = preparation(prepare, channels)
        inside = widths[0] // 2
        layers: list[nn.Module] = [conv_norm_relu(channels, inside // 2), conv_norm_relu(inside // 2, inside)]
        for width, count, branches in zip(widths, blocks, BRANCHES, strict=True):
            layers.append(Reduction(inside, width))
            layers += [ResidualInception(width, branches, scale) for _ in range(count)]
            inside = width
        self.layers = nn.Sequential(*layers)
        self.head = CamHead(inside, classes, dropout)
        he_initialise(self)

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.layers(self.prepare(images)))
        return output


class ResidualInception(nn.Module):
    """Add what the branches saw, brought together by a 1x1 convolution and scaled down to keep the training steady."""

    def __init__(self, width: int, branches: Sequence[Sequence[Size]], scale: float) -> None:
        super().__init__()
        narrow = width // 4
        self.branches = nn.ModuleList(
            nn.Sequential(
                conv_norm_relu(width, narrow, 1), *(conv_norm_relu(narrow, narrow, kernel) for kernel in kernels)
            )
            for kernels in branches
        )
        self.join = nn.Conv2d(narrow * len(branches), width, 1)
        self.scale = scale

    def forward(self, maps: Tensor) -> Tensor:
        seen = torch.cat([branch(maps) for branch in self.branches], dim=1)
        return torch.relu(maps + self.scale * self.join(seen))


class Reduction(nn.Module):
    """Halve the maps by pooling and by a strided convolution side by side."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        if outside <= inside:
            raise UserError(
                f"model.args.widths: expected each stage wider than the last, found {outside} after {inside}"
            )
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.convolve = conv_norm_relu(inside, outside - inside, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.cat([self.pool(maps), self.convolve(maps)], dim=1)
