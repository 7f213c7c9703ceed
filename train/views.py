"""Training pictures of the mode 'mask': one region of the face is shown, all else hidden, by the code that serves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamer.faces.regions import HIDDEN, REGIONS, inside, region_box
from train.config import Input

VIEWS = tuple(region for region in REGIONS if region != "face")
JITTER = 0.03  # deviation of each edge of a box, as a share of the picture's side: landmarks are never exact


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


def show_views(images: Tensor, points: Tensor, share: float, seen: Input) -> Tensor:
    """Show only one region, drawn at random, of a share of the (N, C, H, W) pictures; all are lifted to 1 at least.

    points: (N, 68, 2) landmarks in their pixels; a picture whose landmarks are NaN is shown whole.
    """
    n, _, height, width = images.shape
    drawn = torch.randint(len(VIEWS), (n,)).numpy()
    hidden = (torch.rand(n) < share).numpy()
    boxes = np.full((n, 4), np.nan, np.float32)
    for number, view in enumerate(VIEWS):
        rows = hidden & (drawn == number)
        boxes[rows] = region_box(points[torch.from_numpy(rows)].numpy(), view, seen.view_margin, seen.eyes)
    boxes += JITTER * height * torch.randn(n, 4).numpy()
    shown = torch.from_numpy(inside(boxes.reshape(-1, 2, 2), height, width)).to(images.device)
    return torch.where(shown[:, None], images.clamp(HIDDEN + 1, 255), float(HIDDEN))
