"""Run an expression network that is still torch's on pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.autocast import autocast


def predict(
    network: nn.Module, images: NDArray[np.uint8], device: torch.device, precision: str = "auto", batch: int = 128
) -> Tensor:
    """Return (N, classes) float32 logits of (N, H, W, C) pictures."""
    found = []
    with torch.inference_mode(), autocast(device, precision):
        for first in range(0, len(images), batch):
            pictures = to_tensor(images[first : first + batch]).to(device, memory_format=torch.channels_last)
            found.append(network(pictures).logits.float().cpu())
    return torch.cat(found)


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Turn (N, H, W, C) uint8 into (N, C, H, W) float32 in 0-255."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
