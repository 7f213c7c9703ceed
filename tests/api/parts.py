"""Own parts that need no model: a detector that finds one face, a network file as PyTorch or Keras would write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

import streamer
from streamer.types import Detections
from tests.conftest import fake_classifier

ALONE = ["landmarks.kind=none"]  # nothing is loaded where detector and classifier are given
EXAMPLES = Path(__file__).parents[2] / "streamer" / "demo" / "examples"


class OneFace:
    """Find one face in the middle of every picture; `before` is called with the pictures first."""

    def __init__(self, before: Callable[[Sequence[NDArray[np.uint8]]], None] = lambda images: None) -> None:
        self.before = before
        self.seen: list[NDArray[np.uint8]] = []

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        self.before(images)
        self.seen += [image.copy() for image in images]
        height, width = images[0].shape[:2]
        box = np.array([[width / 4, height / 4, 3 * width / 4, 3 * height / 4]], np.float32)
        return [Detections(box, np.array([0.9], np.float32)) for _ in images]

    def close(self) -> None:
        raise AssertionError("own parts are their owner's to close")


def light(label: int = 1, **changes) -> streamer.Analyzer:
    """Return an analyzer that finds one face everywhere, with one label, and loads no model."""
    values = {"overrides": ALONE, "detector": OneFace(), "classifier": fake_classifier(label)}
    return streamer.Analyzer(**(values | changes))


def write_network(
    path: Path, labels: int = 2, channels: int = 1, *, softmax: bool = False, last: bool = False, side: int = 32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Write a network that answers with a linear map of the mean of each channel; return its weights and biases.

    softmax: probabilities, not logits. last: channels come last, as Keras has them.
    """
    random = np.random.default_rng(3)
    weights, biases = random.normal(0, 4, (labels, channels)).astype(np.float32), np.zeros(labels, np.float32)
    shape = ["n", side, side, channels] if last else ["n", channels, side, side]
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)
    answers = helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["n", labels])
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "weights", "biases"], ["logits" if softmax else "answers"], transB=1),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["answers"], axis=1))
    held = {"axes": np.array([1, 2] if last else [2, 3]), "weights": weights, "biases": biases}
    initial = [onnx.numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "own", [picture], [answers], initial)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return weights, biases
