"""A HEIC picture of one HEVC frame, as ISO/IEC 23008-12 has it: Pillow and ffmpeg write none."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np

from tests.media import ffmpeg


def _box(kind: bytes, *parts: bytes, version: int | None = None) -> bytes:
    body = (b"" if version is None else bytes([version, 0, 0, 0])) + b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def write_heic(path: Path, image: np.ndarray) -> Path:
    """Write a (H, W, 3) uint8 BGR picture, of sides that are multiples of 8, as HEIC."""
    height, width = image.shape[:2]
    still, movie = path.with_suffix(".source.png"), path.with_suffix(".source.mp4")
    cv2.imwrite(str(still), image)
    coding = ["-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"]
    ffmpeg("-i", still, "-frames:v", 1, *coding, movie)
    data = movie.read_bytes()
    start = data.index(b"hvcC") - 4
    header = data[start : start + struct.unpack_from(">I", data, start)[0]]
    start = data.index(b"mdat") - 4
    coded = data[start + 8 : start + struct.unpack_from(">I", data, start)[0]]
    still.unlink()
    movie.unlink()
    ftyp = _box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    hdlr = _box(b"hdlr", bytes(4), b"pict", bytes(13), version=0)
    pitm = _box(b"pitm", struct.pack(">H", 1), version=0)
    infe = _box(b"infe", struct.pack(">HH", 1, 0), b"hvc1", b"\0", version=2)
    iinf = _box(b"iinf", struct.pack(">H", 1), infe, version=0)
    ispe = _box(b"ispe", struct.pack(">II", width, height), version=0)
    ipma = _box(b"ipma", struct.pack(">IHBBB", 1, 1, 2, 0x81, 2), version=0)
    iprp = _box(b"iprp", _box(b"ipco", header, ispe), ipma)

    def meta(at: int) -> bytes:
        place = struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, at, len(coded))
        return _box(b"meta", hdlr, pitm, _box(b"iloc", place, version=0), iinf, iprp, version=0)

    at = len(ftyp) + len(meta(0)) + 8
    path.write_bytes(ftyp + meta(at) + _box(b"mdat", coded))
    return path
