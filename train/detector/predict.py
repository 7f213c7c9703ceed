"""Run a network that is still torch's on grey pictures."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from streamer.faces.decode import keep_best
from streamer.types import Detections

LOWEST = 0.05  # score down to which answers are judged


def predict(
    network: nn.Module, images: NDArray[np.uint8], threshold: float = LOWEST, batch: int = 8
) -> list[Detections]:
    """Return the faces of (N, H, W) grey pictures, sides a multiple of 32, wherever the network lies."""
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            pictures = torch.from_numpy(images[first : first + batch])[:, None].float()
            maps = network(pictures.to(device, memory_format=torch.channels_last))
            parts = [part.float().cpu().numpy() for part in (maps.boxes, maps.logits.sigmoid(), maps.points)]
            found += [keep_best(Detections(*rows), threshold) for rows in zip(*parts, strict=True)]
    return found
