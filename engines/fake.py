"""An engine that runs a function: for tests of everything that uses engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines import EngineSpec, Outputs, check_batch


class FakeEngine:
    """Answer `infer` with `function(batch)`; remember the batch sizes and whether it was closed."""

    def __init__(self, spec: EngineSpec, function: Callable[[NDArray[np.uint8]], Outputs]) -> None:
        self.spec = spec
        self.function = function
        self.batch_sizes: list[int] = []
        self.closed = False

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Check the batch as a real engine would, then call the function."""
        check_batch(batch, self.spec)
        self.batch_sizes.append(len(batch))
        return self.function(batch)

    def close(self) -> None:
        """Mark the engine as closed."""
        self.closed = True
