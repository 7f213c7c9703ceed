"""PyTorch: exported programs (`.pt2`) on CUDA (`CudaEngine`) and on the CPU (`TorchEngine`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export.pt2_archive._package import load_pt2

from engines import EngineSpec, Outputs, check_batch
from engines.archive import check_archive
from engines.cuda import GpuEngine, Runner, none_of
from engines.errors import UserError

# An int8 file itself rounds the inputs of its quantised layers (`int8`); the rest is f32.
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "int8": torch.float32}


@torch.library.custom_op("engines::int8", mutates_args=())
def int8(values: Tensor, largest: Tensor) -> Tensor:
    """Round values to int8 steps of `largest` / 127, which broadcasts against them (fake quantisation)."""
    step = largest / 127
    return torch.clamp(torch.round(values / step), -128, 127) * step


@int8.register_fake
def _(values: Tensor, largest: Tensor) -> Tensor:
    return torch.empty_like(values)


class CudaEngine(GpuEngine):
    """Run a `.pt2` file that holds its spec on an NVIDIA GPU: channels last, autocast, CUDA graphs."""

    def __init__(
        self, path: Path, *, spec: EngineSpec | None, precision: str, threads: int, cache: Path | None = None
    ) -> None:
        program, self.spec = read_program(path, spec)
        dtype, device = dtype_of(precision), torch.device("cuda")
        module: Any = program.module().to(device, memory_format=torch.channels_last)

        def run(pictures: Tensor) -> Any:
            with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
                return module(pictures)

        self._runner = Runner(run, self.spec, device)

    @staticmethod
    def why_not() -> str | None:
        """Say why this backend cannot serve here, None where it can."""
        return None if torch.cuda.is_available() else "there is no NVIDIA GPU"

    @staticmethod
    def precisions() -> tuple[str, ...]:
        """List the precisions worth trying, the finest first."""
        return ("f16",)

    @staticmethod
    def device() -> str:
        """Name what a measurement depends on."""
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"


class TorchEngine:
    """Run a `.pt2` file that holds its spec on the CPU."""

    def __init__(
        self, path: Path, *, spec: EngineSpec | None, precision: str, threads: int, cache: Path | None = None
    ) -> None:
        program, self.spec = read_program(path, spec)
        self._dtype = dtype_of(precision)
        torch.set_num_threads(threads)
        self._module: Any = program.module()

    @staticmethod
    def why_not() -> str | None:
        """Serve everywhere."""
        return None

    @staticmethod
    def precisions() -> tuple[str, ...]:
        """List the precisions worth trying, the finest first."""
        return ("f32",)

    @staticmethod
    def device() -> str:
        """Name what a measurement depends on."""
        return f"CPU, torch {torch.__version__}"

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the whole batch at once."""
        check_batch(batch, self.spec)
        if not len(batch):
            return none_of(self, batch)
        enabled = self._dtype != torch.float32
        with torch.inference_mode(), torch.autocast("cpu", dtype=self._dtype, enabled=enabled):
            outputs = self._module(torch.from_numpy(np.array(batch)))
        return {name: value.float().numpy().copy() for name, value in zip(self.spec.outputs, outputs, strict=True)}

    def close(self) -> None:
        """Release the network."""
        self._module = None


def dtype_of(precision: str) -> torch.dtype:
    """Turn the name of a precision into torch's. Raises UserError for others."""
    if precision not in DTYPES:
        raise UserError(f"precision '{precision}': expected auto, {', '.join(DTYPES)}")
    return DTYPES[precision]


def read_program(path: Path, spec: EngineSpec | None) -> tuple[Any, EngineSpec]:
    """Read an exported program, and the spec inside it unless one is given. Raises UserError in one line."""
    check_archive(path)
    try:
        # What `torch.export.load` calls first. On an error, it would go on to try an older format, which holds pickles.
        contents = load_pt2(str(path))
        program = contents.exported_programs["model"]
    except Exception as error:  # PyTorch validates nothing that it reads, and may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{path}: not a readable exported program: {reason}") from error
    text: str = contents.extra_files.get("spec", "")
    if spec is None and not text:
        raise UserError(f"{path}: carries no spec; ours are written by `python -m train export`")
    return program, spec or EngineSpec.parse(text, str(path))
