"""AlexNet (Krizhevsky et al. 2012) sized for grey faces of 48x48: five convolutions, three overlapping poolings."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import FlatHead, Output, Size, he_initialise, pair, require_size


class AlexNet(nn.Module):
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
        super().__init__()
        self.size = pair(size)
        self.prepare = preparation(prepare, channels)
        pooled = (0, 1, 4)
        layers: list[nn.Module] = []
        inside = channels
        for position, width in enumerate(widths):
            kernel = 5 if position < 2 else 3
            layers += [nn.Conv2d(inside, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
            if position in pooled:
                layers.append(nn.MaxPool2d(3, stride=2))
            inside = width
        self.layers = nn.Sequential(*layers)
        height, width = (_after_pooling(side, len(pooled)) for side in self.size)
        self.head = FlatHead(inside * height * width, hidden, classes, dropout)
        he_initialise(self, "fan_in")

    def forward(self, images: Tensor) -> Output:
        require_size(images, self.size)
        output: Output = self.head(self.layers(self.prepare(images)))
        return output


def _after_pooling(side: int, times: int) -> int:
    for _ in range(times):
        side = (side - 3) // 2 + 1
    return side
