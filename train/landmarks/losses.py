"""The loss of a landmark network: where points lie, whether they can be seen, whether the face is usable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from train.landmarks.batches.bias import EYES
from train.landmarks.config import LandmarksConfig
from train.models.landmarks import Points

OUTSIDE = 0.4  # weight of points that cannot be seen


def losses(
    found: Points, config: LandmarksConfig, points: Tensor, located: Tensor, visibility: Tensor, usable: Tensor
) -> dict[str, Tensor]:
    """Return the parts of the loss: the normalised error of the points, and cross-entropies of the rest."""
    eyes = (points[:, EYES[0]] - points[:, EYES[1]]).norm(dim=1)
    # A profile's eyes lie close together: its unit is a share of the face's height.
    unit = torch.maximum(eyes, 0.4 * (points[:, 8] - points[:, 27]).norm(dim=1)).clamp(min=1e-3)
    distance = ((found.points - points).square().sum(dim=2) + 1e-8).sqrt() / unit[:, None]
    told = visibility.isfinite()
    weight = (OUTSIDE + (1 - OUTSIDE) * torch.where(told, visibility, 1.0)) * located[:, None]
    error = (distance * weight).sum() / weight.sum().clamp(min=1)
    seen = F.binary_cross_entropy_with_logits(found.visibility[told], visibility[told])
    known = usable.isfinite()
    face = F.binary_cross_entropy_with_logits(found.usable[known], usable[known])
    total = config.points * error + seen + config.usable * face
    return {"total": total, "points": error.detach(), "visibility": seen.detach(), "usable": face.detach()}
