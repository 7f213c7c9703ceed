"""A trained network as it is served: from uint8 pictures to probabilities, all in one graph."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import EngineSpec, Outputs
from engines.errors import UserError
from train.export import Write, onnx_writer, quiet, traced

LEAST = 32  # pixels of a side, of pictures for a resizable network


class Served(nn.Module):
    """Map uint8 pictures (N, H, W, C) to probabilities, pooled features and, where the networks have them, maps.

    Logits are averaged over the networks and, with `flip`, over the mirror image. The maps are averaged alike, so that
    mean(cam) + bias = logits still holds; features stand side by side. added: (classes,) is added to the logits, for
    another prior than the networks answer for.
    """

    added: Tensor | None

    def __init__(
        self, networks: Sequence[nn.Module], temperature: float = 1.0, flip: bool = False, added: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("added", added)
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
        if self.added is not None:
            logits = logits + self.added
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


def graph_of(served: nn.Module, spec: EngineSpec, images: NDArray[np.uint8], suffix: str) -> Write:
    """Trace the network for any batch size, and picture size where it is resizable; images: (2, H, W, C) examples.

    Returns what writes the graph with a spec inside to a path.
    """
    free = {0: torch.export.Dim("batch")}
    if spec.resizable:
        free |= {axis: torch.export.Dim(name, min=LEAST) for axis, name in ((1, "height"), (2, "width"))}
    program = traced(served, np.ascontiguousarray(images), free)
    return partial(_write_program, program) if suffix == ".pt2" else onnx_writer(program, spec.outputs)


def _write_program(program: Any, spec: EngineSpec, path: Path) -> None:
    program._example_inputs = None  # they would be pickled, and `engines.torch` loads no pickle
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
        node.meta.pop("nn_module_stack", None)
    with quiet():
        torch.export.save(program, path, extra_files={"spec": spec.model_dump_json()})


def check_resizable(served: Served, images: NDArray[np.uint8]) -> None:
    """Raise UserError where the network takes pictures of one size only; images: four of that size."""
    try:
        answer(served, in_fours(images))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"serve.resizable: the network takes pictures of one size only ({error})") from error


def in_fours(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Put every four of (N, H, W, C) pictures together as one: (N // 4, 2H, 2W, C)."""
    height, width, channels = images.shape[1:]
    quarters = images[: len(images) // 4 * 4].reshape(-1, 2, 2, height, width, channels)
    return quarters.transpose(0, 1, 3, 2, 4, 5).reshape(-1, 2 * height, 2 * width, channels)
