"""Random changes of whole training batches, in one resampling step, on the device where the batch lies."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from train.expression.config import Augment

BRIGHTEST, STEEPEST = 1.8, 1.5  # largest gain and power of `light`; the smallest are their inverses
SMALL = (12, 33)  # pixels of the side of a small face, and qualities of JPEG
QUALITIES = (10, 71)


def augment(images: Tensor, size: int, settings: Augment, matrices: Tensor | None = None) -> Tensor:
    """Rotate, scale, stretch, shift, crop, flip, blur, erase and add noise; change light, size and compression.

    (N, C, H, W) in 0-255 become (N, C, size, size * W / H). matrices: (N, 2, 3), where the caller drew them itself.
    """
    n, channels, height, width = images.shape
    shape = [n, channels, size, round(size * width / height)]
    if matrices is None:
        matrices = random_affine(n, settings, width / height, images.device)
    grid = F.affine_grid(matrices, shape, align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    images = _light(images, settings.light)
    images = _small(images, settings.small)
    images = _blur(images, settings.blur)
    images = _add_noise(images, settings.noise)
    images = _compress(images, settings.jpeg)
    return _erase(images, settings.erase)


def random_affine(n: int, settings: Augment, aspect: float = 1.0, device: torch.device | None = None) -> Tensor:
    """Draw (n, 2, 3) matrices from output to input positions in -1..1; aspect: width / height of the picture."""

    def uniform(bound: float) -> Tensor:
        return (2 * torch.rand(n, device=device) - 1) * bound

    window = 1 / (1 + settings.crop)  # what is seen of a picture that was cut larger
    reach = 1 - window + 2 * settings.shift * window
    angle = uniform(math.radians(settings.degrees))
    scale = window * torch.exp(uniform(math.log1p(settings.scale)))
    stretch = torch.exp(uniform(math.log1p(settings.stretch)))
    flip = torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0) if settings.flip else torch.ones(n, device=device)
    x_scale, y_scale = flip * scale * stretch, scale / stretch
    top = torch.stack([angle.cos() * x_scale, -angle.sin() * y_scale / aspect, uniform(reach)], dim=1)
    bottom = torch.stack([angle.sin() * x_scale * aspect, angle.cos() * y_scale, uniform(reach)], dim=1)
    return torch.stack([top, bottom], dim=1)


def _light(images: Tensor, share: float) -> Tensor:
    """Multiply a share of the batch by 0.55 to 1.8, bend it by a power, and clip what is too bright."""
    if not share:
        return images
    draw = torch.rand(3, len(images), 1, 1, 1, device=images.device)
    gain = torch.exp((2 * draw[0] - 1) * math.log(BRIGHTEST))
    power = torch.exp((2 * draw[1] - 1) * math.log(STEEPEST))
    changed = (gain * 255 * (images.clamp(0, 255) / 255) ** power).clamp(0, 255)
    return torch.where(draw[2] < share, changed, images)


def _small(images: Tensor, share: float) -> Tensor:
    """Make a share of the batch of faces of 12 to 32 pixels, one size a batch, enlarged linearly as a crop is."""
    if not share:
        return images
    rows = torch.rand(len(images), device=images.device) < share
    height, width = images.shape[2:]
    low = int(torch.randint(*SMALL, ()).item())
    if rows.any() and low < height:
        small = F.interpolate(images[rows], (low, max(1, round(low * width / height))), mode="area")
        images = images.clone()
        images[rows] = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)
    return images


def _compress(images: Tensor, share: float) -> Tensor:
    """Write a share of the batch as JPEG of a quality of 10 to 70, and read it again."""
    if not share:
        return images
    chosen = torch.nonzero(torch.rand(len(images)) < share).flatten().tolist()
    qualities = torch.randint(*QUALITIES, (len(images),)).tolist()
    if not chosen:
        return images
    images = images.clone()
    for row in chosen:
        pixels = images[row].round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        written = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, qualities[row]])[1]
        read = np.asarray(cv2.imdecode(written, cv2.IMREAD_UNCHANGED), np.uint8).reshape(pixels.shape)
        images[row] = torch.from_numpy(read).permute(2, 0, 1).to(images)
    return images


def mixup(images: Tensor, targets: Tensor, concentration: float, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Blend each picture and its (classes) target with another of the batch (Zhang et al. 2018); 0 changes nothing.

    groups: (N,) numbers; only pictures of one group are blended.
    """
    if not concentration:
        return images, targets
    draw = torch.distributions.Beta(concentration, concentration).sample((len(images),)).to(images.device)
    other = torch.randperm(len(images), device=images.device) if groups is None else _within(groups).to(images.device)
    share = torch.maximum(draw, 1 - draw)
    blended = images[other].lerp(images, share[:, None, None, None])
    return blended, targets[other].lerp(targets, share[:, None])


def _within(groups: Tensor) -> Tensor:
    """Draw an order of rows in which each group's rows stand in each other's places: (N,)."""
    order = torch.empty(len(groups), dtype=torch.int64)
    for group in sorted(set(groups.tolist())):
        rows = torch.nonzero(groups == group).flatten()
        order[rows] = rows[torch.randperm(len(rows))]
    return order


def _blur(images: Tensor, share: float) -> Tensor:
    """Down-sample a share of the batch and back, as a small or soft face would look."""
    rows = torch.rand(len(images), device=images.device) < share
    if rows.any():
        small = F.interpolate(images[rows], scale_factor=0.4 + 0.4 * torch.rand(1).item(), mode="area")
        images = images.clone()
        images[rows] = F.interpolate(small, size=images.shape[2:], mode="bilinear", align_corners=False)
    return images


def _add_noise(images: Tensor, share: float) -> Tensor:
    """Add Gaussian noise of up to 10 grey levels to a share of the batch."""
    draw = torch.rand(2, len(images), 1, 1, 1, device=images.device)
    return images + (draw[0] < share) * torch.randn_like(images) * (10 * draw[1])


def _erase(images: Tensor, share: float) -> Tensor:
    """Replace a rectangle of 2-20 % of the area by the picture's mean (Zhong et al. 2020)."""
    n, _, height, width = images.shape
    device = images.device
    area = torch.empty(n, device=device).uniform_(0.02, 0.2)
    ratio = torch.exp(torch.empty(n, device=device).uniform_(-0.7, 0.7))
    half_h, half_w = (area * ratio).sqrt() * height / 2, (area / ratio).sqrt() * width / 2
    rows = (torch.arange(height, device=device) - torch.rand(n, 1, device=device) * height).abs() < half_h[:, None]
    columns = (torch.arange(width, device=device) - torch.rand(n, 1, device=device) * width).abs() < half_w[:, None]
    chosen = torch.rand(n, 1, 1, 1, device=device) < share
    hole = rows[:, None, :, None] & columns[:, None, None, :] & chosen
    return torch.where(hole, images.mean(dim=(2, 3), keepdim=True), images)
