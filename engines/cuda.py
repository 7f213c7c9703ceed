"""What the NVIDIA backends share: pinned buffers, CUDA graphs for common sizes, smaller batches at low memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines import EngineSpec, OutOfMemory, Outputs, check_batch

log = logging.getLogger(__name__)

MOST = 256  # pictures a call
GRAPHED = (1, 2, 4, 8, 16, 32, 64)  # batch sizes whose kernels are recorded once and then launched at once
WARM_UP = 3  # runs before a recording, as CUDA asks for

Module = Callable[[Tensor], Sequence[Tensor]]


class GpuEngine:
    """Run batches through a `Runner`; the common base of the NVIDIA engines."""

    spec: EngineSpec
    _runner: Runner | None

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the batch. Raises OutOfMemory where not even one picture fits."""
        check_batch(batch, self.spec)
        if self._runner is None:
            raise RuntimeError(f"{self.spec.name}: the engine is closed")
        return self._runner(batch) if len(batch) else none_of(self, batch)

    def close(self) -> None:
        """Release the network."""
        self._runner = None


def none_of(engine: Any, batch: NDArray[np.uint8]) -> Outputs:
    """Return outputs for no picture: of the shapes that one has."""
    one: Outputs = engine.infer(np.zeros((1, *batch.shape[1:]), np.uint8))
    return {name: value[:0] for name, value in one.items()}


class Runner:
    """Run a module on one stream; belongs to one thread.

    module: maps (N, H, W, C) uint8 on `device` to tensors in the order of `spec.outputs`. Without a GPU (tests) it does
    the same, with neither stream nor graphs.
    """

    def __init__(self, module: Module, spec: EngineSpec, device: torch.device) -> None:
        self.most = MOST
        self._module, self._spec, self._device = module, spec, device
        self._on_gpu = device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(device) if self._on_gpu else None  # type: ignore[no-untyped-call]
        self._host = self._input = torch.empty(0, dtype=torch.uint8)
        self._graphs: dict[int, tuple[Any, Sequence[Tensor]]] = {}
        self._graphed = self._on_gpu and None not in spec.taken

    def __call__(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run any number of pictures, in smaller batches where memory runs out.

        Raises OutOfMemory where not even one fits.
        """
        pieces: list[Outputs] = []
        done = 0
        while done < len(batch):
            piece = batch[done : done + self.most]
            try:
                pieces.append(self._run(piece))
                done += len(piece)
            except torch.cuda.OutOfMemoryError as error:
                self._take_less(error)
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in self._spec.outputs}

    def _take_less(self, error: Exception) -> None:
        self._graphs.clear()
        self._host = self._input = torch.empty(0, dtype=torch.uint8)
        if self.most == 1:
            raise OutOfMemory(f"{self._spec.name}: no memory left on the GPU for one picture") from error
        self.most //= 2
        if self._on_gpu:
            torch.cuda.empty_cache()
        log.warning(
            "%s: no memory left on the GPU; at most %d pictures at once from now on", self._spec.name, self.most
        )

    def _run(self, batch: NDArray[np.uint8]) -> Outputs:
        count = len(batch)
        self._make_room(batch.shape[1:])
        self._host[:count].numpy()[...] = batch
        with torch.inference_mode(), self._in_stream():
            self._input[:count].copy_(self._host[:count], non_blocking=True)
            outputs = self._replay(count) if self._graphed and count in GRAPHED else self._module(self._input[:count])
            fetched = [output.to("cpu", torch.float32, copy=True).numpy() for output in outputs]
        return dict(zip(self._spec.outputs, fetched, strict=True))

    def _make_room(self, shape: tuple[int, ...]) -> None:
        """Allocate the buffers that pictures of this shape pass through, once."""
        if tuple(self._host.shape[1:]) != shape or len(self._host) < self.most:
            self._graphs.clear()
            self._host = torch.empty((self.most, *shape), dtype=torch.uint8, pin_memory=self._on_gpu)
            self._input = torch.empty((self.most, *shape), dtype=torch.uint8, device=self._device)

    def _in_stream(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream) if self._on_gpu else nullcontext()

    def _replay(self, count: int) -> Sequence[Tensor]:
        """Launch the recorded CUDA graph of a batch size; where recording fails, run without graphs from then on."""
        if count not in self._graphs:
            try:
                self._graphs[count] = self._record(count)
            except torch.cuda.OutOfMemoryError:
                raise
            except RuntimeError as error:
                log.warning("%s: runs without CUDA graphs: %s", self._spec.name, str(error).splitlines()[0])
                self._graphed = False
                return self._module(self._input[:count])
        graph, outputs = self._graphs[count]
        graph.replay()
        return outputs

    def _record(self, count: int) -> tuple[Any, Sequence[Tensor]]:
        for _ in range(WARM_UP):
            self._module(self._input[:count])
        self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            outputs = self._module(self._input[:count])
        return graph, outputs
