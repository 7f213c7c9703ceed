"""Animated pictures (WebP, AVIF, PNG) as videos, decoded by Pillow: OpenCV reads the first picture and FFmpeg none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from streamer.sources.container import Promise
from streamer.sources.pictures import opened
from streamer.sources.source import Decoder, Picture, SourceError

KINDS = {".webp", ".avif", ".png"}  # GIF and .apng are videos to FFmpeg
USUAL_DURATION = 0.1  # s of a picture whose file states none, as browsers have it


def is_animated(path: Path) -> bool:
    """Tell whether a file holds an animation."""
    if path.suffix.lower() not in KINDS:
        return False
    try:
        with opened(path) as head:
            return bool(getattr(head, "is_animated", False))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def open_animation(path: Path) -> tuple[Decoder, Promise]:
    """Open an animated picture. Raises SourceError where it cannot be read."""
    try:
        return Animation(path), Promise()
    except (OSError, SyntaxError, ValueError) as error:
        raise SourceError(f"{path}: cannot be decoded: is the file complete?") from error


class Animation:
    """Decode an animated picture; see `Decoder`. Raises what Pillow raises where it does not open."""

    def __init__(self, path: Path) -> None:
        self._image = Image.open(path)
        self._image.load()
        self.total: int | None = getattr(self._image, "n_frames", 1)
        self.fps: float | None = 1 / self._shown()
        self.duration: float | None = None
        self.broken, self.marred, self.bursts = 0, 0, False
        self._next, self._time = 0, 0.0

    def read(self) -> Picture | None:
        """Return the next picture, None behind the last, or where the file is damaged."""
        if self._next == self.total:
            return None
        try:
            self._image.seek(self._next)
            image = np.ascontiguousarray(np.asarray(self._image.convert("RGB"), np.uint8)[..., ::-1])
        except (OSError, SyntaxError, ValueError, EOFError):
            self.broken += 1
            return None
        picture = Picture(image, self._time)
        self._time += self._shown()
        self._next += 1
        return picture

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def _shown(self) -> float:
        """Return for how many seconds the newest picture is shown."""
        return float(self._image.info.get("duration", 0)) / 1000 or USUAL_DURATION
