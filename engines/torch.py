"""PyTorch: exported programs (`.pt2`) on the CPU or on CUDA."""

from __future__ import annotations

import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engines import EngineSpec, Outputs, check_batch

log = logging.getLogger(__name__)

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


class TorchEngine:
    """Run a `.pt2` file that holds its spec; takes CUDA where it is available.

    precision: a key of `DTYPES`. cache: not needed, nothing is compiled.
    """

    def __init__(
        self, path: Path, *, spec: EngineSpec | None, precision: str, threads: int, cache: Path | None = None
    ) -> None:
        if precision not in DTYPES:
            raise ValueError(f"precision '{precision}': expected auto, {', '.join(DTYPES)}")
        refuse_pickles(path)
        extra = {"spec": ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except (RuntimeError, OSError, ValueError, KeyError) as error:
            raise ValueError(f"{path}: not a readable exported program: {error}") from error
        if spec is None and not extra["spec"]:
            raise ValueError(f"{path}: carries no spec; ours are written by `python -m train export`")
        self.spec = spec or EngineSpec.parse(extra["spec"], str(path))
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = DTYPES[precision]
        if self._device.type == "cpu":
            torch.set_num_threads(threads)
        self._module: Any = program.module().to(self._device)

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the whole batch at once."""
        check_batch(batch, self.spec)
        if not len(batch):
            one = self.infer(np.zeros((1, *batch.shape[1:]), np.uint8))
            return {name: value[:0] for name, value in one.items()}
        pictures = torch.from_numpy(np.array(batch)).to(self._device)
        enabled = self._dtype != torch.float32
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=self._dtype, enabled=enabled):
            outputs = self._module(pictures)
        return {
            name: value.float().cpu().numpy().copy() for name, value in zip(self.spec.outputs, outputs, strict=True)
        }

    def close(self) -> None:
        """Release the network."""
        self._module = None


def precisions() -> tuple[str, ...]:
    """List the precisions worth trying, the finest first."""
    return ("f16",) if torch.cuda.is_available() else ("f32",)


def device() -> str:
    """Name what a measurement depends on."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{name}, torch {torch.__version__}"


def refuse_pickles(path: Path) -> None:
    """Raise ValueError where an archive would make `torch.export.load` unpickle something."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            configs = [json.loads(archive.read(name)) for name in names if name.endswith("_config.json")]
            inputs = [name for name in names if "/sample_inputs/" in name and archive.getinfo(name).file_size]
    except (zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a .pt2 archive: {error}") from error
    pickled = any(entry.get("use_pickle") for config in configs for entry in config["config"].values())
    if pickled or inputs:
        raise ValueError(f"{path}: holds pickled data, which is never loaded; export it without example inputs")
