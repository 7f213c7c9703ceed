"""The network we ship: a small residual net (He et al. 2016) with a strided stem, GAP and one FC layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import CamHead, Output, conv_norm_relu, he_initialise


class ResidualNet(nn.Module):
    """Stack stages of basic blocks; the first stage keeps the stem's resolution, each later one halves it."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        widths: Sequence[int] = (64, 128, 256),
        blocks: Sequence[int] = (1, 2, 2),
        stem_stride: int = 2,
        dropout: float = 0.3,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        self.prepare = preparation(prepare, channels)
        self.stem = conv_norm_relu(channels, widths[0], stride=stem_stride)
        stages, inside = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stages.append(BasicBlock(inside, width, stride=2 if stage and not block else 1))
                inside = width
        self.blocks = nn.Sequential(*stages)
        self.head = CamHead(inside, classes, dropout)
        he_initialise(self)

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.blocks(self.stem(self.prepare(images))))
        return output


class BasicBlock(nn.Module):
    """Add two 3x3 convolutions to the input; a change of size goes through a pooled 1x1 convolution."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm_relu(inside, outside, stride=stride)
        norm = nn.BatchNorm2d(outside)
        nn.init.zeros_(norm.weight)  # a block starts as the identity
        self.second = nn.Sequential(nn.Conv2d(outside, outside, 3, 1, 1, bias=False), norm)
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.skip = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        grown: Tensor = self.relu(self.second(self.first(maps)) + self.skip(maps))
        return grown
