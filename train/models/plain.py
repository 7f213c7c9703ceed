"""Shallow nets of [convolution, ReLU, pooling] and fully connected layers: Nishime et al. (2017), Rao & Li (2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from train.models.inputs import DEFAULT, Step
from train.models.layers import Size, pair
from train.models.stack import StackNet, convolution


class PlainNet(StackNet):
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
        layers: list[nn.Module] = []
        inside = channels
        for width, kernel in zip(widths, kernels, strict=True):
            layers += [*convolution(inside, width, kernel), nn.MaxPool2d(2)]
            inside = width
        height, width = (side >> len(widths) for side in pair(size))
        super().__init__(layers, inside, (height, width), classes, channels, size, hidden, dropout, prepare)
        if weight_scale is not None:
            for weight in (weight for weight in self.parameters() if weight.ndim > 1):
                nn.init.normal_(weight, std=weight_scale)
