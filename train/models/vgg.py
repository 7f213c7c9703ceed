"""VGG (Simonyan & Zisserman 2015): the region classifier of Lian et al., Fig. 1, and VGG-16 for small grey faces."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import FlatHead, Output, Size, conv_norm_relu, he_initialise, pair, require_size

# Widths of 3x3 convolutions; 0 halves the picture. Lian et al. give theirs in a figure only: this is our reading.
REGION = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 256, 256, 256, 0)
VGG16 = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)


class Vgg(nn.Module):
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
        super().__init__()
        self.size = pair(size)
        self.prepare = preparation(prepare, channels)
        layers, inside = [], channels
        for width in plan:
            layers.append(_convolution(inside, width, norm) if width else nn.MaxPool2d(2))
            inside = width or inside
        self.layers = nn.Sequential(*layers)
        halvings = 2 ** list(plan).count(0)
        positions = (self.size[0] // halvings) * (self.size[1] // halvings)
        self.head = FlatHead(inside * positions, hidden, classes, dropout)
        he_initialise(self, "fan_out" if norm else "fan_in")

    def forward(self, images: Tensor) -> Output:
        require_size(images, self.size)
        output: Output = self.head(self.layers(self.prepare(images)))
        return output


def _convolution(inside: int, outside: int, norm: bool) -> nn.Module:
    if norm:
        return conv_norm_relu(inside, outside)
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU(inplace=True))
