"""Own expression networks, made to say what they are: a model file as the analyzer takes it, with its spec inside."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines import Crop, EngineSpec
from engines.errors import UserError

SUM = 0.01  # by which probabilities may miss 1


def convert_classifier(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    labels: Sequence[str],
    *,
    rgb: bool = True,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    logits: bool = True,
    margin: float = 0.0,
) -> Path:
    """Write an own ONNX network as `out` (.xml, with its weights in a .bin beside it), for `Analyzer(classifier=out)`.

    The network takes a batch of face crops, NCHW or NHWC, of 1 channel (grey) or 3, and answers a row of numbers each,
    in the order of `labels`. rgb: it was trained on colours in that order, not BGR. mean, std: values of 0-1 less
    `mean`, divided by `std`, are what it expects, one number or one a channel in its order. logits: a softmax is still
    to be taken of its answers. margin: what the crop shows around the face, as a share of its side. Returns `out`.

    Raises UserError with one line where the network does not fit what is said of it, or cannot be read or written.
    """
    from engines.openvino import CORE, REFUSALS

    model, out = Path(model), Path(out)
    if out.suffix != ".xml":
        raise UserError(f"{out}: expected a name like {out.stem}.xml to write the network to")
    labels = [labels] if isinstance(labels, str) else list(labels)
    if len(labels) < 2 or len(set(labels)) != len(labels) or not all(isinstance(one, str) and one for one in labels):
        raise UserError(f"labels: expected two different names or more, in the network's order, found {labels}")
    if not model.is_file():
        raise UserError(f"{model}: expected a model file, found none")
    try:
        spec = _describe(CORE.read_model(model), model, labels, margin)
        bare, network = (
            _prepared(CORE.read_model(model), spec, model, rgb, mean, std, softmax) for softmax in (False, logits)
        )
        _try(bare, spec, model, logits)
        network.set_rt_info(spec.model_dump_json(), ["spec"])
        _save(network, out)
    except REFUSALS as error:
        raise UserError(f"{model}: cannot be converted: {str(error).strip().splitlines()[-1]}") from error
    return out


def _describe(network: Any, model: Path, labels: Sequence[str], margin: float) -> EngineSpec:
    """Write the spec of a network from its input."""
    if len(network.inputs) != 1:
        raise UserError(f"{model}: expected one input, a batch of pictures, found {len(network.inputs)}")
    shape = [size.get_length() if size.is_static else None for size in _shape(network)]
    channels: Any = shape[_channel_axis(shape, model)]
    height, width = shape[2:] if _channel_axis(shape, model) == 1 else shape[1:3]
    if height is None or width is None:
        raise UserError(f"{model}: expected a fixed height and width of its input, found {shape}")
    if not -0.5 <= margin <= 1:
        raise UserError(f"margin: expected -0.5 to 1, a share of the face's side, found {margin}")
    return EngineSpec(
        name=model.stem,
        task="expression",
        height=height,
        width=width,
        channels=channels,
        crop=Crop(margin=margin),
        labels=tuple(labels),
        outputs=("probabilities",),
    )


def _shape(network: Any) -> list[Any]:
    shape = network.inputs[0].get_partial_shape()
    return list(shape) if shape.rank.is_static else []


def _channel_axis(shape: Sequence[int | None], model: Path) -> int:
    """Return 1 for a network that takes NCHW, 3 for NHWC."""
    axes = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in (1, 3)]
    if not axes:
        raise UserError(f"{model}: expected an input (N, C, H, W) or (N, H, W, C) of 1 or 3 channels, found {shape}")
    return axes[0]


def _prepared(
    network: Any,
    spec: EngineSpec,
    model: Path,
    rgb: bool,
    mean: float | Sequence[float],
    std: float | Sequence[float],
    softmax: bool,
) -> Any:
    """Put into the graph what is to be done before and after: it then takes uint8 NHWC pictures, grey or BGR."""
    import openvino as ov
    from openvino import opset13 as ops
    from openvino.preprocess import PrePostProcessor

    axis = _channel_axis([size.get_length() if size.is_static else None for size in _shape(network)], model)
    size = (-1, spec.channels, spec.height, spec.width) if axis == 1 else (-1, spec.height, spec.width, spec.channels)
    network.reshape(list(size))
    answers = _answers(network, spec, model)
    output = ops.softmax(answers, 1) if softmax else answers
    result = ops.result(output)
    result.output(0).set_names({"probabilities"})
    network = ov.Model([result], network.get_parameters(), spec.name)
    steps = PrePostProcessor(network)
    picture = steps.input(0)
    picture.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    picture.model().set_layout(ov.Layout("NCHW" if axis == 1 else "NHWC"))
    done = picture.preprocess().convert_element_type(ov.Type.f32)
    if rgb and spec.channels == 3:
        done = done.reverse_channels()
    means, deviations = _each("mean", mean, spec.channels), _each("std", std, spec.channels)
    if not all(one > 0 for one in deviations):
        raise UserError(f"std: expected numbers above 0, found {std}")
    done.scale(255.0).mean(means).scale(deviations)
    return steps.build()


def _answers(network: Any, spec: EngineSpec, model: Path) -> Any:
    """Return what gives the first output that has a number for each label."""
    found = []
    for output in network.outputs:
        shape = output.get_partial_shape()
        sizes = [str(size) for size in shape] if shape.rank.is_static else []
        if len(sizes) == 2 and sizes[1] == str(len(spec.labels)):
            return output.get_node().input_value(0)
        found.append(f"({', '.join(sizes)})")
    raise UserError(
        f"{model}: expected an output (N, {len(spec.labels)}), one for each label, found {' and '.join(found)}"
    )


def _each(name: str, value: float | Sequence[float], channels: int) -> list[float]:
    values = [float(one) for one in np.atleast_1d(np.asarray(value, float))]
    values = values * channels if len(values) == 1 else values
    if len(values) != channels or not np.isfinite(values).all():
        raise UserError(f"{name}: expected one number or {channels}, one a channel, found {value}")
    return values


def _try(network: Any, spec: EngineSpec, model: Path, logits: bool) -> None:
    """Run some pictures without the softmax. Raises UserError where answers are probabilities against what is said."""
    from engines.openvino import COMPILING, CORE

    pictures = np.zeros((4, *spec.trial[1:]), np.uint8)  # black, white, a brighter half, noise
    pictures[1], pictures[2, : spec.trial[1] // 2] = 255, 180
    pictures[3] = np.random.default_rng(0).integers(0, 256, spec.trial[1:], np.uint8)
    with COMPILING:
        compiled = CORE.compile_model(network, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})
    found = compiled([pictures])[0]
    if not np.isfinite(found).all():
        raise UserError(f"{model}: expected numbers, found answers that are none: do mean and std fit?")
    are_shares = found.min() > -SUM and np.abs(found.sum(axis=1) - 1).max() < SUM
    if logits and are_shares:
        raise UserError(f"{model}: expected logits, found probabilities, which sum to 1: say logits=False")
    if not logits and not are_shares:
        answer = ", ".join(f"{one:.2f}" for one in found[-1])
        raise UserError(f"{model}: expected probabilities, which sum to 1, found {answer}: say logits=True")


def _save(network: Any, out: Path) -> None:
    import openvino as ov

    try:
        ov.save_model(network, out, compress_to_fp16=False)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{out}: cannot be written: {reason}") from error
