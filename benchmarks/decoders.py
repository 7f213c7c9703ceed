"""Measure OpenCV and PyAV as decoders of each kind of video: CPU, rate alone and beside a busy thread, pictures right.

Usage: python benchmarks/decoders.py [--repeats 4]        needs the extra `video` and the ffmpeg program

Clips are made from the sample: 100 pictures of known content. A picture is right where its PSNR to that content is
above 25 dB and its shape is the true one. CPU is what the whole process spent, all its threads, in user and system
mode, and the lowest of the repeats, as others work on the machine. Beside a busy thread: one that runs Python code
without a break, as a program may that has more to do than we know.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import report
from numpy.typing import NDArray

from streamer.sources import SourceError, prepare_opencv
from streamer.sources.av_decoder import AvDecoder
from streamer.sources.opencv_decoder import OpenCVDecoder
from streamer.sources.source import Decoder

SAMPLE = Path(__file__).parents[1] / "docs" / "sample" / "sample.mp4"
FRAMES = 100
LEAST = 25.0  # dB
FIGURES = ("ms CPU a frame", "fps", "fps beside a busy thread")
FIELDS = "-flags +ildct+ilme -top 1"


class Kind(NamedTuple):
    """Say how a clip is coded: width and height of its true shape, filters, options, suffix."""

    width: int
    height: int
    filters: str
    options: str
    suffix: str


X264 = "-c:v libx264 -preset medium -pix_fmt yuv420p"
KINDS = {
    "H.264 640x480": Kind(640, 480, "", X264, ".mp4"),
    "H.264 1280x720": Kind(1280, 720, "", X264, ".mp4"),
    "H.264 1920x1080": Kind(1920, 1080, "", X264, ".mp4"),
    "H.264 1280x720 in TS": Kind(1280, 720, "", X264, ".ts"),
    "HEVC 1280x720": Kind(1280, 720, "", "-c:v libx265 -x265-params log-level=1 -pix_fmt yuv420p", ".mp4"),
    "MPEG-4 1280x720": Kind(1280, 720, "", "-c:v mpeg4 -q:v 4", ".avi"),
    "Motion JPEG 1280x720": Kind(1280, 720, "", "-c:v mjpeg -q:v 4 -pix_fmt yuvj420p", ".avi"),
    "VP9 1280x720": Kind(1280, 720, "", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M", ".webm"),
    "pixels 2:1": Kind(1280, 720, "scale=640:720,setsar=2/1", X264, ".mp4"),
    "interlaced H.264": Kind(1280, 720, "interlace", f"{X264} {FIELDS}", ".mp4"),
    "interlaced MPEG-2": Kind(1280, 720, "interlace", f"-c:v mpeg2video -q:v 4 {FIELDS}", ".mpg"),
    "interlaced MPEG-4": Kind(1280, 720, "interlace", f"-c:v mpeg4 -q:v 4 {FIELDS}", ".avi"),
    "interlaced ProRes": Kind(1280, 720, "interlace", f"-c:v prores_ks -pix_fmt yuv422p10le {FIELDS}", ".mov"),
    "DV": Kind(1024, 576, "interlace,scale=720:576,setsar=64/45", "-c:v dvvideo -pix_fmt yuv420p", ".dv"),
}


def make(kind: Kind, folder: Path) -> tuple[Path, list[NDArray[np.uint8]]]:
    """Code a clip; return it and the pictures that it shows."""
    path = folder / f"clip{kind.suffix}"
    interlaced = kind.filters.startswith("interlace")
    filters = f"scale={kind.width}:{kind.height},setsar=1"
    filters += ",fps=50" if interlaced else ""
    filters += f",{kind.filters}" if kind.filters else ""
    ffmpeg = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "1", "-i", str(SAMPLE)]
    command = [*ffmpeg, "-vf", filters, *kind.options.split(), "-frames:v", str(FRAMES), str(path)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    capture, shown = cv2.VideoCapture(str(SAMPLE), cv2.CAP_FFMPEG), []
    for _ in range(FRAMES):
        image = cv2.resize(capture.read()[1], (kind.width, kind.height), interpolation=cv2.INTER_CUBIC)
        shown.append(np.asarray(image, np.uint8))
    capture.release()
    return path, shown


def by_opencv(path: Path) -> Decoder:
    return OpenCVDecoder(cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), path.name)


def by_pyav(path: Path) -> Decoder:
    return AvDecoder(str(path), path.name)


def plain_opencv(path: Path) -> Decoder:
    """Read as the analyzer did before it looked for interlaced pictures and the shape of pixels."""

    class Plain:
        def __init__(self) -> None:
            self.capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
            self.close = self.capture.release

        def read(self) -> tuple[NDArray[np.uint8], float] | None:
            done, image = self.capture.read()
            return (image, self.capture.get(cv2.CAP_PROP_POS_MSEC)) if done else None  # type: ignore[return-value]

    return Plain()  # type: ignore[return-value]


def right(opener: Callable[[Path], Decoder], path: Path, shown: list[NDArray[np.uint8]]) -> str:
    """Return how many pictures are right, or that the video was refused."""
    decoder, count = opener(path), 0
    try:
        for expected in shown:
            picture = decoder.read()
            if picture and picture[0].shape == expected.shape:
                count += cv2.PSNR(picture[0], expected) > LEAST
    except SourceError:
        return "refused"
    finally:
        decoder.close()
    return str(count)


def cost(opener: Callable[[Path], Decoder], path: Path) -> tuple[float, float]:
    """Return seconds of CPU and of time that reading the whole clip takes."""
    before, started = _cpu(), time.perf_counter()
    decoder = opener(path)
    while decoder.read():
        pass
    decoder.close()
    return _cpu() - before, time.perf_counter() - started


def busy_cost(opener: Callable[[Path], Decoder], path: Path) -> float:
    """Return the seconds that reading takes beside a thread that runs Python code without a break."""
    over = False

    def spin() -> None:
        while not over:
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        return cost(opener, path)[1]
    finally:
        over = True
        thread.join()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4)
    options = parser.parse_args()
    if not shutil.which("ffmpeg"):
        parser.error("expected the ffmpeg program, which makes the clips")
    prepare_opencv()
    rows = []
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            path, shown = make(kind, Path(folder))
            openers = {"as before": plain_opencv, "OpenCV": by_opencv, "PyAV": by_pyav}
            counts = {reader: right(opener, path, shown) for reader, opener in openers.items()}
            able = {reader: opener for reader, opener in openers.items() if counts[reader] != "refused"}
            turns = [{reader: cost(opener, path) for reader, opener in able.items()} for _ in range(options.repeats)]
            busy = [{reader: busy_cost(opener, path) for reader, opener in able.items()} for _ in range(2)]
            for reader in openers:
                row = {"kind": name, "reader": reader, "right of 100": counts[reader], **dict.fromkeys(FIGURES, "–")}
                if reader in able:
                    row |= zip(
                        FIGURES,
                        (
                            round(min(turn[reader][0] for turn in turns) / FRAMES * 1000, 2),
                            round(FRAMES / min(turn[reader][1] for turn in turns)),
                            round(FRAMES / min(turn[reader] for turn in busy)),
                        ),
                        strict=True,
                    )
                print(row, flush=True)
                rows.append(row)
    report.write("decoders", "OpenCV and PyAV as decoders", rows, __doc__.split("\n\n")[2])


if __name__ == "__main__":
    main()
