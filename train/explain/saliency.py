"""Which pixels move a class score (Simonyan et al. 2014; Rao & Li, Fig. 5 to 8)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from streamer.explain.maps import levels
from train.data import FaceSet
from train.explain.maps import draw_grid
from train.report import table


def saliency(network: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return |d logit of the label / d pixel|, the largest over the channels: (N, H, W) for (N, H, W, C) pictures."""
    pictures = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().requires_grad_(True)
    logits = network.eval()(pictures).logits
    (slope,) = torch.autograd.grad(logits.gather(1, torch.from_numpy(labels)[:, None]).sum(), pictures)
    return np.asarray(slope.abs().amax(dim=1).numpy(), np.float32)


def compare(sources: Sequence[tuple[str, nn.Module]], rows: FaceSet, folder: Path) -> dict[str, Any]:
    """Write mean saliency maps of several networks, or of one after several epochs, as `saliency.md`, `.json`, `.png`.

    Per network: how concentrated its maps are (the smallest share of pixels that holds half of them) and how much each
    face's map is like that of the last network (mean correlation). Only means over faces are drawn. Returns the JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    maps = {name: saliency(network, rows.images, rows.labels) for name, network in sources}
    last = list(maps.values())[-1]
    values = {
        name: {"half": _concentration(own), "like_last": _likeness(own, last), "faces": len(rows)}
        for name, own in maps.items()
    }
    lines: dict[str, list[NDArray[np.uint8]]] = {}
    present = [number for number in range(len(rows.classes)) if (rows.labels == number).any()]
    for name, own in maps.items():
        lines[name] = [_drawn(own[rows.labels == number].mean(axis=0)) for number in present]
    draw_grid(lines, folder / "saliency.png", [rows.classes[number] for number in present])
    (folder / "saliency.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    text = [(name, f"{100 * one['half']:.1f}", f"{one['like_last']:.3f}") for name, one in values.items()]
    head = f"{len(rows):,} faces. Half of the saliency lies on this share of the pixels; likeness to the last network."
    written = table(("network", "half on %", "like the last"), text)
    (folder / "saliency.md").write_text(
        f"# Saliency\n\n{head}\n\n{written}\n\n![mean maps](saliency.png)\n", encoding="utf-8"
    )
    return values


def _concentration(maps: NDArray[np.float32]) -> float:
    falling = -np.sort(-maps.reshape(len(maps), -1), axis=1)
    shares = falling.cumsum(axis=1) / np.maximum(falling.sum(axis=1, keepdims=True), 1e-12)
    return float((shares < 0.5).mean())


def _likeness(maps: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """Return the mean correlation of maps with others of the same faces, brought to the same size."""
    size = others.shape[2], others.shape[1]
    fitted = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in maps])
    pairs = zip(fitted.reshape(len(maps), -1), others.reshape(len(maps), -1), strict=True)
    return float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs if a.std() and b.std()]))


def _drawn(mean: NDArray[np.float32]) -> NDArray[np.uint8]:
    return cv2.applyColorMap(levels(mean), cv2.COLORMAP_JET).astype(np.uint8)
