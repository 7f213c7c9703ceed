"""Pictures as a stream: a folder, a glob or a single file, in natural order (2.jpg before 10.jpg)."""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from threading import Event

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.sources.source import Report, SourceError, printable
from streamer.types import Frame

log = logging.getLogger(__name__)

SUFFIXES = {
    *(".avif", ".bmp", ".dib", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".ras", ".sr", ".tif", ".tiff", ".webp"),
}
AVIF = (b"ftypavif", b"ftypavis")  # how such files begin, from the fifth byte on
NAMED = 5  # unreadable files that the error lists


class Pictures:
    """Show each picture for `period` seconds; unreadable ones are skipped with a warning and listed at the end.

    16-bit, grey and CMYK pictures become 8-bit BGR, transparency is dropped, the
    orientation that the file tells (EXIF, in AVIF its own) is applied. A JPEG that
    was cut off is decoded as far as it goes.
    """

    live = False

    def __init__(self, text: str, name: str, paths: Sequence[Path], *, period: float = 1.0) -> None:
        self.name = printable(name)
        self.fps: float | None = 1 / period
        self.total: int | None = len(paths)
        self._text = text
        self.paths = paths
        self._period = period

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Yield the readable pictures, then raise SourceError if there were others."""
        index, unreadable = 0, []
        for path in self.paths:
            if stop.is_set():
                return
            image = read_picture(path)
            if image is None:
                level = logging.WARNING if len(self.paths) > 1 else logging.DEBUG  # a single one is the error itself
                log.log(level, "%s: %s is not a readable picture: skipped", self.name, printable(path.name))
                unreadable.append(path.name)
                continue
            yield Frame(image, self.name, index, index * self._period, time.monotonic())
            index += 1
        if unreadable:
            names = ", ".join(unreadable[:NAMED]) + (", ..." if len(unreadable) > NAMED else "")
            raise SourceError(
                f"{self._text}: {len(unreadable)} of {len(self.paths)} pictures could not be read: {names}"
            )


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """Return the picture as (H, W, 3) uint8 BGR, or None where it cannot be read or decoded."""
    try:
        data = path.read_bytes()  # a name that is not UTF-8 would end OpenCV
        if data[4:12] in AVIF:
            return _read_avif(data)
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[return-value]
    except (OSError, cv2.error):  # more pixels than OpenCV allows, or no byte at all
        return None


def _read_avif(data: bytes) -> NDArray[np.uint8] | None:
    """Decode with Pillow, which tells how the file wants to be turned and mirrored; OpenCV leaves that out."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(BytesIO(data)) as picture:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except (Image.DecompressionBombError, SyntaxError, ValueError, RuntimeError):
        return None
    return np.ascontiguousarray(np.asarray(upright, np.uint8)[..., ::-1])


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """Return the picture files among the paths by suffix, in natural order; hidden files are left out."""
    found = [
        path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Compare runs of digits as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]
