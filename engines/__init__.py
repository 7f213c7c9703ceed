"""Compiled models behind one protocol. A backend is one class; the artefact's suffix chooses it.

Engine (protocol) <- OpenVinoEngine  .onnx .xml   CPU
                  <- TorchEngine     .pt2         CPU, CUDA (TensorRT where it can be built)
                  <- FakeEngine      -            tests
"""

from __future__ import annotations

import logging
import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.manifest import ZOO, verify
from engines.precision import fastest, files_of, key_of, usable
from engines.spec import Crop, EngineSpec, Task, View, tempered

__all__ = ["BACKENDS", "ZOO", "Crop", "Engine", "EngineSpec", "Outputs", "Task", "View", "load_engine", "tempered"]

log = logging.getLogger(__name__)

Outputs = dict[str, NDArray[np.float32]]

BACKENDS = {
    ".onnx": "engines.openvino:OpenVinoEngine",
    ".xml": "engines.openvino:OpenVinoEngine",
    ".pt2": "engines.torch:TorchEngine",
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
    Raises FileNotFoundError or ValueError with one line that says what was expected and found.
    """
    if path.suffix not in BACKENDS:
        raise ValueError(f"{path}: unknown model suffix '{path.suffix}': expected one of {', '.join(BACKENDS)}")
    verify(path, sha256)
    cache = usable(cache)
    started = time.monotonic()
    module, name = BACKENDS[path.suffix].split(":")
    backend = import_module(module)

    def opened(file: Path, precision: str) -> Engine:
        if file != path:
            verify(file, None)
        engine: Engine = getattr(backend, name)(file, spec=spec, precision=precision, threads=threads, cache=cache)
        return _checked(engine, task, str(file))

    files = files_of(path, precision, backend.precisions(), pinned=sha256 is not None)
    engine = fastest(
        {one: partial(opened, file, one) for one, file in files.items()},
        key_of([*files.values()], backend.device()),
        cache / "precision.json" if cache else None,
    )
    log.info("loaded %s: %s in %.2f s", path.name, engine.spec.name, time.monotonic() - started)
    return engine


def _checked(engine: Engine, task: Task, source: str) -> Engine:
    """Return an engine that is for the task and runs; one that is not is closed."""
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
        outputs = engine.infer(np.zeros((1, spec.height or 64, spec.width or 64, spec.channels), np.uint8))
    except RuntimeError as error:
        raise ValueError(f"{source}: does not run as its spec '{spec.name}' says: {str(error).strip()}") from error
    if missing := set(spec.outputs) - set(outputs):
        raise ValueError(f"{source}: the spec promises the output {sorted(missing)}, the graph has {sorted(outputs)}")
    if spec.task == "expression":
        found = outputs["probabilities"].shape if "probabilities" in outputs else None
        if found != (1, len(spec.labels)):
            raise ValueError(f"{source}: expected probabilities of {len(spec.labels)} labels, found {found}")


def check_batch(batch: NDArray[np.uint8], spec: EngineSpec) -> None:
    """Raise ValueError where a batch does not fit a spec, with expected and found shapes."""
    expected = (spec.height, spec.width, spec.channels)
    fits = batch.ndim == 4 and all(want in (None, have) for want, have in zip(expected, batch.shape[1:], strict=True))
    if not fits or batch.dtype != np.uint8:
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise ValueError(f"{spec.name}: expected (N, {wanted}) uint8, found {batch.shape} {batch.dtype}")
