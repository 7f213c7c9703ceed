"""A trained network as it is served: from uint8 pictures to probabilities, all in one graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import Outputs


class Served(nn.Module):
    """Map uint8 pictures (N, H, W, C) to probabilities, pooled features and, where the networks have them, maps.

    Logits are averaged over the networks and, with `flip`, over the mirror image. The maps are averaged alike, so that
    mean(cam) + bias = logits still holds; features stand side by side.
    """

    def __init__(self, networks: Sequence[nn.Module], temperature: float = 1.0, flip: bool = False) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.temperature = temperature
        self.flip = flip
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the values of `look`, as exported programs do."""
        return tuple(self.look(images).values())

    def look(self, images: Tensor) -> dict[str, Tensor]:
        """Return probabilities (N, classes), features (N, K), cam (N, classes, h, w), attention (N, h, w) by name."""
        pictures = images.permute(0, 3, 1, 2).float()
        outputs = [self._one(network, pictures) for network in self.networks]
        logits = torch.stack([output["logits"] for output in outputs]).mean(dim=0)
        found = {
            "probabilities": torch.softmax(logits / self.temperature, dim=1),
            "features": torch.cat([output["features"] for output in outputs], dim=1),
        }
        for name in ("cam", "attention"):
            maps = [output[name] for output in outputs if name in output]
            if len(maps) == len(outputs):
                found[name] = torch.stack(maps).mean(dim=0)
        return found

    def _one(self, network: nn.Module, pictures: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = network(pictures).present()
        if not self.flip:
            return seen
        mirrored = network(pictures.flip(3)).present()
        return {name: (value + _unmirror(name, mirrored[name])) / 2 for name, value in seen.items()}


def _unmirror(name: str, value: Tensor) -> Tensor:
    return value.flip(-1) if name in {"cam", "attention"} else value


@torch.inference_mode()
def answer(served: Served, images: NDArray[np.uint8], batch: int = 128) -> Outputs:
    """Run the network in f32 where it lies; return its outputs by name."""
    device = next(served.parameters()).device
    pieces = []
    for start in range(0, max(len(images), 1), batch):
        found = served.look(torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).to(device))
        pieces.append({name: value.cpu().numpy() for name, value in found.items()})
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
