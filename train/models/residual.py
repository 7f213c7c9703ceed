"""The network we ship: a small residual net (He et al. 2016) with a strided stem, GAP and one FC layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.layers import CamHead, Output, normalise


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
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv(channels, widths[0], stem_stride), nn.ReLU(inplace=True))
        stages, inside = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stages.append(BasicBlock(inside, width, stride=2 if stage and not block else 1))
                inside = width
        self.blocks = nn.Sequential(*stages)
        self.head = CamHead(inside, classes, dropout)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.blocks(self.stem(normalise(images))))
        return output


class BasicBlock(nn.Module):
    """Add two 3x3 convolutions to the input; a change of size goes through a pooled 1x1 convolution."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*_conv(inside, outside, stride), nn.ReLU(inplace=True))
        self.second = nn.Sequential(*_conv(outside, outside, 1))
        nn.init.zeros_(self.second[1].weight)  # a block starts as the identity
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.skip = nn.Sequential(
                nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(inside, outside, 1, bias=False), nn.BatchNorm2d(outside)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        grown: Tensor = self.relu(self.second(self.first(maps)) + self.skip(maps))
        return grown


def _conv(inside: int, outside: int, stride: int) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    return nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
