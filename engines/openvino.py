"""OpenVINO on CPUs: ONNX or IR files, one inference stream an engine, compiled models kept in a cache."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError

# OpenVINO reports its import over the network, from a thread that outlives it; without its telemetry package it does
# not. A tool that watches faces sends nothing anywhere.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

from engines import EngineSpec, Outputs, check_batch  # noqa: E402

# What OpenVINO is asked for: an int8 file keeps its quantised layers, the rest is f32. CPUs run f16 on slow kernels.
HINTS = {"f32": "f32", "bf16": "bf16", "int8": "f32"}
PIECE = 8  # pictures a call: more at once are no faster, and every size up to it can have a graph of its own
OFTEN = 10  # times that a shape must occur before it gets a compiled graph of its own (20 to 200 ms)
MOST_SHAPES = 8  # graphs of their own
# One, for as long as the process lives: OpenVINO gives the thread that loads its CPU plugin another stack for signals,
# which goes when the plugin goes, and a signal that has a handler of Python's then ends the process (SIGSEGV).
CORE = ov.Core()
# OpenVINO sets the locale of the whole process to "C" while it compiles, and back: two at once leave it at "C".
COMPILING = threading.Lock()
REFUSALS = (RuntimeError, UnicodeDecodeError)  # the text of an error quotes the file, which may hold damaged names


class OpenVinoEngine:
    """Run an ONNX or IR file; the spec is read from its metadata unless it is given.

    precision: a key of `HINTS`. cache: folder for compiled models; a damaged entry is compiled anew.
    """

    def __init__(
        self, path: Path, *, spec: EngineSpec | None, precision: str, threads: int, cache: Path | None = None
    ) -> None:
        if precision not in HINTS:
            raise UserError(f"precision '{precision}': expected auto, {', '.join(HINTS)}")
        try:
            model = CORE.read_model(path)
        except REFUSALS as error:
            raise UserError(f"{path}: not a readable model: {_last_line(error)}") from error
        self.spec = spec or EngineSpec.parse(_spec_text(model, path), str(path))
        # One stream and no pinning: an engine runs in its stage's thread, which the system schedules.
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            **({"CACHE_DIR": str(cache / "openvino")} if cache else {}),
        }
        if not model.inputs:
            raise UserError(f"{path}: does not fit its spec '{self.spec.name}': expected an input, found none")
        try:
            self._model = _take_uint8_pictures(model, self.spec)
            # Impossible shapes are an error here. In a graph with dynamic sizes they would crash the process later.
            self._model.clone().reshape(list(self.spec.trial))
            self._compiled: Any = self._compile(self._model)
        except REFUSALS as error:
            raise UserError(f"{path}: does not fit its spec '{self.spec.name}': {_last_line(error)}") from error
        self._request: Any = self._compiled.create_infer_request()
        self._own: dict[tuple[int, ...], Any] = {}
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._names = [_name(output, position, self.spec) for position, output in enumerate(self._compiled.outputs)]

    @staticmethod
    def why_not() -> str | None:
        """Return None: this backend runs everywhere."""
        return None

    @staticmethod
    def precisions() -> tuple[str, ...]:
        """List the precisions that this processor computes fast, the finest first."""
        capabilities = CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("f32", "bf16", "int8") if "BF16" in capabilities else ("f32", "int8")

    @staticmethod
    def device() -> str:
        """Name what a measurement depends on: the processor and the version of OpenVINO."""
        return f"{CORE.get_property('CPU', 'FULL_DEVICE_NAME')}, OpenVINO {ov.__version__}"

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the batch in pieces of at most 8 pictures."""
        check_batch(batch, self.spec)
        pieces = [self._run(batch[start : start + PIECE]) for start in range(0, max(len(batch), 1), PIECE)]
        return (
            pieces[0]
            if len(pieces) == 1
            else {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
        )

    def _run(self, batch: NDArray[np.uint8]) -> Outputs:
        if not len(batch):
            one = self._run(np.zeros((1, *batch.shape[1:]), np.uint8))
            return {name: value[:0] for name, value in one.items()}
        request = self._request_for(batch.shape)
        pictures = np.require(batch, requirements=["C", "W"])  # shared with OpenVINO, which takes no read-only array
        request.set_input_tensor(ov.Tensor(pictures, shared_memory=True))
        request.infer()
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(self._names)}

    def _request_for(self, shape: tuple[int, ...]) -> Any:
        """Return the request for a batch: frequent shapes have a compiled graph of their own, all others share one.

        A fixed picture size makes a detector a third faster; a fixed batch size saves reshaping the shared graph, about
        1 ms.
        """
        self._seen[shape] += 1
        if shape not in self._own and self._seen[shape] >= OFTEN and len(self._own) < MOST_SHAPES:
            model = self._model.clone()
            model.reshape(list(shape))
            self._own[shape] = self._compile(model).create_infer_request()
        return self._own.get(shape, self._request)

    def _compile(self, model: Any) -> Any:
        with COMPILING:
            return CORE.compile_model(model, "CPU", self._settings)

    def close(self) -> None:
        """Release the compiled network."""
        self._request = self._compiled = None
        self._own.clear()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _spec_text(model: Any, path: Path) -> str:
    """Read the JSON spec from ONNX metadata_props (kept under framework/) or from an IR's runtime info."""
    for place in (["framework", "spec"], ["spec"]):
        if model.has_rt_info(place):
            try:
                return str(model.get_rt_info(place).astype(str))
            except UnicodeDecodeError as error:
                raise UserError(f"{path}: its spec is not valid: not UTF-8 at byte {error.start}") from error
    raise UserError(
        f"{path}: carries no spec; a model from elsewhere needs one, ours are written by `python -m train export`"
    )


def _take_uint8_pictures(model: Any, spec: EngineSpec) -> Any:
    """Put cast and layout of a float NCHW network into the graph; free the batch, and the size where the spec does."""
    height, width, channels = (size or -1 for size in spec.taken)
    if model.input(0).get_element_type() != ov.Type.u8:
        steps = PrePostProcessor(model)
        steps.input(0).tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        steps.input(0).model().set_layout(ov.Layout("NCHW"))
        model.reshape([-1, channels, height, width])
        return steps.build()
    model.reshape([-1, height, width, channels])
    return model


def _name(output: Any, position: int, spec: EngineSpec) -> str:
    named = [name for name in spec.outputs if name in output.get_names()]
    return named[0] if named else spec.outputs[position] if position < len(spec.outputs) else str(position)
