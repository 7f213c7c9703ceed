"""A photo is a frame through the same stages as any other, as a stream of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamer.build import Stages, build_stages, load_classifier
from streamer.closing import Closing
from streamer.config import Config
from streamer.photo.attention import GroupAttention, attend, check_attention
from streamer.photo.decode import Photo
from streamer.photo.upright import find_turn, turned
from streamer.types import Face, Frame, Result


class Analyst(Closing):
    """Look at single pictures with one set of engines; belongs to one thread.

    attention: also open the network that looks at whole photos. stages: look with these, which know of no stream yet
    and are closed with this. Raises UserError or OSError with one line where the configuration does not work.
    """

    def __init__(self, config: Config, *, attention: bool = False, stages: Stages | None = None) -> None:
        self.config = config
        self.stages = stages or build_stages(config)
        self._attention = load_classifier(config.attention, config.cache) if attention else None
        if self._attention:
            check_attention(self._attention.spec)

    def look(self, image: NDArray[np.uint8], name: str = "photo") -> Result:
        """Find and classify every face of a (H, W, 3) uint8 BGR picture."""
        frame = Frame(image, name, 0, 0.0, time.monotonic())
        [result] = self.stages.finish(self.stages.perceive([frame]))
        self.stages.forget(name)
        return result

    def look_upright(self, photo: Photo, name: str = "photo") -> tuple[Photo, Result]:
        """Find and classify every face of a photo; one that lies on its side or head is turned first, and says so."""
        result = self.look(photo.image, name)
        if not (turn := find_turn(self.stages.perceive, photo.image, result.faces)):
            return photo, result
        photo = Photo(turned(photo.image, turn), (*photo.notes, f"turned by {turn}°"))
        return photo, self.look(photo.image, name)

    def attend(self, image: NDArray[np.uint8], faces: Sequence[Face]) -> GroupAttention | None:
        """Say where the attention network looks in a whole picture; None without it, or where there is no face."""
        return attend(self._attention, image, faces) if self._attention and faces else None

    def close(self) -> None:
        """Close the engines."""
        self.stages.close()
        if self._attention:
            self._attention.close()
