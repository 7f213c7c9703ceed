"""A photo is a frame through the same stages as any other, as a stream of its own."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamer.build import build_stages
from streamer.config import Config
from streamer.types import Frame, Result


class Analyst:
    """Look at single pictures with one set of engines; belongs to one thread.

    Raises ValueError, OSError or ImportError with one line where the configuration does not work.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.stages = build_stages(config)

    def look(self, image: NDArray[np.uint8], name: str = "photo") -> Result:
        """Find and classify every face of a (H, W, 3) uint8 BGR picture."""
        frame = Frame(image, name, 0, 0.0, time.monotonic())
        [result] = self.stages.finish(self.stages.perceive([frame]))
        self.stages.forget(name)
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self.stages.owned:
            one.close()
