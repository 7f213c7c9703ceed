"""What a detector is told: which cells answer for which face, and how wrong score, box and points are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from train.detector.config import Losses
from train.models.detector import Maps

RADIUS = 2.5  # strides around a face's centre in which cells may answer for it (YOLOX: 2.5)
CANDIDATES = 10  # whose IoU adds up to the number of cells that a face gets (YOLOX: 10)
OUTSIDE = 1e5  # added to the cost of a cell that may not answer
FAR = 1e8


class Truth(NamedTuple):
    """Hold the faces of N scenes, at most M in each.

    boxes: (N, M, 4). points: (N, M, 5, 2), NaN where nobody said them. kind: (N, M) int, 1 a face, -1 disputed, 0 no
    entry.
    """

    boxes: Tensor
    points: Tensor
    kind: Tensor


class Assignment(NamedTuple):
    """Say for every cell of N scenes which face it answers for.

    face: (N, cells) row of the face. chosen: (N, cells) bool. overlap: (N, cells) IoU of its box with that face's.
    """

    face: Tensor
    chosen: Tensor
    overlap: Tensor


@torch.no_grad()
def assign(maps: Maps, truth: Truth) -> Assignment:
    """Give each face the cells that predict it best, scene by scene: SimOTA (Ge et al. 2021, YOLOX, section 2.3).

    The cost is the score's cross-entropy plus 3 times -log IoU; a face gets as many cells as its ten best IoUs add up
    to.
    """
    scene, row = (truth.kind == 1).nonzero(as_tuple=True)  # K faces
    boxes = truth.boxes[scene, row]
    overlap = iou(boxes[:, None], maps.boxes[scene])  # (K, cells)
    distance = (maps.centres - centre_of(boxes)[:, None]).abs().amax(dim=2) / maps.strides
    cost = F.softplus(-maps.logits)[scene] - 3 * torch.log(overlap + 1e-6) + OUTSIDE * (distance > RADIUS)
    wanted = overlap.topk(CANDIDATES, dim=1).values.sum(dim=1).long().clamp(min=1)
    best = cost.topk(CANDIDATES, dim=1, largest=False)
    rank = torch.arange(CANDIDATES, device=cost.device)
    face, rank = ((rank < wanted[:, None]) & (best.values < OUTSIDE)).nonzero(as_tuple=True)
    price, cell = best.values[face, rank], best.indices[face, rank]
    cheapest = torch.full_like(maps.logits, FAR)  # a cell that several faces want goes to the cheapest
    place = scene[face] * maps.logits.shape[1] + cell
    cheapest.view(-1).scatter_reduce_(0, place, price, "amin")
    face, cell = face[won := price == cheapest.view(-1)[place]], cell[won]
    found = Assignment(torch.zeros_like(maps.logits, dtype=torch.long), cheapest < FAR, torch.zeros_like(maps.logits))
    found.face[scene[face], cell], found.overlap[scene[face], cell] = row[face], overlap[face, cell]
    return found


def losses(maps: Maps, truth: Truth, weights: Losses) -> dict[str, Tensor]:
    """Return the loss of score, box and points and their weighted sum, 'total', each a scalar."""
    found = assign(maps, truth)
    target = torch.where(found.chosen, found.overlap, 0.0)
    # Quality focal loss (Li et al. 2020, Eq. 2, beta 2): the score is taught the IoU that its box reaches.
    entropy = F.binary_cross_entropy_with_logits(maps.logits, target, reduction="none")
    quality = (target - maps.logits.sigmoid()).square() * entropy
    count = target.sum().clamp(min=1)
    score = (quality * ~(in_disputed(maps, truth) & ~found.chosen)).sum() / count
    scene, cell = found.chosen.nonzero(as_tuple=True)
    row = found.face[scene, cell]
    weight = target[scene, cell] / count
    wanted = truth.boxes[scene, row]
    box = (efficient_iou_loss(maps.boxes[scene, cell], wanted) * weight).sum()
    side = (wanted[:, 2:] - wanted[:, :2]).prod(dim=1).clamp(min=1).sqrt()
    there = truth.points[scene, row]
    off = torch.where(there.isfinite(), maps.points[scene, cell] - there.nan_to_num(), 0.0) / side[:, None, None]
    points = (F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.1, reduction="none").mean(dim=(1, 2)) * weight).sum()
    total = score + weights.box * box + 10 * weights.points * points
    return {"score": score, "box": box, "points": points, "total": total}


def in_disputed(maps: Maps, truth: Truth) -> Tensor:
    """Say of each cell (N, cells) whether its centre lies in a disputed face."""
    scene, row = (truth.kind == -1).nonzero(as_tuple=True)
    boxes = truth.boxes[scene, row, None]
    inside = ((maps.centres >= boxes[..., :2]) & (maps.centres <= boxes[..., 2:])).all(dim=2)  # (K, cells)
    count = torch.zeros_like(maps.logits).index_add_(0, scene, inside.to(maps.logits.dtype))
    return count > 0


def efficient_iou_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """Return (K,) EIoU losses of (K, 4) boxes (Zhang et al. 2021, Eq. 5)."""
    hull = torch.maximum(found[:, 2:], wanted[:, 2:]) - torch.minimum(found[:, :2], wanted[:, :2])
    apart = (centre_of(found) - centre_of(wanted)).square().sum(dim=1) / hull.square().sum(dim=1).clamp(min=1e-6)
    sides = ((found[:, 2:] - found[:, :2]) - (wanted[:, 2:] - wanted[:, :2])).square() / hull.square().clamp(min=1e-6)
    return 1 - iou(found, wanted) + apart + sides.sum(dim=1)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Return the IoU of boxes (..., 4) that broadcast against each other."""
    low, high = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1) for boxes in (one, other)]
    return common / (areas[0] + areas[1] - common).clamp(min=1e-6)


def centre_of(boxes: Tensor) -> Tensor:
    """Return the (..., 2) centres of (..., 4) boxes."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2
