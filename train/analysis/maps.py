"""Maps of many faces, pictures side by side, and which faces to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines import Outputs
from streamer.drawing.heat import colour

BATCH = 128
LEAST = 32  # photos that a mean picture is made of: fewer would show persons


def maps_of(
    outputs: Outputs, network: nn.Module | None, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> Outputs:
    """Return (N, h, w) float32 maps of (N, H, W, C) pictures by name, as far as they can be had.

    'cam': activation map of each face's label. 'attention'. 'saliency': (N, H, W), where there is a network to take
    gradients of.
    """
    maps = {"cam": outputs["cam"][np.arange(len(labels)), labels]} if "cam" in outputs else {}
    maps |= {"attention": outputs["attention"]} if "attention" in outputs else {}
    return maps | ({"saliency": saliency(network, images, labels)} if network is not None else {})


def saliency(network: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return |d logit of the label / d pixel| (Simonyan et al. 2014), the largest over the channels: (N, H, W)."""
    network.eval()
    slopes = []
    for start in range(0, len(images), BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH]))
        pictures = batch.permute(0, 3, 1, 2).float().requires_grad_(True)
        wanted = torch.from_numpy(labels[start : start + BATCH])[:, None]
        (slope,) = torch.autograd.grad(network(pictures).logits.gather(1, wanted).sum(), pictures)
        slopes.append(slope.abs().amax(dim=1).numpy())
    return np.concatenate(slopes).astype(np.float32)


def draw_grid(rows: Mapping[str, Sequence[NDArray[np.uint8]]], path: Path, heads: Sequence[str] = ()) -> None:
    """Draw BGR or grey pictures in named rows under optional heads, as one PNG."""
    from matplotlib.figure import Figure

    columns = max(len(pictures) for pictures in rows.values())
    figure = Figure(figsize=(1.3 * columns + 1.2, 1.3 * len(rows) + 0.4), layout="constrained")
    cells = figure.subplots(len(rows), columns, squeeze=False)
    for line, (name, pictures) in enumerate(rows.items()):
        for column in range(columns):
            axes = cells[line, column]
            axes.set(xticks=[], yticks=[], frame_on=False)
            if column < len(pictures):
                axes.imshow(colour(pictures[column])[..., ::-1])
            if not line and column < len(heads):
                axes.set_title(heads[column], fontsize="small")
        cells[line, 0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=100)


def surest(probabilities: NDArray[np.float32], truth: NDArray[np.int64], label: int, count: int) -> NDArray[np.int64]:
    """Return the rows of a class that are answered rightly, the surest first, at most `count`."""
    right = np.flatnonzero((truth == label) & (probabilities.argmax(axis=1) == label))
    return np.asarray(right[np.argsort(-probabilities[right, label], kind="stable")][:count], np.int64)
