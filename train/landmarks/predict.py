"""Run a landmark network that is still torch's on faces."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from streamer.faces.regions import crop, face_square
from train.landmarks.batches.faces import Faces
from train.landmarks.config import LandmarksConfig


def predict(network: nn.Module, faces: Faces, config: LandmarksConfig, batch: int = 64) -> NDArray[np.float32]:
    """Return the (N, 68, 2) landmarks, in pixels, of faces cut by their own boxes as serving cuts them.

    The network may lie on any device.
    """
    device = next(network.parameters()).device
    squares = np.floor(face_square(faces.boxes, config.margin, 0.0) + 0.5)
    side = config.model.size
    crops = np.stack(
        [crop(picture, square, side, side, 1) for picture, square in zip(faces.pictures, squares, strict=True)]
    )
    found = []
    with torch.inference_mode():
        for first in range(0, len(crops), batch):
            planes = torch.from_numpy(crops[first : first + batch]).permute(0, 3, 1, 2).float()
            found.append(network(planes.to(device)).points.cpu().numpy())
    shares = np.concatenate(found)
    sides = (squares[:, 2:] - squares[:, :2])[:, None]
    return np.asarray(squares[:, None, :2] + shares * sides, np.float32)


def usable(network: nn.Module, images: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """Return the (N,) logits that each of the (N, S, S, 1) crops shows a usable face."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        planes = torch.from_numpy(images).permute(0, 3, 1, 2)
        found = [
            network(planes[first : first + batch].float().to(device)).usable for first in range(0, len(planes), batch)
        ]
    return np.asarray(torch.cat(found).cpu().numpy(), np.float32)
