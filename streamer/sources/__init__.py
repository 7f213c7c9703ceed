"""Where frames come from: one class for pictures, one for finite videos, one for live streams, behind one protocol.

Video is decoded by OpenCV or, with the extra `video`, PyAV (`Decoder`), by whichever reads it rightly and at less cost.

`frames` runs in the thread that iterates it, the pipeline's capture thread; a live source reads on a thread of its own
behind it, which it can abandon (`reader`). A program calls `prepare_opencv` first: else OpenCV prints to stderr and
opens one stream at a time, so that a camera that hangs blocks the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import partial
from glob import escape, glob
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2

from streamer.sources.animation import is_animated, open_animation
from streamer.sources.network import PORTS, open_url
from streamer.sources.pictures import Pictures, find_others, find_pictures, is_heif
from streamer.sources.reconnect import Live
from streamer.sources.redact import redact, redact_mistyped
from streamer.sources.source import (
    Cause,
    Report,
    Source,
    SourceError,
    State,
    observed,
    unique_names,
)
from streamer.sources.video import Video, open_file
from streamer.sources.webcam import open_webcam

__all__ = [
    "Cause",
    "Report",
    "Source",
    "SourceError",
    "State",
    "observed",
    "open_source",
    "open_sources",
    "prepare_opencv",
    "redact",
    "unique_names",
]

EXPECTED = "expected a webcam's number, a video or picture file, a folder or glob of pictures, or a URL"
OPENCV_SETTINGS = {
    "OPENCV_FFMPEG_LOGLEVEL": "-8",  # FFmpeg's own lines; they can hold URLs
    "OPENCV_FFMPEG_IS_THREAD_SAFE": "1",  # no process-wide lock: a camera that hangs does not block the others
    "OPENCV_AVFOUNDATION_SKIP_AUTH": "1",  # macOS asks its user from the main thread alone, which opens no webcam
    "OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT": "3",  # s that a webcam's read may take, else 10
}


def prepare_opencv() -> None:
    """Silence OpenCV and FFmpeg and let streams be opened at the same time; for a program's start only.

    It changes the environment, which OpenCV reads when the first stream is opened, and OpenCV's log level. What the
    user has set stays.
    """
    for name, value in OPENCV_SETTINGS.items():
        os.environ.setdefault(name, value)
    settings = getattr(cv2.utils, "logging", None)  # not every build has it
    if settings and "OPENCV_LOG_LEVEL" not in os.environ:
        settings.setLogLevel(settings.LOG_LEVEL_SILENT)


def open_source(
    text: str | int | Path,
    *,
    timeout: float = 3.0,
    retries: int | None = None,
    patient: bool = False,
    period: float = 1.0,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    decode: str = "auto",
) -> Source:
    """Return the source that a text, number or path names; its device, file or connection is opened by the first frame.

    A number (or /dev/videoN) is a webcam, asked for width, height and fps. A URL is a live stream, of which each read
    and opening has `timeout` s, longer where pictures come rarely; what a web server sends and states how long it is,
    is a finite video (known with its first frame). A folder, a glob or a picture file is a stream of pictures, one each
    `period` s. Any other file is a video. retries, patient: see `Live`. decode: video on a device ('hw'), or not.
    Raises SourceError where nothing can be read, as far as that is known without opening.
    """
    text = str(text)
    camera = re.fullmatch(r"(?:/dev/video)?0*(\d+)", text)
    if camera:
        if len(camera[1]) > 2:  # OpenCV reads the hundreds as a driver, and would open another camera
            raise SourceError(f"{text}: expected a webcam's number, 0 to 99 (or ./{text} for a file of that name)")
        index = int(camera[1])
        opener = partial(open_webcam, index, width, height, fps)
        return Live(f"camera-{index}", opener, timeout=timeout, retries=retries, patient=patient)
    if "://" in text:
        return _from_url(text, timeout, retries, patient, decode == "hw")
    return _from_path(text, period, decode == "hw")


def open_sources(texts: Iterable[str], **settings: Any) -> list[Source]:
    """Return the sources that texts name, each under a name of its own; see `open_source` for settings and errors."""
    sources = [open_source(text, **settings) for text in texts]
    for source, name in zip(sources, unique_names(source.name for source in sources), strict=True):
        source.name = name
    return sources


def _from_url(text: str, timeout: float, retries: int | None, patient: bool, hardware: bool) -> Source:
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()  # FFmpeg knows them in lower case only
    url = scheme + separator + rest
    name = redact(url)
    if scheme not in PORTS:
        raise SourceError(f"{name}: unknown kind of URL '{scheme}': expected {', '.join(PORTS)}")
    try:
        parts = urlsplit(url)
        valid = (parts.hostname and parts.port != 0) or scheme == "udp"
    except ValueError:
        valid = False
    if not valid:
        raise SourceError(
            f"{name}: not an address: expected {scheme}://[user:password@]host[:port]/path, '/' in a password as %2F"
        )
    opener, may_end = partial(open_url, url, timeout, hardware), scheme in ("http", "https")
    return Live(name, opener, timeout=timeout, retries=retries, patient=patient, may_end=may_end)


def _from_path(text: str, period: float, hardware: bool) -> Source:
    shown = redact_mistyped(text.replace("\0", "?"))
    if "\0" in text:
        raise SourceError(f"{shown}: a name of a file cannot hold the character NUL: {EXPECTED}")
    path = Path(text)
    if os.path.isfile(text):
        if not path.stat().st_size:
            raise SourceError(f"{text}: the file is empty")
        if is_animated(path):
            return Video(text, path.stem, partial(open_animation, path))
        if find_pictures([path]) or is_heif(path):
            return Pictures(text, path.stem, [path], period=period)
        return Video(text, path.stem, partial(open_file, path, hardware))
    folder = bool(text) and os.path.isdir(text)
    there = [*map(Path, glob(os.path.join(escape(text), "*") if folder else text, recursive=True))]
    found = find_pictures(there)
    if found:
        name = path.resolve().name if folder else "/".join(path.parts[-2:])
        return Pictures(text, name, found, period=period, others=find_others(there, found))
    if folder or any(sign in text for sign in "*?["):
        raise SourceError(
            f"{text if folder else shown}: no picture there: expected files like .jpg or .png that this user may read"
        )
    raise SourceError(f"{shown or 'empty source'}: no such file or folder: {EXPECTED}")
