from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2

from streamer.sources import State, open_source
from tests.media import FRAMES, cut, fails, grey, read, write_video
from tests.web import Quiet, web_server


class Camera(Quiet, http.server.BaseHTTPRequestHandler):
    """Send an endless MJPEG stream at /live, until `lost` is set, and the file `clip` at /clip.avi."""

    clip = b""
    lost = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/clip.avi":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.clip)))
            self.end_headers()
            self.wfile.write(self.clip)
            return
        if self.path != "/live":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        jpeg = cv2.imencode(".jpg", grey(99))[1].tobytes()
        while not self.lost.wait(0.005):
            self.wfile.write(
                b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n"
            )


@contextmanager
def camera(clip: bytes = b"") -> Iterator[str]:
    """Serve `Camera` on loopback; yield its address."""
    lost = threading.Event()
    with web_server(Camera, clip=clip, lost=lost) as address:
        try:
            yield address
        finally:
            lost.set()


def test_an_mjpeg_camera_is_live():
    with camera() as address:
        source = open_source(f"{address}/live")
        reading = read(source, stop_after=10)
    assert source.live
    assert source.total is None
    assert [frame.index for frame in reading.frames] == list(range(10))
    assert all(frame.live and frame.time >= 0 and frame.captured_at <= time.monotonic() for frame in reading.frames)
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]


def test_a_clip_on_a_web_server_is_a_finite_video(tmp_path: Path):
    with camera(write_video(tmp_path / "clip.avi").read_bytes()) as address:
        reading = read(open_source(f"{address}/clip.avi"))
        assert reading.values == list(range(FRAMES))
        assert reading.error is None
        assert fails(f"{address}/other.avi") == f"{address}/other.avi: not found (404): check the path"


def test_a_clip_that_a_web_server_cuts_off_is_an_error_after_what_is_readable(tmp_path: Path):
    with camera(cut(write_video(tmp_path / "clip.avi"), 0.5).read_bytes()) as address:
        reading = read(open_source(f"{address}/clip.avi"))
    assert 0 < len(reading.frames) < FRAMES
    assert "header says 50 frames" in str(reading.error)
