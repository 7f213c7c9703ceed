"""Read photos from anywhere: what they are is looked up before they are decoded, so that size is bounded."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.sources.pictures import (
    decode_picture,
    find_others,
    find_pictures,
    listed,
    needs,
    opened,
    read_heif,
    read_picture,
    start_of,
)

log = logging.getLogger(__name__)

MOST_PIXELS = 40_000_000  # larger photos are shrunk to this
REFUSED_PIXELS = 178_000_000  # larger ones are not decoded: they would take half a gigabyte


class Photo(NamedTuple):
    """Hold a photo: (H, W, 3) uint8 BGR, upright, and what was changed about it, in words."""

    image: NDArray[np.uint8]
    notes: tuple[str, ...] = ()


def photo_paths(names: Sequence[str]) -> list[Path]:
    """Return the files that names stand for: files as they are, the pictures of a folder or a glob.

    Raises UserError where a name stands for nothing.
    """
    paths: list[Path] = []
    for name in names:
        path = Path(name)
        if path.is_file():
            paths.append(path)
            continue
        there = [*(path.iterdir() if path.is_dir() else map(Path, glob(name, recursive=True)))]
        found = find_pictures(there)
        if not found:
            raise UserError(f"{name}: no photo there: expected a file, a folder or a pattern like 'photos/*.jpg'")
        if others := find_others(there, found):
            log.warning("%s: left out as no pictures: %s", name, listed(others))
        paths += found
    return list(dict.fromkeys(paths))


def read_photo(file: Path | bytes, name: str = "") -> Photo:
    """Decode a photo upright: EXIF orientation applied, grey, CMYK and 16 bits turned into 8-bit BGR, no transparency.

    file: where it lies, or its bytes. name: what messages call it, the file's own name unless given. Of an animated
    picture the first one is taken. Raises UserError with one line where it is no picture or too large.
    """
    name = name or (file.name if isinstance(file, Path) else "picture")
    size, animated = _look_up(file, name)
    pixels = size[0] * size[1]
    if pixels > REFUSED_PIXELS:
        raise UserError(f"{name}: {pixels / 1e6:.0f} megapixels, expected at most {REFUSED_PIXELS / 1e6:.0f}")
    image = read_picture(file) if isinstance(file, Path) else decode_picture(file)
    if image is None:
        raise UserError(f"{name}: its picture cannot be decoded: is the file complete?")
    notes = ["animated: its first picture"] if animated else []
    if pixels > MOST_PIXELS:
        scale = (MOST_PIXELS / pixels) ** 0.5
        height, width = image.shape[:2]
        smaller = (int(width * scale), int(height * scale))
        image = np.asarray(cv2.resize(image, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        notes.append(f"scaled from {width} × {height}")
    return Photo(image, tuple(notes))


def _look_up(file: Path | bytes, name: str) -> tuple[tuple[int, int], bool]:
    """Return width and height as the file's head gives them, and whether it is an animation, without decoding."""
    from PIL import Image, UnidentifiedImageError

    read_heif()
    try:
        with opened(file if isinstance(file, Path) else io.BytesIO(file)) as head:
            moving = head.format in ("GIF", "PNG", "WEBP", "AVIF") and bool(getattr(head, "is_animated", False))
            return head.size, moving
    except Image.DecompressionBombError as error:
        raise UserError(f"{name}: expected at most {REFUSED_PIXELS / 1e6:.0f} megapixels, found more") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        found = needs(file) or f"expected a picture (JPEG, PNG, WebP, TIFF, ...), found {_kind(file)}"
        raise UserError(f"{name}: {found}") from error


def _kind(file: Path | bytes) -> str:
    """Say what a file that is no picture seems to be."""
    try:
        start = start_of(file)
    except OSError as error:
        return f"a file that cannot be read: {error.strerror}"
    if not start:
        return "an empty file"
    known = {b"%PDF": "a PDF", b"PK\x03\x04": "a ZIP archive or office document", b"<": "a web page or SVG"}
    known |= {b"\xff\xd8": "a JPEG that is cut off", b"\x89PNG": "a PNG that is cut off"}
    if start[4:8] == b"ftyp":
        return "a video"
    return next((name for head, name in known.items() if start.startswith(head)), "something else")
