"""The network we ship: a small residual net (He et al. 2016) with a strided stem, GAP and one FC layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import CamHead, Output, conv_norm_relu, he_initialise, residual_stages


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
        self.blocks = residual_stages(widths, blocks, skip)
        self.head = CamHead(widths[-1], classes, dropout)
        he_initialise(self)
        for block in self.blocks:
            nn.init.zeros_(block.get_parameter("second.1.weight"))  # a block starts as the identity

    def forward(self, images: Tensor) -> Output:
        output: Output = self.head(self.blocks(self.stem(self.prepare(images))))
        return output


def skip(inside: int, outside: int, stride: int) -> nn.Module:
    """Fit by an average pooling and a 1x1 convolution, which sees every pixel."""
    convolution = nn.Conv2d(inside, outside, 1, bias=False)
    return nn.Sequential(nn.AvgPool2d(stride, ceil_mode=True), convolution, nn.BatchNorm2d(outside))
