"""TensorRT on NVIDIA GPUs through torch-tensorrt: a `.pt2` file is built once into a plan, which is kept in a cache.

Plans are strongly typed: the graph itself says which layers compute in f16 or bf16 (`narrowed`), or in int8, where the
file rounds their inputs to calibrated ranges (`train.expression.quantise`). Nothing is pickled, `tensorrt` is never
called directly.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass
from torch.utils import _pytree

from engines import EngineSpec, Unbuildable
from engines.cuda import MOST, GpuEngine, Runner
from engines.errors import UserError
from engines.manifest import sha256_of, verify
from engines.precision import files_of
from engines.torch import dtype_of, read_program

log = logging.getLogger(__name__)

USUAL = 64  # pictures a call that the plan is tuned for
PARITY = 5e-3  # mean difference of the outputs from torch's in f32, as a share of their spread
PARITY_INT8 = 2e-2  # from torch's, which rounds alike: a value at the edge of a step may fall to the other side
aten = torch.ops.aten
NARROW = {aten.conv2d.default, aten.linear.default, aten.batch_norm.default, aten.einsum.default, aten.matmul.default}
QUANTIZE = (8, 0, False, False)  # bits, bits of an exponent, unsigned, narrow range
WIDE = {aten.softmax.int, aten.log_softmax.int}


class TensorRtEngine(GpuEngine):
    """Run a `.pt2` file as a TensorRT plan: one stream, pinned buffers, CUDA graphs for common batch sizes.

    Raises Unbuildable where no plan can be built, or where it disagrees with the network.
    """

    DEVICE = "cuda"

    def __init__(
        self, path: Path, *, spec: EngineSpec | None, precision: str, threads: int, cache: Path | None = None
    ) -> None:
        dtype_of(precision)
        program, self.spec = read_program(path, spec)
        if None in self.spec.taken:
            raise Unbuildable(f"{path.name}: pictures of any size have no plan")
        plan = stored_plan(path, precision, cache) or build_plan(program, self.spec, path, precision, cache)
        self._runner = self._opened(plan)
        if not self._agrees(program, PARITY_INT8 if precision == "int8" else PARITY):
            raise Unbuildable(f"{path.name}: the plan in {precision} disagrees with the network")

    @staticmethod
    def why_not() -> str | None:
        """Say why this backend cannot serve here, None where it can."""
        if not torch.cuda.is_available():
            return "there is no NVIDIA GPU"
        return None if find_spec("torch_tensorrt") else "torch-tensorrt is not installed (extra gpu)"

    @staticmethod
    def precisions() -> tuple[str, ...]:
        """List the precisions worth trying, the finest first."""
        return ("f16", "int8") if find_spec("modelopt") else ("f16",)

    @staticmethod
    def device() -> str:
        """Name what a measurement depends on."""
        return " ".join(platform().values())

    def _opened(self, plan: bytes) -> Runner:
        from torch_tensorrt.dynamo.runtime import TorchTensorRTModule

        outputs = [f"output{number}" for number in range(len(self.spec.outputs))]
        try:
            module = TorchTensorRTModule(
                plan, input_binding_names=["images"], output_binding_names=outputs, name=self.spec.name
            )
        except RuntimeError as error:
            raise Unbuildable(f"{self.spec.name}: the plan does not load: {_first_line(error)}") from error

        def run(pictures: Tensor) -> Sequence[Tensor]:
            found = module(pictures)
            return (found,) if isinstance(found, Tensor) else found

        return Runner(run, self.spec, torch.device(self.DEVICE))

    def _agrees(self, program: Any, parity: float) -> bool:
        """Compare the plan with the network in f32 on smooth pictures."""
        random = np.random.default_rng(0)
        coarse = random.integers(0, 256, (8, 6, 6, self.spec.channels), np.uint8)
        rows, columns = (np.arange(size or 0) * 6 // (size or 1) for size in (self.spec.height, self.spec.width))
        pictures = np.ascontiguousarray(coarse[:, rows][:, :, columns])
        with torch.inference_mode():
            expected = program.module()(torch.from_numpy(pictures))
        found = self.infer(pictures)
        for name, value in zip(self.spec.outputs, expected, strict=True):
            wanted = value.float().numpy()
            if np.abs(found[name] - wanted).mean() > parity * max(float(wanted.std()), 0.1):
                return False
        return True


def check_buildable() -> None:
    """Raise UserError where this machine cannot build a plan, with what is missing."""
    if reason := TensorRtEngine.why_not():
        raise UserError(f"a TensorRT plan is built on the GPU that runs it: {reason}")


def plan_of(path: Path, precision: str, cache: Path) -> Path:
    """Return the cached plan of a `.pt2` file; where there is none yet, build it and compare it with the network.

    Raises UserError where this machine cannot build it, Unbuildable where TensorRT refuses or the plan disagrees.
    """
    check_buildable()
    [(precision, file)] = files_of(path, precision, (), pinned=False).items()
    verify(file, None)
    TensorRtEngine(file, spec=None, precision=precision, threads=1, cache=cache).close()
    place = _place(file, precision, cache)
    if place is None or not place.is_file():
        raise OSError(f"{cache}: the plan was built but cannot be kept: expected a folder that can be written to")
    return place


class Narrowed(nn.Module):
    """Compute a traced graph's convolutions and products in f16 or bf16, softmax and outputs in f32."""

    def __init__(self, traced: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.traced, self.dtype = traced, dtype

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Run the graph node by node with the dtypes that each asks for."""
        return tuple(output.float() for output in _Typed(self.traced, self.dtype).run(images))


class _Typed(torch.fx.Interpreter):
    def __init__(self, graph: Any, dtype: torch.dtype) -> None:
        super().__init__(graph)
        self._dtype = dtype

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        dtype = self._dtype if target in NARROW else torch.float32 if target in WIDE else None
        if dtype is not None:
            args = _pytree.tree_map(
                lambda one: one.to(dtype) if isinstance(one, Tensor) and one.is_floating_point() else one, args
            )
        return super().call_function(target, args, kwargs)


def with_tensorrt_quantisers(traced: Any) -> Any:
    """Return a traced graph that rounds to int8 by TensorRT's operator. Raises Unbuildable."""
    try:
        import_module("modelopt.torch.quantization")  # registers the operator with torch-tensorrt
    except ImportError as error:
        raise Unbuildable(f"an int8 plan needs nvidia-modelopt (extra gpu): {error}") from error
    for node in traced.graph.nodes:
        if node.target == torch.ops.engines.int8.default:
            node.target = torch.ops.tensorrt.quantize_op.default
            node.args = (*node.args, *QUANTIZE)
    traced.recompile()
    return traced


def narrowed(program: Any, spec: EngineSpec, precision: str) -> Any:
    """Trace an exported program anew, for any batch size, with the dtypes of a precision written into its graph."""
    if precision == "f32":
        return program
    traced = program.module()
    module = with_tensorrt_quantisers(traced) if precision == "int8" else Narrowed(traced, dtype_of(precision))
    example = torch.zeros((2, spec.height or 0, spec.width or 0, spec.channels), dtype=torch.uint8)
    shapes = {"images": {0: torch.export.Dim("batch", min=1, max=MOST)}}
    with torch.no_grad():
        return torch.export.export(module, (example,), dynamic_shapes=shapes)


def platform() -> dict[str, str]:
    """Return what a plan depends on: the GPU and the versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {"gpu": gpu, "torch": torch.__version__, "torch_tensorrt": version("torch-tensorrt")}


def stored_plan(path: Path, precision: str, cache: Path | None) -> bytes | None:
    """Return a model's plan from the cache; None, with a line in the log, where no valid one is there."""
    place = _place(path, precision, cache)
    if place is None or not place.is_file():
        return None
    try:
        about = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        plan = place.read_bytes()
    except (OSError, ValueError) as error:
        log.warning("%s: cannot be read, is built again: %s", place.name, error)
        return None
    wanted = _key(path, precision)
    if about.get("key") != wanted:
        differs = {name: value for name, value in wanted.items() if about.get("key", {}).get(name) != value}
        log.warning("%s: was built for others than %s, is built again", place.name, differs)
        return None
    if about.get("sha256") != hashlib.sha256(plan).hexdigest():
        log.warning("%s: is damaged, is built again", place.name)
        return None
    return plan


def build_plan(program: Any, spec: EngineSpec, path: Path, precision: str, cache: Path | None) -> bytes:
    """Build a plan for 1 to 256 pictures a call on this GPU and keep it in the cache. Raises Unbuildable."""
    import torch_tensorrt

    log.info("%s: TensorRT builds a plan in %s; this takes minutes, once", path.name, precision)
    picture = (spec.height, spec.width, spec.channels)
    try:
        plan: bytes = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine(
            move_to_device_pass(narrowed(program, spec, precision), TensorRtEngine.DEVICE),
            arg_inputs=[
                torch_tensorrt.Input(
                    min_shape=(1, *picture), opt_shape=(USUAL, *picture), max_shape=(MOST, *picture), dtype=torch.uint8
                )
            ],
            require_full_compilation=True,
            min_block_size=1,
            immutable_weights=True,
        )
    except (RuntimeError, ValueError, NotImplementedError, AssertionError) as error:
        raise Unbuildable(f"{path.name}: TensorRT builds no plan: {_first_line(error)}") from error
    if place := _place(path, precision, cache):
        _store(place, plan, _key(path, precision))
    return plan


def _store(place: Path, plan: bytes, key: dict[str, str]) -> None:
    about = {"key": key, "sha256": hashlib.sha256(plan).hexdigest()}
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        for file, content in ((place, plan), (place.with_suffix(".json"), json.dumps(about, indent=2).encode())):
            unfinished = file.with_name(f"{file.name}.unfinished")
            unfinished.write_bytes(content)
            unfinished.replace(file)
    except OSError as error:
        log.warning("%s: cannot be kept, so it is built at every start: %s", place, error.strerror)


def _place(path: Path, precision: str, cache: Path | None) -> Path | None:
    """Return where a plan is kept: by the model's folder, as models in two may have one name."""
    folder = hashlib.sha256(os.fsencode(path.resolve().parent)).hexdigest()[:12]
    return cache / "tensorrt" / folder / f"{path.stem.removesuffix('.int8')}.{precision}.plan" if cache else None


def _key(path: Path, precision: str) -> dict[str, str]:
    return {"model": sha256_of(path), "precision": precision, "most": str(MOST), **platform()}


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
