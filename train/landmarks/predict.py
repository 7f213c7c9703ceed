"""Run a landmark network that is still torch's on faces, which are cut and looked at as in serving."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines import Crop, Outputs
from streamer.faces.landmarks import look_at
from train.landmarks.batches.faces import Faces
from train.landmarks.config import LandmarksConfig


def predict(network: nn.Module, faces: Faces, config: LandmarksConfig, batch: int = 64) -> NDArray[np.float32]:
    """Return the (N, 68, 2) landmarks, in pixels, of faces in their own boxes; nobody says how far these are turned.

    The network may lie on any device.
    """
    device = next(network.parameters()).device

    def infer(crops: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            found = network(torch.from_numpy(crops).permute(0, 3, 1, 2).float().to(device))
        answers = {"points": found.points, "visibility": found.visibility.sigmoid(), "usable": found.usable.sigmoid()}
        return {name: value.cpu().numpy() for name, value in answers.items()}

    looks = []
    side = config.model.size
    for first in range(0, len(faces), batch):
        part = slice(first, first + batch)
        boxes = list(faces.boxes[part, None])
        looks += look_at(infer, Crop(margin=config.margin), (side, side, 1), faces.pictures[part], boxes)
    return np.concatenate([look.points for look in looks])


def usable(network: nn.Module, images: NDArray[np.uint8], batch: int = 64) -> NDArray[np.float32]:
    """Return the (N,) logits that each of the (N, S, S, 1) crops shows a usable face."""
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode():
        for first in range(0, len(images), batch):
            planes = torch.from_numpy(images[first : first + batch]).permute(0, 3, 1, 2).float()
            found.append(network(planes.to(device)).usable.cpu().numpy())
    return np.asarray(np.concatenate(found), np.float32)
