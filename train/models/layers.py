"""Pieces that several architectures share: output, per-image normalisation, convolutions, class activation maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from engines.errors import UserError

Size = int | Sequence[int]


class Output(NamedTuple):
    """Hold what a network answers to N pictures.

    logits: (N, classes). features: (N, channels), the input of the last layer. cam: (N, classes, h, w) class activation
    maps, mean(cam) + bias = logits, or None without a pooled last layer. attention: (N, h, w) weights that sum to 1, or
    None where the network has none.
    """

    logits: Tensor
    features: Tensor
    cam: Tensor | None = None
    attention: Tensor | None = None

    def present(self) -> dict[str, Tensor]:
        """Return the outputs that this network has, by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def normalise(images: Tensor) -> Tensor:
    """Give every picture zero mean and unit deviation; a flat picture becomes zero, not NaN."""
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    deviation = ((images - mean) ** 2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return (images - mean) / (deviation + 1.0)


class CamHead(nn.Module):
    """Classify by global average pooling and one FC layer (Zhou et al. 2016, Eq. 2: M_c = sum_k w_k^c f_k)."""

    def __init__(self, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, classes)

    def forward(self, maps: Tensor) -> Output:
        features = maps.mean(dim=(2, 3))
        return Output(self.fc(self.dropout(features)), features, activation_maps(maps, self.fc.weight))


class FlatHead(nn.Module):
    """Classify by fully connected layers on the flattened maps; `hidden` lists the units before the last layer."""

    def __init__(
        self, inputs: int, hidden: Sequence[int], classes: int, dropout: float, biases: tuple[bool, bool] = (True, True)
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for units in hidden:
            layers += [nn.Linear(inputs, units, bias=biases[0]), nn.ReLU(inplace=True), nn.Dropout(dropout)]
            inputs = units
        self.hidden = nn.Sequential(nn.Flatten(), *(layers or [nn.Dropout(dropout)]))
        self.fc = nn.Linear(inputs, classes, bias=biases[1])

    def forward(self, maps: Tensor) -> Output:
        features = self.hidden(maps)
        return Output(self.fc(features), features)


def activation_maps(maps: Tensor, weight: Tensor) -> Tensor:
    """Weigh (N, k, h, w) maps by the (classes, k) weights of the last layer: (N, classes, h, w), without gradient."""
    return torch.einsum("nkhw,ck->nchw", maps.detach(), weight.detach())


def conv_norm_relu(inside: int, outside: int, kernel: Size = 3, stride: int = 1) -> nn.Sequential:
    """Convolve without bias, normalise the batch, rectify; `kernel` is odd and only `stride` changes the size."""
    height, width = pair(kernel)
    convolution = nn.Conv2d(inside, outside, (height, width), stride, (height // 2, width // 2), bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True))


def he_initialise(model: nn.Module, keep: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw convolutions for ReLU (He et al. 2015), biases at zero.

    keep: 'fan_in' keeps the size of what flows forward, which a net without batch normalisation needs; 'fan_out' that
    of what flows back.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=keep, nonlinearity="relu")
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.zeros_(module.bias)


def pair(size: Size) -> tuple[int, int]:
    """Return (height, width) of a size given as one side or both."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return height, width


def require_size(images: Tensor, size: tuple[int, int]) -> None:
    """Raise UserError where (N, C, H, W) pictures do not have the (height, width) that the layers were built for."""
    if tuple(images.shape[2:]) != size:
        expected, found = f"{size[0]}x{size[1]}", f"{images.shape[2]}x{images.shape[3]}"
        raise UserError(f"the network was built for {expected} pictures (model.args.size), found {found} (input.size)")


class BasicBlock(nn.Module):
    """Add two 3x3 convolutions to the input (He et al. 2016, Fig. 5); `skip` gives the input the shape of the sum."""

    def __init__(self, inside: int, outside: int, stride: int, skip: nn.Module) -> None:
        super().__init__()
        self.first = conv_norm_relu(inside, outside, stride=stride)
        self.second = conv_norm_relu(outside, outside)[:2]
        self.skip = skip
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        grown: Tensor = self.relu(self.second(self.first(maps)) + self.skip(maps))
        return grown


def residual_stages(
    widths: Sequence[int], blocks: Sequence[int], skip: Callable[[int, int, int], nn.Module]
) -> nn.Sequential:
    """Stack stages of basic blocks; the first keeps the resolution, each later one halves it.

    skip: builds the way around a block that changes width (from, to) or resolution (stride).
    """
    stacked, inside = [], widths[0]
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            stride = 2 if stage and not block else 1
            same = stride == 1 and inside == width
            around = nn.Identity() if same else skip(inside, width, stride)
            stacked.append(BasicBlock(inside, width, stride, around))
            inside = width
    return nn.Sequential(*stacked)
