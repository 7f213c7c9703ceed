"""The smallest network that is worth the name, and files that hold it."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper

from tests.conftest import LABELS, expression_spec


class Tiny(torch.nn.Module):
    """Answer with the softmax of one linear map of the mean and the spread of a picture."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc = torch.nn.Linear(2, len(LABELS))

    def forward(self, images):
        pictures = images.to(torch.float32) / 255
        mean = pictures.mean(dim=(1, 2, 3))
        spread = ((pictures - mean[:, None, None, None]) ** 2).mean(dim=(1, 2, 3))
        return (torch.softmax(self.fc(torch.stack([mean, spread], dim=1)), dim=1),)


def write_tiny(folder, given=None):
    """Write the network as `tiny.onnx` and `tiny.pt2`, without a spec as `bare.onnx`, and with a pickle inside."""
    model = Tiny().eval()
    spec = (given or expression_spec(name="tiny")).model_dump_json()
    weight, bias = (t.detach().numpy() for t in (model.fc.weight, model.fc.bias))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 48, 48, 1])
    out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(LABELS)])
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "scale"], ["unit"]),
        helper.make_node("ReduceMean", ["unit", "axes"], ["mean4"], keepdims=1),
        helper.make_node("Sub", ["unit", "mean4"], ["rest"]),
        helper.make_node("Mul", ["rest", "rest"], ["square"]),
        helper.make_node("ReduceMean", ["square", "axes"], ["spread4"], keepdims=1),
        helper.make_node("Reshape", ["mean4", "column"], ["mean"]),
        helper.make_node("Reshape", ["spread4", "column"], ["spread"]),
        helper.make_node("Concat", ["mean", "spread"], ["both"], axis=1),
        helper.make_node("Gemm", ["both", "w", "b"], ["logits"], transB=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    constants = {
        "scale": np.float32(255),
        "axes": np.array([1, 2, 3]),
        "column": np.array([-1, 1]),
        "w": weight,
        "b": bias,
    }
    initial = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", [images], [out], initial)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(proto, folder / "bare.onnx")
    onnx.helper.set_model_props(proto, {"spec": spec})
    onnx.save(proto, folder / "tiny.onnx")
    dynamic = ({0: torch.export.Dim("n", min=1, max=4096)},)
    program = torch.export.export(model, (torch.zeros(2, 48, 48, 1, dtype=torch.uint8),), dynamic_shapes=dynamic)
    torch.export.save(program, folder / "pickled.pt2", extra_files={"spec": spec})
    program._example_inputs = None
    torch.export.save(program, folder / "tiny.pt2", extra_files={"spec": spec})
