"""Pictures as a stream: a folder, a glob or a single file, in natural order (2.jpg before 10.jpg)."""

from __future__ import annotations

import io
import logging
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from streamer.sources.source import Report, SourceError, printable
from streamer.types import Frame

log = logging.getLogger(__name__)

SUFFIXES = {
    *(".avif", ".bmp", ".dib", ".heic", ".heif", ".hif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".ras", ".sr", ".tif", ".tiff", ".webp"),
}
HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}  # brands, AVIF's not among them
HEIF_EXTRA = "pip install 'emotion-streamer[heic]'"
NAMED = 5  # unreadable files that the error lists


class Pictures:
    """Show each picture for `period` seconds; unreadable ones are skipped with a warning and listed at the end.

    16-bit, grey and CMYK pictures become 8-bit BGR, transparency is dropped, the orientation that a file tells (EXIF,
    in AVIF its own) is applied. A JPEG that was cut off is decoded as far as it goes. others: files beside them that
    are no pictures, named in a warning.
    """

    live = False

    def __init__(
        self, text: str, name: str, paths: Sequence[Path], *, period: float = 1.0, others: Sequence[Path] = ()
    ) -> None:
        self.name = printable(name)
        self.fps: float | None = 1 / period
        self.total: int | None = len(paths)
        self._text = text
        self.paths = paths
        self._period, self._others = period, others

    def frames(self, stop: Event, report: Report) -> Iterator[Frame]:
        """Yield the readable pictures, then raise SourceError if there were others."""
        index, unreadable, hint = 0, [], ""
        if self._others:
            log.warning("%s: left out as no pictures: %s", self.name, listed(self._others))
        for path in self.paths:
            if stop.is_set():
                return
            image = read_picture(path)
            if image is None:
                level = logging.WARNING if len(self.paths) > 1 else logging.DEBUG  # a single one is the error itself
                log.log(level, "%s: %s is not a readable picture: skipped", self.name, printable(path.name))
                unreadable.append(path)
                hint = hint or needs(path)
                continue
            yield Frame(image, self.name, index, index * self._period, time.monotonic())
            index += 1
        if unreadable:
            raise SourceError(
                f"{self._text}: {len(unreadable)} of {len(self.paths)} pictures could not be read: "
                + ", ".join(path.name for path in unreadable[:NAMED])
                + (", ..." if len(unreadable) > NAMED else "")
                + (hint and f"; {hint}")
            )


def listed(paths: Sequence[Path]) -> str:
    """Return how many files there are, and the names of the first."""
    names = ", ".join(printable(path.name) for path in paths[:NAMED])
    return f"{len(paths)} file{'s' if len(paths) > 1 else ''} ({names}{', ...' if len(paths) > NAMED else ''})"


def read_picture(path: Path) -> NDArray[np.uint8] | None:
    """Return the picture as (H, W, 3) uint8 BGR, or None where it cannot be read or decoded."""
    try:
        return decode_picture(path.read_bytes())  # a name that is not UTF-8 would end OpenCV
    except OSError:
        return None


def decode_picture(data: bytes) -> NDArray[np.uint8] | None:
    """Return the picture that a file's bytes hold as (H, W, 3) uint8 BGR, or None where it cannot be decoded."""
    if data[4:8] == b"ftyp":  # HEIC and AVIF, which OpenCV reads not at all, or as they lie
        return _by_pillow(data)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)  # type: ignore[return-value]
    except cv2.error:  # more pixels than OpenCV allows, or no byte at all
        return None


@contextmanager
def opened(file: Path | io.BytesIO) -> Iterator[Image.Image]:
    """Open a picture with Pillow, of any size up to where it refuses, without its warnings. Raises what it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(file) as image:
            yield image


def _by_pillow(data: bytes) -> NDArray[np.uint8] | None:
    if data[8:12] in HEIF and not read_heif():
        return None
    try:
        with opened(io.BytesIO(data)) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, RuntimeError, Image.DecompressionBombError):
        return None
    return np.ascontiguousarray(np.asarray(upright, np.uint8)[..., ::-1])


def read_heif() -> bool:
    """Have Pillow read HEIC, where the extra `heic` is installed; return whether it is."""
    if not find_spec("pi_heif"):
        return False
    import pi_heif

    pi_heif.register_heif_opener()
    return True


def start_of(file: Path | bytes) -> bytes:
    """Return the first 16 bytes of a file, or of its bytes. Raises OSError."""
    if isinstance(file, bytes):
        return file[:16]
    with file.open("rb") as opened_file:
        return opened_file.read(16)


def is_heif(file: Path | bytes) -> bool:
    """Tell whether a file is a HEIC picture, by its first bytes."""
    start = start_of(file)
    return start[4:8] == b"ftyp" and start[8:12] in HEIF


def needs(file: Path | bytes) -> str:
    """Say what must be installed for a picture to be read, '' where nothing would help."""
    try:
        return f"HEIC needs pi-heif: {HEIF_EXTRA}" if is_heif(file) and not read_heif() else ""
    except OSError:
        return ""


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """Return the picture files among the paths by suffix, in natural order; hidden files are left out."""
    found = [
        path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    return sorted(found, key=_natural)


def find_others(paths: Iterable[Path], pictures: Sequence[Path]) -> list[Path]:
    """Return the files among the paths that are none of the pictures; hidden files are left out."""
    known = set(pictures)
    return sorted(path for path in paths if path not in known and not path.name.startswith(".") and path.is_file())


def _natural(path: Path) -> list[tuple[int, str]]:
    """Compare runs of digits as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path))]
