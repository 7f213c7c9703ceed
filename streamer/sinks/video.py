"""Annotated video, written by OpenCV's FFmpeg in the caller's thread.

The file is written beside its target as `NAME.part.SUFFIX`, and renamed when it is closed and readable: a file of the
final name is complete, however the run ended, and a partial file does not look like a result.
"""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.sinks import PerStream
from streamer.sources.source import printable
from streamer.types import Result

log = logging.getLogger(__name__)

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID", ".webm": "VP80"}
USUAL_FPS = 25.0  # of streams that do not say, or say nonsense
HIGHEST_FPS = 240.0
FINE_FPS = 65.0  # highest rate that is written with thousandths
LOWEST_FPS = 1 / 60
LONGEST_GAP = 10.0  # seconds for which the last picture is held where a stream gave none
JUMP_BACK = 1.0  # seconds; where stream time goes back by more, the video goes on from there
SMALLEST_SIDE = 16  # pixels; VP8 cannot take less
SPARE_SPACE = 64 << 20  # bytes that must stay free: enough for every codec to finish its file


class VideoSink:
    """Write one stream's annotated pictures at the speed of its stream time.

    Gaps repeat the last picture, pictures that come too fast are left out. The first picture sets the size; others are
    fitted into it between black bars. Of a stream slower than a picture a second each is repeated, as not all players
    and containers can show one for long. fps: pictures a second, or a function that tells when the first picture is
    there. Raises UserError for a suffix without a codec, OSError where the file cannot be written.
    """

    wants_picture = True

    def __init__(self, path: Path, fps: float | Callable[[], float | None]) -> None:
        if path.suffix.lower() not in CODECS:
            raise UserError(f"{path}: cannot write video as '{path.suffix}': expected one of {', '.join(CODECS)}")
        if printable(str(path)) != str(path):
            raise UserError(f"{printable(str(path))}: cannot write video there: expected a name in UTF-8")
        self.path = path
        self.unfinished = unfinished_path(path)
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._rate, self._hold, self._size = USUAL_FPS, 1, (0, 0)  # hold: how often each picture is written at least
        self._start, self._count = 0.0, 0  # stream time of picture 0, pictures written
        self._last: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
        _try_to_write(path, self.unfinished)

    def write(self, result: Result, picture: NDArray[np.uint8] | None) -> None:
        """Add the picture where its stream time belongs. Raises OSError where the disk is nearly full."""
        if picture is None:
            raise ValueError("VideoSink.write: expected a picture, found None")
        if self._writer is None:
            self._writer = self._open(picture, result.frame.time)
        due = self._due(result.frame.time)
        if due < 1:
            return
        if shutil.disk_usage(self.unfinished.parent).free < SPARE_SPACE:
            raise OSError(f"{self.path}: the disk is full: less than {SPARE_SPACE >> 20} MiB are free")
        for _ in range(due - 1):
            self._writer.write(self._last)
        self._last = _fitted(picture, *self._size)
        self._writer.write(self._last)
        self._count += due

    def _open(self, picture: NDArray[np.uint8], time: float) -> cv2.VideoWriter:
        fps = self._fps() if callable(self._fps) else self._fps
        fps = fps if fps and LOWEST_FPS <= fps <= HIGHEST_FPS else USUAL_FPS
        self._hold = math.ceil(1 / fps - 1e-6)
        self._rate = fps * self._hold
        if self._rate > FINE_FPS:  # FFmpeg gets thousandths, of which MPEG-4 counts 65,535 a second at most
            self._rate = round(self._rate, 1)
        height, width = picture.shape[:2]
        self._size = (
            max(SMALLEST_SIDE, width + width % 2),
            max(SMALLEST_SIDE, height + height % 2),
        )  # codecs want even sides
        self._start = time
        codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        writer = cv2.VideoWriter(_for_ffmpeg(self.unfinished), cv2.CAP_FFMPEG, codec, self._rate, self._size)
        if not writer.isOpened():
            width, height = self._size
            raise OSError(
                f"{self.path}: this OpenCV cannot write {width}x{height} at {self._rate:g} fps as {self.path.suffix}"
            )
        return writer

    def _due(self, time: float) -> int:
        """Return how many pictures bring the file up to this stream time; none where its place is taken."""
        due = int((time - self._start) * self._rate + 0.5) + 1 - self._count
        most = max(self._hold, int(LONGEST_GAP * self._rate))
        if due > most:
            log.warning(
                "%s: no picture for %.1f s, shortened to %.0f s", self.path.name, due / self._rate, most / self._rate
            )
            self._start += (due - most) / self._rate
            return most
        if due < -JUMP_BACK * self._rate:
            log.warning("%s: stream time went back by %.1f s, the video goes on", self.path.name, -due / self._rate)
            self._start = time - self._count / self._rate
            return 1
        return due

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            self.unfinished.unlink(missing_ok=True)
            if error is None:
                log.warning("%s: not written: there was no picture", self.path)
            return
        for _ in range(self._hold - 1):  # the last one is shown as long as the others
            self._writer.write(self._last)
        self._count += self._hold - 1
        self._writer.release()
        found = _count_pictures(self.unfinished)
        if abs(found - self._count) <= 1:  # some containers say how long they are, not how many pictures they hold
            os.replace(self.unfinished, self.path)
            return
        problem = f"{self.unfinished}: wrote {self._count} pictures, can read {found}: is the disk or a quota full?"
        if error is None:
            raise OSError(problem)
        log.error("%s", problem)


