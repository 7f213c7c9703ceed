"""What a video file's header promises, so that a truncated file can be told from a short clip.

OpenCV's frame count alone cannot: it is exact in some containers, follows the sound in others, and counts frames that
an edit list hides. Where a container states its size in bytes, that is exact.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MP4 = {
    b"ftyp",
    b"styp",
    b"moov",
    b"moof",
    b"mdat",
    b"free",
    b"skip",
    b"wide",
    b"sidx",
    b"mfra",
    b"uuid",
    b"meta",
    b"udta",
}
EBML = b"\x1a\x45\xdf\xa3"
FILE_LIST = b"ffconcat version"  # with which a text begins that has FFmpeg play the files it names


@dataclass(frozen=True)
class Promise:
    """Hold what a header promises.

    missing: bytes that should follow the end of the file. duration: seconds of pictures, None where it is not stated.
    """

    missing: int = 0
    duration: float | None = None


def read_promise(path: Path) -> Promise:
    """Read the header of an MP4/MOV, AVI, Matroska/WebM, FLV or GIF file; others promise nothing.

    Raises OSError, also for a file that is a list of others: nobody named these, and no manifest would know them.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(64)
        if start.startswith(FILE_LIST):
            raise OSError("a list of other files (ffconcat), not a video: expected the names of these files")
        if start[4:8] in MP4:
            return _mp4(file, size)
        if start[:4] == b"RIFF":
            return _avi(file, start, size)
        if start[:4] == EBML:
            return Promise(max(0, _matroska_end(file) - size))
        if start[:3] == b"FLV":
            return Promise(_flv_missing(file, size))
        if start[:4] == b"GIF8":
            file.seek(max(0, size - 1024))
            return Promise(0 if file.read().rstrip(b"\0").endswith(b";") else 1)
    return Promise()


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start of the content, end) of the MP4 boxes from one offset to another."""
    while start + 8 <= end:
        file.seek(start)
        head = file.read(16)
        size, content = int.from_bytes(head[:4]), start + 8
        if size == 1:
            size, content = int.from_bytes(head[8:16]), start + 16
        stop = start + size if size else end
        if stop < content:
            return
        yield head[4:8], content, stop
        start = stop


def _mp4(file: BinaryIO, size: int) -> Promise:
    promised, duration = 0, None
    for kind, start, end in _boxes(file, 0, size):
        if kind not in MP4:
            break  # what cameras append behind the last box
        promised = end
        if kind == b"moov" and end <= size:
            file.seek(start)
            duration = _picture_duration(file.read(end - start))
    return Promise(max(0, promised - size), duration)


def _picture_duration(moov: bytes) -> float | None:
    """Return the seconds of the longest track that has a width, its edit list applied; a cover may be one."""
    file, scale, longest = io.BytesIO(moov), 0, 0
    for kind, start, end in _boxes(file, 0, len(moov)):
        if kind == b"mvhd":
            at = start + (20 if any(moov[start : start + 1]) else 12)
            scale = int.from_bytes(moov[at : at + 4])
        elif kind == b"trak":
            for child, content, stop in _boxes(file, start, min(end, len(moov))):
                if child == b"tkhd" and any(moov[stop - 8 : stop - 4]):
                    at, width = (28, 8) if any(moov[content : content + 1]) else (20, 4)
                    ticks = int.from_bytes(moov[content + at : content + at + width])
                    longest = max(longest, ticks if ticks < 2 ** (8 * width) - 1 else 0)
    return longest / scale if scale and longest else None


def _avi(file: BinaryIO, start: bytes, size: int) -> Promise:
    """Follow the RIFF chunks (long files have several) and read the main header's period and frame count."""
    promised = 0
    while promised + 8 <= size:
        file.seek(promised)
        head = file.read(8)
        if head[:4] != b"RIFF":
            break
        promised += 8 + int.from_bytes(head[4:], "little")
    period, frames = (int.from_bytes(start[at : at + 4], "little") for at in (32, 48))
    duration = period * frames * 1e-6 if start[24:28] == b"avih" else 0.0
    # some writers count the 8 bytes of the chunk's own head
    return Promise(promised - size if promised - size > 8 else 0, duration or None)


def _flv_missing(file: BinaryIO, size: int) -> int:
    """Return 0 where the last tag is whole: its length stands behind it, that of its data in front of it."""
    file.seek(max(0, size - 4))
    whole = int.from_bytes(file.read(4))
    file.seek(max(0, size - 4 - whole))
    return int(int.from_bytes(file.read(4)[1:]) + 11 != whole)


def _matroska_end(file: BinaryIO) -> int:
    """Return the offset where the segment ends; 0 where a live recorder left it open."""
    file.seek(4)
    header, _ = _variable(file)
    file.seek(header + 4, io.SEEK_CUR)
    length, unknown = _variable(file)
    return 0 if unknown else file.tell() + length


def _variable(file: BinaryIO) -> tuple[int, bool]:
    """Read a number of 1 to 8 bytes whose leading zero bits give its width; all ones mean 'unknown'."""
    first = file.read(1)
    width = 9 - first[0].bit_length() if first and first[0] else 1
    number = int.from_bytes(first + file.read(width - 1)) & ((1 << 7 * width) - 1)
    return number, number == (1 << 7 * width) - 1
