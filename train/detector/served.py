"""A trained detector as it is served: uint8 pictures in, scores, boxes and points in pixels of the input out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from train.export import Write, onnx_writer, traced

OUTPUTS = ("scores", "boxes", "points")
LARGEST = 512  # times 32 pixels: the longest side that the graph takes


class ServedDetector(nn.Module):
    """Map grey uint8 pictures (N, H, W, 1) of any size in steps of 32 to scores 0-1, boxes and points in pixels.

    shift: logit of the working point, where the score is to be 0.5.
    """

    def __init__(self, network: nn.Module, shift: float = 0.0) -> None:
        super().__init__()
        self.network = network.eval()
        self.shift = shift

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, cells), (N, cells, 4) xyxy and (N, cells, 5, 2)."""
        count, height, width, channels = images.shape
        planes = images.reshape(count, channels, height, width)  # with one channel; a transpose costs OpenVINO 2 ms
        maps = self.network(planes.float())
        return (maps.logits - self.shift).sigmoid(), maps.boxes, maps.points


def graph_of(served: ServedDetector) -> Write:
    """Trace the network for any number of pictures of any size in steps of 32; return what writes it with a spec."""
    rows, columns = torch.export.Dim("rows", max=LARGEST), torch.export.Dim("columns", max=LARGEST)
    free = {0: torch.export.Dim("batch"), 1: 32 * rows, 2: 32 * columns}
    return onnx_writer(traced(served, np.zeros((2, 192, 256, 1), np.uint8), free), OUTPUTS)
