"""What may be given as a picture: a file, an address on the web, the bytes of a file, or an array."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.photo.decode import Photo, read_photo
from streamer.sources.redact import redact, redact_mistyped
from streamer.sources.source import printable

Picture = str | os.PathLike[str] | bytes | bytearray | memoryview | NDArray[np.uint8]

EXPECTED = "a path, an http address, the bytes of a file or a (H, W, 3) uint8 array"
LARGEST = 100_000_000  # bytes that are fetched of an address
TIMEOUT = 10.0  # s without a byte of it
LONGEST_SHOWN = 120  # letters of a text that was taken for a path


class Opened(NamedTuple):
    """Hold a picture that was given, what to call it, and whether it may be turned upright: arrays stay as they are."""

    name: str
    photo: Photo
    turn: bool


def is_picture(given: object) -> TypeGuard[Picture]:
    """Tell one picture from several."""
    return isinstance(given, str | os.PathLike | bytes | bytearray | memoryview | np.ndarray)


def open_picture(given: Any, *, rgb: bool = False) -> Opened:
    """Read or take one picture. rgb: arrays have their colours in that order. Raises UserError with one line."""
    if isinstance(given, np.ndarray):
        return Opened("picture", Photo(as_bgr_array(given, rgb=rgb)), turn=False)
    if isinstance(given, bytes | bytearray | memoryview):
        return Opened("picture", read_photo(bytes(given)), turn=True)
    if isinstance(given, str) and "://" in given:
        name = _name_of(given)
        return Opened(name, read_photo(_fetch(given), redact(given)), turn=True)
    if isinstance(given, str | os.PathLike):
        path = _file(os.fspath(given))
        return Opened(printable(path.name), read_photo(path), turn=True)
    raise UserError(f"expected {EXPECTED}, found {type(given).__name__}")


def as_bgr_array(image: NDArray[Any], *, rgb: bool = False) -> NDArray[np.uint8]:
    """Return an own array as (H, W, 3) uint8 BGR; the array itself is neither changed nor frozen.

    rgb: its colours are red, green, blue. Raises UserError where it has another shape or type.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UserError(f"expected an array (H, W, 3) uint8 of blue, green and red, found {found}{_hint(image)}")
    if not image.size:
        raise UserError(f"expected an array (H, W, 3) uint8 with a pixel at least, found {image.shape}")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8) if rgb else np.asarray(image)


def _hint(image: Any) -> str:
    if not isinstance(image, np.ndarray):
        return ""
    if image.ndim == 4:
        return ": several pictures are given as a list"
    if image.ndim == 2:
        return ": cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) makes one of a grey picture"
    if image.ndim == 3 and image.shape[2] == 4:
        return ": leave out transparency, image[..., :3]"
    return ": values are 0 to 255" if image.ndim == 3 and image.shape[2] == 3 else ""


def _file(text: str) -> Path:
    if os.path.isfile(text):  # of Path's `is_file` a text that is too long raises
        return Path(text)
    shown = printable(redact_mistyped(text.replace("\0", "?")))
    shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
    if os.path.isdir(text):
        raise UserError(f"{shown}: expected one picture, found a folder: give its files as a list, or watch it")
    raise UserError(f"{shown or 'empty path'}: no such file: expected {EXPECTED}")


def _name_of(url: str) -> str:
    """Return the last part of an address's path, else its host; never a query, which may hold a secret."""
    parts = urlsplit(redact(url))
    return unquote(parts.path.rpartition("/")[2]) or parts.netloc or "picture"


def _fetch(url: str) -> bytes:
    """Return what an http address holds. Raises UserError with one line, without credentials."""
    shown = redact(url)
    try:
        request = _request(url, shown)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            data: bytes = answer.read(LARGEST + 1)
            missing = answer.length
    except urllib.error.HTTPError as error:
        error.close()
        raise UserError(f"{shown}: the server answers with error {error.code} ({error.reason})") from None
    except urllib.error.URLError as error:
        raise UserError(f"{shown}: cannot be reached: {_why(error.reason)}") from None
    except (OSError, ValueError) as error:  # it breaks off, or speaks no HTTP
        raise UserError(f"{shown}: cannot be read: {_why(error)}") from None
    if len(data) > LARGEST:
        raise UserError(f"{shown}: expected at most {LARGEST / 1e6:.0f} MB, found more")
    if missing:
        raise UserError(f"{shown}: cannot be read: the connection was lost {missing} bytes before its end")
    return data


def _request(url: str, shown: str) -> urllib.request.Request:
    try:
        parts = urlsplit(url)
        address = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")
        valid = parts.scheme.lower() in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise UserError(f"{shown}: expected an address http://host/path or https://host/path of a picture")
    request = urllib.request.Request(address.geturl(), headers={"User-Agent": "emotion-streamer"})
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        request.add_unredirected_header("Authorization", f"Basic {b64encode(login).decode()}")
    return request


def _why(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT:g} s"
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return " ".join(text.split()) or type(reason).__name__
