"""Training pictures for one network of several regions: what of the face is seen is drawn for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamer.faces.regions import HIDDEN, hidden_boxes, inside, region_box
from streamer.faces.visibility import VisibleRegion
from train.config import Input
from train.data.regions import recipe
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


def covered(
    pictures: NDArray[np.uint8], points: NDArray[np.float32], share: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw something over a share of the faces of (N, H, W, 1) pictures; points: their (N, 68, 2) landmarks.

    Returns the pictures and the (N, 68) visibility of the landmarks, NaN where nothing was drawn.
    """
    random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
    drawn = [str(random.choice(TRAINING)) if random.random() < share else NONE for _ in pictures]
    changed, visibility = occlude(pictures[..., 0], points, drawn, random)
    visibility[[family == NONE for family in drawn]] = np.nan
    return changed[..., None], visibility


def draw_views(visibility: NDArray[np.float32], regions: Sequence[str]) -> list[str]:
    """Draw a region for each of N faces: what an occluder leaves, by (N, 68) visibility; any where nothing is drawn.

    An occluder may leave a region that is not learned, or nothing: then it is any, too.
    """
    drawn = torch.randint(len(regions), (len(visibility),)).tolist()
    left = left_by(visibility)
    return [one if one and one in regions else regions[number] for one, number in zip(left, drawn, strict=True)]


def left_by(visibility: NDArray[np.float32]) -> list[str | None]:
    """Return the region that an occluder leaves of each face, by (N, 68) visibility; None for NaN or where none is."""
    return [VisibleRegion().update(one) for one in visibility]


def shaken(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move every edge of (..., 4) boxes a little."""
    side = (boxes[..., 2:] - boxes[..., :2]).max(axis=-1, keepdims=True)
    return np.asarray(boxes + JITTER * side * torch.randn(boxes.shape).numpy(), np.float32)


def zoom(points: Tensor, views: Sequence[str], matrices: Tensor, shape: tuple[int, int], seen: Input) -> Zoom:
    """Fill each picture with its region, padded to a square, on top of its random changes.

    points: (N, 68, 2) landmarks in the pixels of the changed pictures of `shape` (height, width); where they are NaN
    the whole picture is seen. matrices: (N, 2, 3) from the changed picture to the given one, in -1..1.
    """
    frame = torch.tensor([shape[1], shape[0]], dtype=torch.float32)
    found = [region_box(face, view, seen.margin, seen.eyes) for face, view in zip(points.numpy(), views, strict=True)]
    boxes = torch.from_numpy(shaken(np.stack(found)))
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


def show_views(images: Tensor, points: Tensor, views: Sequence[str], seen: Input) -> Tensor:
    """Hide the parts of the face that the view of each of (N, C, H, W) pictures lacks; all are lifted to 1 at least.

    points: (N, 68, 2) landmarks in their pixels; a picture whose landmarks are NaN is shown whole.
    """
    boxes = shaken(hidden_boxes(points.numpy(), views, recipe(seen)))
    hidden = torch.from_numpy(inside(boxes.reshape(len(images), -1, 2), *images.shape[2:])).to(images.device)
    return torch.where(hidden[:, None], float(HIDDEN), images.clamp(HIDDEN + 1, 255))
