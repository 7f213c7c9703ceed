"""ResNet-18 (He et al. 2016) for grey faces of 224x224, as Liu (2021) uses it: 512 pooled features, one FC layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import CamHead, Output, conv_norm_relu, he_initialise


class ResNet(nn.Module):
    """Stack basic blocks behind a 7x7 stem and a pooling, which together quarter the picture."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        dropout: float = 0.0,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        self.prepare = preparation(prepare, channels)
        self.stem = nn.Sequential(*conv_norm_relu(channels, widths[0], 7, stride=2), nn.MaxPool2d(3, 2, 1))
        stages, inside = [], widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stages.append(Block(inside, width, stride=2 if stage and not block else 1))
                inside = width
        self.blocks = nn.Sequential(*stages)
        self.head = CamHead(inside, classes, dropout)
        he_initialise(self)

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.blocks(self.stem(self.prepare(images))))
        return output


class Block(nn.Module):
    """Add two 3x3 convolutions to the input; a change of size goes through a strided 1x1 convolution."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = conv_norm_relu(inside, outside, stride=stride)
        self.second = conv_norm_relu(outside, outside)[:2]
        same = stride == 1 and inside == outside
        self.skip = nn.Identity() if same else conv_norm_relu(inside, outside, 1, stride=stride)[:2]
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        grown: Tensor = self.relu(self.second(self.first(maps)) + self.skip(maps))
        return grown
