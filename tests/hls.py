"""A web server with an HLS stream, live or whole, made by the ffmpeg program from pictures whose number can be read."""

from __future__ import annotations

import http.server
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.media import ffmpeg
from tests.web import Quiet, web_server

FPS = 15


def cut_segments(folder: Path, seconds: int, count: int) -> None:
    """Write `count` segments of H.264, each frame one of 50 greys brighter than the one before, and their playlist."""
    grey = "color=black:size=160x120:rate=15,format=gray,geq=lum='40+4*mod(N,50)',format=yuv420p"
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-g", FPS, "-keyint_min", FPS]
    hls = ["-f", "hls", "-hls_time", seconds, "-hls_list_size", 0, "-hls_segment_filename", folder / "%d.ts"]
    ffmpeg("-f", "lavfi", "-i", grey, "-t", seconds * count, *coding, *hls, folder / "vod.m3u8")


class _Handler(Quiet, http.server.SimpleHTTPRequestHandler):
    """Serve a folder; `live.m3u8` grows by one segment each time that one has passed, and shows the newest five.

    Time begins when it is first asked for.
    """

    folder = Path()
    seconds = 1
    started = 0.0

    def do_GET(self) -> None:
        if self.path.startswith("/live.m3u8"):
            type(self).started = self.started or time.monotonic()
            newest = int((time.monotonic() - self.started) / self.seconds)
            first = max(0, newest - 4)
            lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{self.seconds}"]
            lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
            for number in range(first, newest + 1):
                lines += [f"#EXTINF:{self.seconds}.0,", f"{number}.ts"]
            self._answer("\n".join([*lines, ""]).encode(), "application/vnd.apple.mpegurl")
        elif (path := self.folder / self.path.strip("/")).is_file():
            playlist = path.suffix == ".m3u8"
            self._answer(path.read_bytes(), "application/vnd.apple.mpegurl" if playlist else "video/mp2t")
        else:
            self.send_error(404)

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving(folder: Path, seconds: int = 1) -> Iterator[str]:
    """Serve a folder on loopback; yield its address."""
    with web_server(_Handler, folder=folder, seconds=seconds) as address:
        yield address
