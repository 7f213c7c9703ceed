"""The int8 form of a network, calibrated on real faces; a form that answers worse is refused.

NNCF quantises ONNX files, for CPUs. In exported programs, for NVIDIA, what convolutions and linear layers take is
rounded as TensorRT asks for it: inputs by one range a layer, weights by one for each channel.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import engines.openvino  # noqa: F401  keeps OpenVINO's telemetry, which NNCF would use too, out of reach
from engines.torch import read_program
from train.expression.batches.cutting import as_seen, located, needs
from train.expression.batches.rows import read
from train.expression.config import Data, Input
from train.expression.evaluate import Evaluation

log = logging.getLogger(__name__)

FACES = 512
BATCH = 64  # faces
QUANTISED = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
LEAST_RANGE = 1e-8  # of a layer that only ever saw zeros
MOST_LOST = 0.003  # accuracy on the validation split


def calibration_faces(data: Data, seen: Input, seed: int) -> NDArray[np.uint8]:
    """Choose pictures of the training split as the network sees them: (N, H, W, C), 512 of each of its regions.

    The pictures need no label; of several sets each gives as many.
    """
    if data.sets:
        ways = [
            (data.alone(one), seen.model_copy(update={"face_box": way})) for one in data.sets for way in one.face_box
        ]
        own = [_some_faces(one, cut, seed, FACES // len(ways) + 1) for one, cut in ways]
        return np.concatenate(own)[np.random.default_rng(seed).permutation(sum(map(len, own)))[:FACES]]
    return _some_faces(data, seen, seed, FACES)


def _some_faces(data: Data, seen: Input, seed: int, most: int) -> NDArray[np.uint8]:
    rows = read(data, data.train)
    rows = located(rows[np.random.default_rng(seed).permutation(len(rows))[:most]], needs(seen), data)
    regions = seen.regions or (seen.region,)
    views = [seen.model_copy(update={"region": region}) for region in regions]
    return np.concatenate([as_seen(rows, view).images for view in views])


def quantised(path: Path, images: NDArray[np.uint8]) -> Any:
    """Return the ONNX model with weights and activations of its convolutions in int8; the ranges come from `images`.

    Raises ModuleNotFoundError where NNCF is not installed.
    """
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own function turns down handlers that others share
    faces = nncf.Dataset([images[row : row + 1] for row in range(len(images))], lambda face: {"images": face})
    # Processors without VNNI add pairs of products in 16 bits: with weights of 7 bits that is always enough.
    narrow = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    return nncf.quantize(onnx.load(path), faces, subset_size=len(images), advanced_parameters=narrow)


def rounded(path: Path, images: NDArray[np.uint8]) -> nn.Module:
    """Return the network of an exported program that rounds what its convolutions and linear layers take to int8.

    The ranges come from `images`.
    """
    program, _ = read_program(path, None)
    network: torch.fx.GraphModule = program.module()
    ranges, graph = _Ranges(network), network.graph
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            ranges.run(torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])))
    for number, (node, found) in enumerate(ranges.found.items()):
        taken = []
        with graph.inserting_before(node):
            for values, what, largest in zip(node.args, ("input", "weight"), found, strict=False):
                network.register_buffer(f"largest_{what}_{number}", largest.clamp(min=LEAST_RANGE))
                constant = graph.get_attr(f"largest_{what}_{number}")
                taken.append(graph.call_function(torch.ops.engines.int8.default, (values, constant)))
        node.args = (*taken, *node.args[2:])
    network.recompile()
    return network


class _Ranges(torch.fx.Interpreter):
    """Run a traced network and note the largest absolute values that each convolution and linear layer takes.

    found: by layer, of its inputs () and of each channel of its weights (C, 1, ...).
    """

    def __init__(self, network: torch.fx.GraphModule) -> None:
        super().__init__(network)
        self.found: dict[torch.fx.Node, tuple[Tensor, Tensor]] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run one operation."""
        if n.target in QUANTISED:
            inputs, weights = (self.env[one].abs() for one in n.all_input_nodes[:2])
            before, _ = self.found.get(n, (torch.zeros(()), None))
            each = weights.amax(dim=tuple(range(1, weights.dim())), keepdim=True)
            self.found[n] = torch.maximum(before, inputs.max()), each
        return super().run_node(n)


def check_accuracy(before: Sequence[Evaluation], after: Sequence[Evaluation], name: str) -> None:
    """Compare two forms on the validation rows, the configured region first.

    Raises RuntimeError where more than 0.3 points of accuracy are lost, there or in the mean of all regions.
    """
    split = before[0].split
    pairs = [(old.first.accuracy, new.first.accuracy) for old, new in zip(before, after, strict=False)]
    same = (before[0].probabilities.argmax(axis=1) == after[0].probabilities.argmax(axis=1)).mean()
    log.info("%s: accuracy %.4f after %.4f, %.4f same answers", name, *reversed(pairs[0]), same)
    for what, (old, new) in (
        (split, pairs[0]),
        (f"{split}, mean of the regions or sets", np.mean(pairs, axis=0).tolist()),
    ):
        if old - new > MOST_LOST:
            raise RuntimeError(
                f"{name}: accuracy on {what} falls from {100 * old:.2f} to {100 * new:.2f} %, expected at most "
                f"{100 * MOST_LOST:.1f} points less; it is not written"
            )
