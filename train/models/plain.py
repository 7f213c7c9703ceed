"""Shallow nets of [convolution, ReLU, pooling] and fully connected layers: Nishime et al. (2017), Rao & Li (2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from train.models.inputs import DEFAULT, Step, preparation
from train.models.layers import FlatHead, Output, Size, he_initialise, pair, require_size


class PlainNet(nn.Module):
    """Stack convolutions of odd `kernels` and `widths`, each followed by 2x2 max pooling, then `hidden` units.

    weight_scale: deviation of all first weights, or None for He et al. (2015).
    """

    def __init__(
        self,
        classes: int,
        channels: int = 1,
        size: Size = 48,
        widths: Sequence[int] = (32,),
        kernels: Sequence[int] = (7,),
        hidden: Sequence[int] = (500,),
        dropout: float = 0.0,
        weight_scale: float | None = None,
        prepare: Sequence[Step] = DEFAULT,
    ) -> None:
        super().__init__()
        self.size = pair(size)
        self.prepare = preparation(prepare, channels)
        layers: list[nn.Module] = []
        inside = channels
        for width, kernel in zip(widths, kernels, strict=True):
            layers += [nn.Conv2d(inside, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
            inside = width
        self.layers = nn.Sequential(*layers)
        positions = (self.size[0] >> len(widths)) * (self.size[1] >> len(widths))
        self.head = FlatHead(inside * positions, hidden, classes, dropout)
        he_initialise(self, "fan_in")
        if weight_scale is not None:
            for weight in (weight for weight in self.parameters() if weight.ndim > 1):
                nn.init.normal_(weight, std=weight_scale)

    def forward(self, images: Tensor) -> Output:
        require_size(images, self.size)
        output: Output = self.head(self.layers(self.prepare(images)))
        return output