class Stream(Protocol):
    """Name a stream and its nominal frame rate, known with its first frame or never."""

    name: str
    fps: float | None


def video_sink(path: Path, streams: Sequence[Stream]) -> VideoSink | PerStream:
    """Return a sink for one stream's video, or one that writes `NAME-STREAM.SUFFIX` for each of several."""
    by_name = {stream.name: stream for stream in streams}
    paths = video_paths(path, list(by_name))

    def fps_of(stream: str) -> Callable[[], float | None]:
        return lambda: by_name[stream].fps if stream in by_name else None

    def open_sink(stream: str) -> VideoSink:
        paths[stream] = paths.get(stream) or _own_path(path, stream, paths.values())
        return VideoSink(paths[stream], fps_of(stream))

    return open_sink(streams[0].name) if len(streams) == 1 else PerStream(open_sink, by_name)


def video_paths(path: Path, streams: Sequence[str]) -> dict[str, Path]:
    """Return where the video of each stream goes: to the path itself where there is only one."""
    if len(streams) == 1:
        return {streams[0]: path}
    paths: dict[str, Path] = {}
    for stream in streams:
        paths[stream] = _own_path(path, stream, paths.values())
    return paths


def unfinished_path(path: Path) -> Path:
    """Return where a video is written until it is whole."""
    return path.with_name(f"{path.stem}.part{path.suffix}")


def _own_path(path: Path, stream: str, taken: Collection[Path]) -> Path:
    label = re.sub(r"[^\w.-]+", "-", stream).strip("-.") or "stream"
    name = f"{path.stem}-{label}"
    while (own := path.with_name(name + path.suffix)) in taken:
        name += "-2"
    return own


def _try_to_write(path: Path, unfinished: Path) -> None:
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        unfinished.open("wb").close()
    except OSError as error:
        raise OSError(f"{path}: cannot write the video: {error.strerror}") from error


def _count_pictures(path: Path) -> int:
    capture = cv2.VideoCapture(_for_ffmpeg(path), cv2.CAP_FFMPEG)
    try:
        return round(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()


def _for_ffmpeg(path: Path) -> str:
    """Name a file so that FFmpeg takes no ':' in it for the end of a protocol."""
    return f"file:{path}"


def _fitted(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return the picture fitted into (width, height) on black; it is not scaled to fill a margin of one pixel."""
    found_height, found_width = picture.shape[:2]
    if (found_width, found_height) == (width, height):
        return picture
    margin_only = 0 <= width - found_width <= 1 and 0 <= height - found_height <= 1
    scale = 1.0 if margin_only else min(width / found_width, height / found_height)
    size = max(1, round(found_width * scale)), max(1, round(found_height * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    x, y = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[y : y + size[1], x : x + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return canvas
