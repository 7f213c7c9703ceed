"""What PyAV reads (extra `video`): whatever FFmpeg can, interlaced pictures and HLS too, and it says what is damaged.

One filter graph makes of each picture what the analyzer wants: whole pictures of interlaced ones, square pixels,
upright, BGR. A graph costs one call in and one out; as the interpreter is taken again after each, that is what a busy
process has to wait for, and why `VideoFrame.to_ndarray` with its own conversion is not used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, cast

import av
import av.logging
import numpy as np
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.error import BlockingIOError as NotYet
from av.error import EOFError as Ended
from av.error import FFmpegError, InvalidDataError
from av.filter import Graph
from av.packet import Packet
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamer.sources.opencv_decoder import sane_stretch, squared
from streamer.sources.source import Picture, SourceError

BROKEN_PACKETS = 2000  # in a row; a damaged stretch of so many can be stepped over
STILLS = {"mjpeg", "png", "bmp", "gif", "webp", "tiff"}
NO_VIDEO = {"ansi", "xbin", "bintext", "idf"}  # codecs with which FFmpeg draws text files
FORMATS = ",".join(sorted(av.formats_available - {"concat"}))  # which plays the files that a text names
# titles in other bytes than UTF-8 are no reason to refuse a video; from 19 on (Python 3.12) PyAV knows that by itself
LENIENT: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
UPRIGHT = {90: ["cclock"], -90: ["clock"], 180: ["clock", "clock"], -180: ["clock", "clock"]}

if "OPENCV_FFMPEG_LOGLEVEL" in os.environ:  # OpenCV and PyAV each have an FFmpeg of their own: one setting for both
    av.logging.set_libav_level(int(os.environ["OPENCV_FFMPEG_LOGLEVEL"]))


class AvDecoder:
    """Open and decode a file or URL; see `Decoder`.

    name: of the stream, in errors. timeout: seconds for opening and for each read. prompt: give each picture of a
    stream without end when it comes; several threads, as are used else, hold back as many. hardware: decode on a
    device, or not at all. Raises FFmpegError where it does not open, SourceError where it holds no video, or no device
    can decode it.
    """

    def __init__(
        self,
        address: str,
        name: str,
        *,
        options: dict[str, str] | None = None,
        timeout: tuple[float, float] | None = None,
        prompt: bool = False,
        hardware: bool = False,
    ) -> None:
        self._name = name
        self._container = _opened(address, name, options, timeout, hwdevices_available() if hardware else [None])
        try:
            self._stream = self._moving()
        except SourceError:
            self.close()
            raise
        for other in self._container.streams:
            if other is not self._stream:
                other.discard = Discard.all
        self.fps = _rate(self._stream)
        self.total, self.duration = self._stream.frames or None, _duration(self._container, self._stream)
        if self.total and self.fps:
            self.duration = self.total / self.fps  # behind a cut, the other is that of what is there
        elif self.duration and self.fps:
            self.total = round(self.duration * self.fps)
        self.broken, self.marred, self._begun = 0, 0, False
        self.bursts = self._container.format.name.startswith("hls") and not self.duration
        held_back = not prompt or self.bursts or self.duration
        self._stream.thread_type, self._stream.codec_context.thread_count = "AUTO", 0 if held_back else 1
        self._interlaced = False
        self._graph: Graph | None = None
        self._graph_of: tuple[object, ...] = ()
        self._pictures = self._converted()

    def read(self) -> Picture | None:
        """Return the next picture, None at the end or where no more can be read."""
        return next(self._pictures, None)

    def close(self) -> None:
        """Free the file or connection."""
        self._container.close()

    def _moving(self) -> VideoStream:
        """Return the video track: a still picture, as of a cover, only where there is no other."""
        found = self._container.streams.video
        if not found or found[0].codec_context.name in NO_VIDEO:
            raise SourceError(f"{self._name}: neither a picture nor a video that can be decoded")
        return min(found, key=self._stillness)

    def _stillness(self, track: VideoStream) -> tuple[bool, bool, bool, bool]:
        attached = bool(track.disposition & Disposition.attached_pic)
        best = self._container.streams.best("video")
        return attached, track.frames == 1, track.codec_context.name in STILLS, track is not best

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield the track's packets; what the container cannot read is stepped over."""
        broken = 0
        while broken < BROKEN_PACKETS:
            try:
                for packet in self._container.demux(self._stream):
                    broken = 0
                    yield packet
                return
            except IndexError:  # the end, where a track came on the way, which PyAV does not know; ours was flushed
                return
            except InvalidDataError:
                broken += 1
                self.broken += self._begun
            except FFmpegError:  # the connection or the disk
                self.broken += 1
                return

    def _decoded(self) -> Iterator[VideoFrame]:
        """Yield frames as they were coded. Marred ones count behind the first whole one: a cut may leave some."""
        for packet in self._packets():
            try:
                for frame in packet.decode():
                    self._begun |= not frame.is_corrupt
                    self.marred += self._begun and frame.is_corrupt
                    yield frame
            except FFmpegError:
                self.broken += self._begun

    def _converted(self) -> Iterator[Picture]:
        for frame in self._decoded():
            self._interlaced |= frame.interlaced_frame
            kind = frame.width, frame.height, frame.format.name, frame.rotation, self._interlaced
            if kind != self._graph_of:
                yield from self._drained(None)
                self._graph, self._graph_of = self._made_for(frame), kind
            yield from self._drained(frame)
        yield from self._drained(None)

    def _drained(self, frame: VideoFrame | None) -> Iterator[Picture]:
        """Push a frame, or the end, through the graph and yield what comes out of it."""
        if self._graph is None:
            return
        self._graph.push(frame)
        try:
            while True:
                done = cast(VideoFrame, self._graph.pull())
                image = np.asarray(done.to_ndarray(), np.uint8)
                yield Picture(image, float("nan") if done.time is None else done.time)
        except (NotYet, Ended):
            return

    def _made_for(self, frame: VideoFrame) -> Graph:
        graph, pixel = Graph(), self._stream.sample_aspect_ratio or Fraction(1)
        stretch = sane_stretch(pixel.numerator, pixel.denominator)
        width, height = squared(frame.width, frame.height, stretch)
        base = frame.time_base or self._stream.time_base
        nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)]
        if self._interlaced:
            nodes.append(graph.add("bwdif", "mode=send_frame:deint=interlaced"))
        nodes.append(graph.add("scale", f"w={width}:h={height}"))
        nodes += [graph.add("transpose", f"dir={turn}") for turn in UPRIGHT.get(frame.rotation, [])]
        nodes += [graph.add("format", "pix_fmts=bgr24"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph


def _opened(
    address: str,
    name: str,
    options: dict[str, str] | None,
    timeout: tuple[float, float] | None,
    devices: Sequence[str | None],
) -> InputContainer:
    """Open with the first device that decodes it, None: the processor. Raises SourceError where no device does."""
    for device in devices:
        try:
            hardware = HWAccel(device, allow_software_fallback=False) if device else None
            given = {"format_whitelist": FORMATS, **(options or {})}
            opened: InputContainer = av.open(address, options=given, timeout=timeout, hwaccel=hardware, **LENIENT)
            return opened
        except (FFmpegError, RuntimeError, NotImplementedError):  # no such device, or none for this codec
            if device is None:
                raise
    raise SourceError(f"{name}: source.decode=hw, but no device of this machine decodes it: expected auto or cpu")


def _rate(stream: VideoStream) -> float | None:
    """Return the nominal frames a second; None where the container does not know, or says nonsense."""
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if 0 < rate <= 1000), None)


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the seconds of the video track, or of the whole file, None where they are not stated."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration and container.duration > 0 else None
