"""Turn a trained detector into one artefact: uint8 pictures in, scores, boxes and points in pixels of the input out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import EngineSpec, load_engine
from engines.manifest import write_entry
from train.export import graph_of, commit

OUTPUTS = ("scores", "boxes", "points")


class ServedDetector(nn.Module):
    """Map uint8 pictures (N, H, W, C) of any size in steps of 32 to scores 0-1, boxes and points in pixels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, cells), (N, cells, 4) xyxy and (N, cells, 5, 2)."""
        maps = self.network(images.permute(0, 3, 1, 2).float())
        return maps.logits.sigmoid(), maps.boxes, maps.points
