"""Training pictures for one network of several regions: one region is drawn for each picture, and shown alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamer.faces.regions import HIDDEN, inside, region_box
from train.config import Input
from train.occluders import NONE, TRAINING, occlude

JITTER = 0.06  # deviation of each edge of a box, as a share of its longer side: landmarks are never exact


class Zoom(NamedTuple):
    """Say what is seen of N pictures: matrices (N, 2, 3) from output to input, and the (N, 2) shares of the output,
    across and down, that the region fills; the rest is padding.
    """

    matrices: Tensor
    extent: Tensor


def move(points: NDArray[np.float32], matrices: Tensor, shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Move (N, 68, 2) landmarks of pictures of `shape` with them to the pixels of pictures of `size` (height, width).

    matrices: (N, 2, 3) from output to input positions in -1..1, as `random_affine` draws them.
    """
    before = torch.from_numpy(points) / torch.tensor([shape[1], shape[0]]) * 2 - 1
    matrices = matrices.cpu().float()
    back = torch.linalg.inv(matrices[:, :, :2])
    after = (before - matrices[:, None, :, 2]) @ back.transpose(1, 2)
    moved: Tensor = (after + 1) / 2 * torch.tensor([size[1], size[0]])
    return moved


def covered(pictures: NDArray[np.uint8], points: NDArray[np.float32], share: float) -> NDArray[np.uint8]:
    """Draw something over a share of the faces of (N, H, W, 1) pictures; points: their (N, 68, 2) landmarks."""
    if not share:
        return pictures
    random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
    drawn = [str(random.choice(TRAINING)) if random.random() < share else NONE for _ in pictures]
    return occlude(pictures[..., 0], points, drawn, random)[0][..., None]


def draw_boxes(points: Tensor, seen: Input, margin: float) -> NDArray[np.float32]:
    """Draw a region for each of (N, 68, 2) landmarks; return its slightly wrong (N, 4) box, NaN without landmarks.

    The region 'face' has NaN too: all of the picture.
    """
    drawn = torch.randint(len(seen.regions), (len(points),)).numpy()
    boxes = np.full((len(points), 4), np.nan, np.float32)
    for number, region in enumerate(seen.regions):
        rows = drawn == number
        if region != "face":
            boxes[rows] = region_box(points[torch.from_numpy(rows)].numpy(), region, margin, seen.eyes)
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
    return np.asarray(boxes + JITTER * side * torch.randn(len(points), 4).numpy(), np.float32)


def zoom(points: Tensor, matrices: Tensor, shape: tuple[int, int], seen: Input) -> Zoom:
    """Fill the picture with the region that is drawn for it, padded to a square, on top of its random changes.

    points: (N, 68, 2) landmarks in the pixels of the changed pictures of `shape` (height, width); where they are NaN
    the whole picture is seen. matrices: (N, 2, 3) from the changed picture to the given one, in -1..1.
    """
    frame = torch.tensor([shape[1], shape[0]], dtype=torch.float32)
    boxes = torch.from_numpy(draw_boxes(points, seen, seen.margin))
    boxes = torch.where(boxes.isfinite(), boxes, torch.cat([torch.zeros(2), frame])).to(matrices.device)
    frame = frame.to(matrices.device)
    low, high = boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    side = (high - low).amax(dim=1, keepdim=True)
    centre, half = (low + high) / frame - 1, side / frame
    turn = matrices[:, :, :2]
    shift = (turn @ centre[:, :, None]) + matrices[:, :, 2:]
    return Zoom(torch.cat([turn * half[:, None, :], shift], dim=2), (high - low) / side)


def pad(images: Tensor, extent: Tensor, padding: int) -> Tensor:
    """Replace by the constant `padding` what lies outside the middle (N, 2) shares of (N, C, H, W) pictures."""
    height, width = images.shape[2:]
    across = (torch.arange(width, device=images.device) + 0.5).mul(2 / width).sub(1).abs()
    down = (torch.arange(height, device=images.device) + 0.5).mul(2 / height).sub(1).abs()
    shown = (across[None, None, :] < extent[:, 0, None, None]) & (down[None, :, None] < extent[:, 1, None, None])
    return torch.where(shown[:, None], images, float(padding))


def show_views(images: Tensor, points: Tensor, share: float, seen: Input) -> Tensor:
    """Hide all but a drawn region of a share of the (N, C, H, W) pictures; all are lifted to 1 at least.

    points: (N, 68, 2) landmarks in their pixels; a picture whose landmarks are NaN is shown whole.
    """
    n, _, height, width = images.shape
    boxes = draw_boxes(points, seen, seen.view_margin)
    boxes[(torch.rand(n) >= share).numpy()] = np.nan
    shown = torch.from_numpy(inside(boxes.reshape(-1, 2, 2), height, width)).to(images.device)
    return torch.where(shown[:, None], images.clamp(HIDDEN + 1, 255), float(HIDDEN))
