"""A trained landmark network as it is served: uint8 crops in; points, visibility and usable out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from train.export import Write, onnx_writer, traced

OUTPUTS = ("points", "visibility", "usable")


class ServedLandmarks(nn.Module):
    """Map grey uint8 crops (N, S, S, 1) to points (N, 68, 2) in shares of the side, visibility (N, 68), usable (N,).

    seen, usable: logits of the borders chosen on held-back people, where the scores are to be 0.5.
    """

    def __init__(self, network: nn.Module, seen: float = 0.0, usable: float = 0.0) -> None:
        super().__init__()
        self.network, self.seen, self.usable = network.eval(), seen, usable

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Answer with scores in 0-1."""
        count, height, width, channels = images.shape
        found = self.network(images.reshape(count, channels, height, width).float())
        return found.points, (found.visibility - self.seen).sigmoid(), (found.usable - self.usable).sigmoid()


def graph_of(served: ServedLandmarks, side: int) -> Write:
    """Trace the network for any number of crops of one side; return what writes it with a spec."""
    example = np.zeros((2, side, side, 1), np.uint8)
    return onnx_writer(traced(served, example, {0: torch.export.Dim("batch")}), OUTPUTS)
