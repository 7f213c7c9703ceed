"""Random changes of whole training batches, in one resampling step."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from train.config import Augment


def augment(images: Tensor, size: int, settings: Augment) -> Tensor:
    """Rotate, scale, stretch, shift, flip, blur, erase and add noise; (N, C, H, W) in 0-255 to (N, C, size, size)."""
    grid = F.affine_grid(random_affine(len(images), settings), [len(images), images.shape[1], size, size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    images = _blur(images, settings.blur)
    chosen = torch.rand(len(images), 1, 1, 1) < settings.noise
    images = images + chosen * torch.randn_like(images) * (10 * torch.rand(len(images), 1, 1, 1))
    return _erase(images, settings.erase)


def random_affine(n: int, settings: Augment) -> Tensor:
    """Draw (n, 2, 3) matrices from output to input positions in -1..1."""

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(n) - 1) * bound

    angle = uniform(math.radians(settings.degrees))
    scale = torch.exp(uniform(math.log1p(settings.scale)))
    stretch = torch.exp(uniform(math.log1p(settings.stretch)))
    flip = torch.where(torch.rand(n) < 0.5, -1.0, 1.0) if settings.flip else torch.ones(n)
    x_scale, y_scale = flip * scale * stretch, scale / stretch
    top = torch.stack([angle.cos() * x_scale, -angle.sin() * y_scale, uniform(2 * settings.shift)], dim=1)
    bottom = torch.stack([angle.sin() * x_scale, angle.cos() * y_scale, uniform(2 * settings.shift)], dim=1)
    return torch.stack([top, bottom], dim=1)


def _blur(images: Tensor, share: float) -> Tensor:
    """Down-sample a share of the batch and back, as a small or soft face would look."""
    rows = torch.rand(len(images)) < share
    if rows.any():
        size = images.shape[-1]
        small = F.interpolate(images[rows], scale_factor=0.4 + 0.4 * torch.rand(1).item(), mode="area")
        images = images.clone()
        images[rows] = F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    return images


def _erase(images: Tensor, share: float) -> Tensor:
    """Replace a rectangle of 2-20 % of the area by the picture's mean (Zhong et al. 2020)."""
    n, _, height, width = images.shape
    area, ratio = torch.empty(n).uniform_(0.02, 0.2), torch.exp(torch.empty(n).uniform_(-0.7, 0.7))
    half_h, half_w = (area * ratio).sqrt() * height / 2, (area / ratio).sqrt() * width / 2
    rows = (torch.arange(height) - (torch.rand(n, 1) * height)).abs() < half_h[:, None]
    columns = (torch.arange(width) - (torch.rand(n, 1) * width)).abs() < half_w[:, None]
    hole = (rows[:, None, :, None] & columns[:, None, None, :]) & (torch.rand(n, 1, 1, 1) < share)
    return torch.where(hole, images.mean(dim=(2, 3), keepdim=True), images)
