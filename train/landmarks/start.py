"""Build a landmark network."""

from __future__ import annotations

import torch

from streamer.faces.regions import face_square
from train import loop
from train.checkpoint import State
from train.landmarks.batches.faces import Faces
from train.landmarks.config import LandmarksConfig
from train.models.landmarks import LandmarkNet


def start(config: LandmarksConfig, faces: Faces, device: torch.device) -> State:
    """Build network, average and optimizer from the seed; the points start from the mean of some faces."""
    torch.manual_seed(config.seed)
    model = build(config)
    squares = face_square(faces.boxes, config.margin, 0.0)
    shares = (faces.points - squares[:, None, :2]) / (squares[:, 2] - squares[:, 0])[:, None, None]
    model.mean.copy_(torch.from_numpy(shares.mean(axis=0)))
    return loop.begin(config, model, device)


def build(config: LandmarksConfig) -> LandmarkNet:
    """Build the network of a configuration with weights as drawn."""
    sizes = config.model
    return LandmarkNet(1, sizes.size, sizes.widths, sizes.blocks, sizes.squeeze, sizes.dropout)
