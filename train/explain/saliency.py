"""Which pixels move a class score (Simonyan et al. 2014; Rao & Li, Fig. 5 to 8)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


def saliency(network: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return |d logit of the label / d pixel|, the largest over the channels: (N, H, W) for (N, H, W, C) pictures."""
    pictures = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().requires_grad_(True)
    logits = network.eval()(pictures).logits
    (slope,) = torch.autograd.grad(logits.gather(1, torch.from_numpy(labels)[:, None]).sum(), pictures)
    return np.asarray(slope.abs().amax(dim=1).numpy(), np.float32)
