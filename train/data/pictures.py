"""Reading of picture files: what cannot be read is listed and left out, within a limit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError

log = logging.getLogger(__name__)

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
UNREADABLE = 0.01  # the share of pictures that may be unreadable

Picture = NDArray[np.uint8]


def list_pictures(folder: Path) -> list[Path]:
    """Return the picture files below a folder in the order of their names. Raises FileNotFoundError for no folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of pictures, found none; is data.path right?")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def read_pictures(
    files: Sequence[Path], colour: bool, change: Callable[[Picture], Picture] | None = None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read files and change each picture; return the readable ones as `FaceSet.images` and which they are, (N,).

    Raises UserError where more than 1 % cannot be read.
    """
    found = [read_picture(file, colour) for file in files]
    readable = np.array([picture is not None for picture in found], bool)
    report_unreadable([str(file) for file, good in zip(files, readable, strict=True) if not good], len(files))
    kept = [picture for picture in found if picture is not None]
    return pack([change(picture) for picture in kept] if change else kept), readable


def read_picture(file: Path, colour: bool) -> Picture | None:
    """Read (H, W, 1) grey or (H, W, 3) BGR, or None where the file is missing or no picture."""
    try:
        return decode(file.read_bytes(), colour)
    except OSError:
        return None


def decode(content: bytes, colour: bool) -> Picture | None:
    """Decode the bytes of a picture file to (H, W, 1) grey or (H, W, 3) BGR, or None where they are something else."""
    if not content:
        return None
    kind = cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE
    try:
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), kind)
    except cv2.error:
        return None
    return None if picture is None else np.asarray(picture, np.uint8).reshape(*picture.shape[:2], -1)


def report_unreadable(names: Sequence[str], total: int) -> None:
    """Log what was left out; raise UserError where it is more than 1 % of all."""
    if not names:
        return
    listed = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    if len(names) > UNREADABLE * total:
        raise UserError(f"{len(names)} of {total} pictures cannot be read, more than 1 %: {listed}")
    log.warning("%d of %d pictures cannot be read and are left out: %s", len(names), total, listed)


def pack(pictures: Sequence[Picture]) -> NDArray[Any]:
    """Stack pictures of one size to (N, H, W, C); pictures of several sizes become (N,) objects."""
    if pictures and len({picture.shape for picture in pictures}) == 1:
        return np.stack(pictures)
    packed = np.empty(len(pictures), object)
    for position, picture in enumerate(pictures):
        packed[position] = picture
    return packed


def at_most(longest: int) -> Callable[[Picture], Picture]:
    """Return a change that shrinks pictures whose longer side is more than `longest` pixels."""

    def shrink(picture: Picture) -> Picture:
        scale = longest / max(picture.shape[:2])
        if scale >= 1:
            return picture
        height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8).reshape(height, width, -1)

    return shrink
