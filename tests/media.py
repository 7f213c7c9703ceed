"""What the tests of sources share: a reader of everything a source tells, and small media made on the spot."""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.sources import Source, SourceError, State, observed, open_source
from streamer.types import Frame

FRAMES = 50


@dataclass
class Reading:
    """What came out of a source."""

    frames: list[Frame] = field(default_factory=list)
    states: list[tuple[State, str]] = field(default_factory=list)
    error: SourceError | None = None

    @property
    def order(self) -> list[State]:
        return [state for state, _ in self.states]

    @property
    def values(self) -> list[int]:
        """The number that `write_video` drew into each frame."""
        return [round((float(frame.image.mean()) - 40) / 4) for frame in self.frames]


def read(source: Source, *, stop_after: int | None = None) -> Reading:
    reading, stop = Reading(), threading.Event()
    try:
        for frame in observed(source, stop, lambda state, reason, cause: reading.states.append((state, reason))):
            reading.frames.append(frame)
            if len(reading.frames) == stop_after:
                stop.set()
    except SourceError as error:
        reading.error = error
    return reading


def fails(text: str, **settings: float) -> str:
    """Return the one line with which a source is refused, at opening or before the first frame."""
    try:
        reading = read(open_source(text, **settings))
    except SourceError as error:
        message = str(error)
    else:
        assert not reading.frames
        assert reading.order == [State.CONNECTING, State.FAILED]
        message = str(reading.error)
        assert reading.states[-1][1] == message
    assert message
    assert "\n" not in message
    return message


def write_video(path: Path, frames: int = FRAMES, fps: float = 25.0) -> Path:
    """Write grey pictures, each 4 levels brighter than the one before, with some noise to give them weight."""
    codec = {".mp4": "mp4v", ".avi": "MJPG"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (160, 120))
    assert writer.isOpened()
    noise = np.random.default_rng(0)
    for index in range(frames):
        writer.write((noise.integers(-3, 4, (120, 160, 3)) + 4 * index + 40).astype(np.uint8))
    writer.release()
    return path


def ffmpeg(*arguments: object) -> None:
    """Run the ffmpeg program; skip the test where it is missing."""
    if not shutil.which("ffmpeg"):
        pytest.skip("needs the ffmpeg program to make its media")
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=120)


@contextmanager
def ffmpeg_running(*arguments: object) -> Iterator[None]:
    """Have the ffmpeg program send; skip the test where it is missing."""
    if not shutil.which("ffmpeg"):
        pytest.skip("needs the ffmpeg program to send its media")
    command = ["ffmpeg", "-v", "error", "-nostdin", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


def write_streamable(path: Path) -> Path:
    """Write an MP4 whose list of frames comes first, as web servers have them."""
    data = write_video(path).read_bytes()
    at, head = data.rindex(b"moov") - 4, int.from_bytes(data[:4])
    moov = bytearray(data[at:])
    table = moov.index(b"stco") + 8
    for entry in range(struct.unpack_from(">I", moov, table)[0]):
        place = table + 4 + 4 * entry
        struct.pack_into(">I", moov, place, struct.unpack_from(">I", moov, place)[0] + len(moov))
    path.write_bytes(data[:head] + moov + data[head:at])
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def grey(value: int) -> np.ndarray:
    return np.full((40, 60, 3), value, np.uint8)


@contextmanager
def tcp_server(answer: Callable[[bytes], bytes] | None) -> Iterator[int]:
    """Answer every request on a loopback port, or none ever."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        waiting: list[socket.socket] = []

        def serve() -> None:
            while not done.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                waiting.append(connection)
                if answer:
                    connection.settimeout(5)
                    while request := connection.recv(4096):
                        connection.sendall(answer(request))
                        break
                    waiting.pop().close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join()
            for connection in waiting:
                connection.close()
