"""ResNet-18 (He et al. 2016) for grey faces of 224x224, as Liu (2021) uses it: 512 pooled features, one FC layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import CamHead, Output, conv_norm_relu, he_initialise, residual_stages


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
        self.blocks = residual_stages(widths, blocks, _skip)
        self.head = CamHead(widths[-1], classes, dropout)
        he_initialise(self)

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.blocks(self.stem(self.prepare(images))))
        return output


def _skip(inside: int, outside: int, stride: int) -> nn.Module:
    """Fit by a strided 1x1 convolution (option B of the paper)."""
    return conv_norm_relu(inside, outside, 1, stride=stride)[:2]
