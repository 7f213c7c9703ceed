"""What networks of stacked and fully connected layers share: pictures of one size, and no class activation maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from train.models.inputs import Step, preparation
from train.models.layers import FlatHead, Output, Size, he_initialise, pair, require_size


class StackNet(nn.Module):
    """Run prepared pictures of one size through layers, and their flattened maps through fully connected ones.

    layers: end in maps of `inside` channels and `shape` (height, width). keep: see `he_initialise`.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        inside: int,
        shape: tuple[int, int],
        classes: int,
        channels: int,
        size: Size,
        hidden: Sequence[int],
        dropout: float,
        prepare: Sequence[Step],
        keep: Literal["fan_in", "fan_out"] = "fan_in",
    ) -> None:
        super().__init__()
        self.size = pair(size)
        self.prepare = preparation(prepare, channels)
        self.layers = nn.Sequential(*layers)
        self.head = FlatHead(inside * shape[0] * shape[1], hidden, classes, dropout)
        he_initialise(self, keep)

    def forward(self, images: Tensor) -> Output:
        require_size(images, self.size)
        output: Output = self.head(self.layers(self.prepare(images)))
        return output


def convolution(inside: int, outside: int, kernel: int = 3) -> tuple[nn.Module, nn.Module]:
    """Convolve and rectify; `kernel` is odd, and the size stays."""
    return nn.Conv2d(inside, outside, kernel, padding=kernel // 2), nn.ReLU(inplace=True)
