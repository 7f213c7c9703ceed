"""Several backends for one model: the first that works serves, and the next takes over when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engines import Engine, EngineSpec, OutOfMemory, Outputs, Unbuildable

log = logging.getLogger(__name__)


class FallbackEngine:
    """Open backends by name, in order, until one serves; a batch that ran out of memory goes to the next.

    Raises Unbuildable where none is left.
    """

    spec: EngineSpec

    def __init__(self, backends: Mapping[str, Callable[[], Engine]]) -> None:
        self._left = dict(backends)
        self._engine = self._next()
        self.spec = self._engine.spec

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the batch, on the next backend where this one runs out of memory."""
        while True:
            try:
                return self._engine.infer(batch)
            except OutOfMemory as error:
                log.warning("%s", error)
                self._engine.close()
                self._engine = self._next()

    def close(self) -> None:
        """Close the backend that serves."""
        self._engine.close()

    def _next(self) -> Engine:
        while self._left:
            name = next(iter(self._left))
            try:
                engine = self._left.pop(name)()
            except (Unbuildable, OutOfMemory) as error:
                log.warning("%s does not serve: %s", name, error)
                continue
            log.info("%s serves", name)
            return engine
        raise Unbuildable("no backend is left that could serve")
