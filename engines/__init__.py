"""Compiled models behind one protocol. A backend is one class; the artefact's suffix chooses it.

Engine (protocol) <- OpenVinoEngine  .onnx .xml   CPU
                  <- TensorRtEngine  .pt2         NVIDIA, where torch-tensorrt is installed
                  <- CudaEngine      .pt2         NVIDIA
                  <- TorchEngine     .pt2         CPU
                  <- FallbackEngine  -            the first of several that serves
                  <- FakeEngine      -            tests
"""

from __future__ import annotations

import logging
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.errors import OutOfMemory, Unbuildable, UserError
from engines.manifest import ZOO, verify
from engines.precision import fastest, files_of, key_of, usable
from engines.spec import Crop, EngineSpec, Task, View, tempered

__all__ = [
    "BACKENDS",
    "ZOO",
    "Crop",
    "Engine",
    "EngineSpec",
    "OutOfMemory",
    "Outputs",
    "Task",
    "Unbuildable",
    "View",
    "load_engine",
    "precisions_of",
    "tempered",
]

log = logging.getLogger(__name__)

Outputs = dict[str, NDArray[np.float32]]

# In order of preference; the last one serves everywhere.
BACKENDS = {
    ".onnx": ("engines.openvino:OpenVinoEngine",),
    ".xml": ("engines.openvino:OpenVinoEngine",),
    ".pt2": ("engines.tensorrt:TensorRtEngine", "engines.torch:CudaEngine", "engines.torch:TorchEngine"),
}


class Engine(Protocol):
    """Run one network. An engine belongs to one thread."""

    spec: EngineSpec

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Map (N, H, W, C) uint8 pictures, N >= 0, to float32 outputs with N first; the arrays are the caller's.

        Raises ValueError where the batch does not fit the spec.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds; it cannot be used afterwards."""
        ...


def load_engine(
    path: Path,
    task: Task,
    *,
    spec: EngineSpec | None = None,
    sha256: str | None = None,
    precision: str = "auto",
    threads: int = 1,
    cache: Path | None = None,
) -> Engine:
    """Open a model file: check sha256 and spec, compile, run one warm-up batch.

    spec: only for files from elsewhere, which carry none. sha256: expected checksum; files beside a `manifest.json`
    are always checked against it. precision: 'auto' measures at the first load which is fastest on this processor: f32,
    bf16, or the int8 form beside the file (never where `sha256` names this very file); on CUDA it is f16. cache: folder
    for what was measured and compiled, so that the next start is quick.
    Raises FileNotFoundError or UserError with one line that says what was expected and found.
    """
    if path.suffix not in BACKENDS:
        raise UserError(f"{path}: unknown model suffix '{path.suffix}': expected one of {', '.join(BACKENDS)}")
    from engines.fallback import FallbackEngine  # which needs this module

    verify(path, sha256)
    cache = usable(cache)
    started = time.monotonic()

    def opened(backend: Any, file: Path, precision: str) -> Engine:
        if file != path:
            verify(file, None)
        engine: Engine = backend(file, spec=spec, precision=precision, threads=threads, cache=cache)
        return _checked(engine, task, str(file))

    def by(backend: Any) -> Engine:
        files = files_of(path, precision, backend.precisions(), pinned=sha256 is not None)
        return fastest(
            {one: partial(opened, backend, file, one) for one, file in files.items()},
            key_of([*files.values()], backend.device()),
            cache / "precision.json" if cache else None,
        )

    backends = {backend.__name__: partial(by, backend) for backend in _backends(path)}
    engine = FallbackEngine(backends) if len(backends) > 1 else next(iter(backends.values()))()
    log.info("loaded %s: %s in %.2f s", path.name, engine.spec.name, time.monotonic() - started)
    return engine


def precisions_of(path: Path) -> tuple[str, ...]:
    """List the precisions of a file's own weights that 'auto' chooses from on this machine, the finest first."""
    return tuple(one for one in _backends(path)[0].precisions() if one != "int8")


def _backends(path: Path) -> list[Any]:
    """Return the backends that can serve on this machine, and log why others cannot."""
    found = []
    for place in BACKENDS[path.suffix]:
        module, name = place.split(":")
        backend = getattr(import_module(module), name)
        if reason := backend.why_not():
            log.info("%s: not by %s: %s", path.name, name, reason)
        else:
            found.append(backend)
    return found


def _checked(engine: Engine, task: Task, source: str) -> Engine:
    """Return the engine where it fits the task and runs; close it otherwise."""
    try:
        engine.spec.require(task, source)
        _warm_up(engine, source)
    except BaseException:
        engine.close()
        raise
    return engine


def _warm_up(engine: Engine, source: str) -> None:
    """Run one picture and check that the outputs are what the spec promises."""
    spec = engine.spec
    try:
        outputs = engine.infer(np.zeros(spec.trial, np.uint8))
    except OutOfMemory:
        raise
    except Exception as error:  # a damaged graph fails in any way
        reason = " ".join(str(error).split())[:500]
        raise UserError(f"{source}: does not run as its spec '{spec.name}' says: {reason}") from error
    if missing := set(spec.outputs) - set(outputs):
        raise UserError(f"{source}: the spec promises the output {sorted(missing)}, the graph has {sorted(outputs)}")
    if spec.task == "expression":
        found = outputs["probabilities"].shape if "probabilities" in outputs else None
        if found != (1, len(spec.labels)):
            raise UserError(f"{source}: expected probabilities of {len(spec.labels)} labels, found {found}")


def check_batch(batch: NDArray[np.uint8], spec: EngineSpec) -> None:
    """Raise ValueError where a batch does not fit a spec, with expected and found shapes."""
    fits = batch.ndim == 4 and all(want in (None, have) for want, have in zip(spec.taken, batch.shape[1:], strict=True))
    if not fits or batch.dtype != np.uint8:
        wanted = ", ".join("any" if size is None else str(size) for size in spec.taken)
        raise ValueError(f"{spec.name}: expected (N, {wanted}) uint8, found {batch.shape} {batch.dtype}")
