"""AlexNet (Krizhevsky et al. 2012) sized for grey faces of 48x48: five convolutions, three overlapping poolings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from train.models.inputs import DEFAULT, Step
from train.models.layers import Size, pair
from train.models.stack import StackNet, convolution

POOLED = (0, 1, 4)  # convolutions that a pooling follows


class AlexNet(StackNet):
    """Keep the order of layers; a 5x5 first convolution of stride 1 takes the place of 11x11 of stride 4."""

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        size: Size = 48,
        widths: Sequence[int] = (64, 192, 384, 256, 256),
        hidden: Sequence[int] = (1024, 1024),
        dropout: float = 0.5,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        layers: list[nn.Module] = []
        inside = channels
        for position, width in enumerate(widths):
            layers += convolution(inside, width, 5 if position < 2 else 3)
            if position in POOLED:
                layers.append(nn.MaxPool2d(3, stride=2))
            inside = width
        height, width = (_after_pooling(side, len(POOLED)) for side in pair(size))
        super().__init__(layers, inside, (height, width), classes, channels, size, hidden, dropout, prepare)


def _after_pooling(side: int, times: int) -> int:
    for _ in range(times):
        side = (side - 3) // 2 + 1
    return side
