from __future__ import annotations

import base64
import hashlib
import http.server
import logging
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from streamer.sources import Cause, Source, SourceError, State, observed, open_source, redact
from streamer.sources import live as live_module
from streamer.sources.container import read_promise
from streamer.sources.live import Live, StallLimit
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


# ---- videos


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_is_read_completely_and_in_order(tmp_path: Path, suffix: str):
    source = open_source(str(write_video(tmp_path / f"clip{suffix}")))
    reading = read(source)
    assert reading.values == pytest.approx(list(range(FRAMES)), abs=1)
    assert [frame.index for frame in reading.frames] == list(range(FRAMES))
    assert [frame.time for frame in reading.frames] == pytest.approx([index / 25 for index in range(FRAMES)])
    assert all(frame.stream == "clip" and not frame.live for frame in reading.frames)
    assert (source.name, source.live, source.fps, source.total) == ("clip", False, 25.0, FRAMES)
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]
    assert reading.error is None


def test_colours_are_bgr(tmp_path: Path):
    path = tmp_path / "blue.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.write(np.full((48, 64, 3), (200, 30, 30), np.uint8))
    writer.release()
    blue, green, red = read(open_source(str(path))).frames[0].image.mean((0, 1))
    assert blue > 180
    assert max(green, red) < 60


def test_a_name_that_looks_like_a_protocol_or_a_pattern_is_a_file(tmp_path: Path):
    for name in ("12:30.avi", "a[1].avi", "50%d.avi", "x y é.avi"):
        assert len(read(open_source(str(write_video(tmp_path / name, 3)))).frames) == 3


def test_stop_ends_a_video(tmp_path: Path):
    reading = read(open_source(str(write_video(tmp_path / "clip.avi"))), stop_after=5)
    assert len(reading.frames) == 5
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]
    assert reading.error is None


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux to look at open files")
def test_a_closed_generator_releases_its_file(tmp_path: Path):
    path = str(write_video(tmp_path / "clip.avi"))
    frames = open_source(path).frames(threading.Event(), lambda state, reason, cause: None)
    next(frames)
    assert path in open_files()
    frames.close()
    assert path not in open_files()


def open_files() -> list[str]:
    return [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_avi_gives_what_is_readable_then_an_error(tmp_path: Path, share: float):
    path = cut(write_video(tmp_path / "clip.avi"), share)
    reading = read(open_source(str(path)))
    count = len(reading.frames)
    assert 0 < count < FRAMES
    assert reading.values[:-1] == list(range(count - 1))  # the last one is cut in half
    assert str(reading.error) == f"{path}: truncated: header says 50 frames, {count} could be read"
    assert reading.states[-1] == (State.FAILED, str(reading.error))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_mp4_gives_what_is_readable_then_an_error(tmp_path: Path, share: float):
    path = cut(write_streamable(tmp_path / "clip.mp4"), share)
    reading = read(open_source(str(path)))
    count = len(reading.frames)
    assert 0 < count < FRAMES
    assert str(reading.error) == f"{path}: truncated: header says 50 frames, {count} could be read"


def test_an_mp4_cut_before_its_list_of_frames_gives_an_error_before_the_first_frame(tmp_path: Path):
    path = cut(write_video(tmp_path / "clip.mp4"), 0.6)
    assert fails(str(path)) == f"{path}: truncated: the list of its frames is missing, nothing can be read"


@pytest.mark.parametrize("place", [(0.4, 0.6), (0.5, 1.0)])
def test_a_damaged_video_of_full_size_gives_what_is_readable_then_an_error(tmp_path: Path, place: tuple[float, float]):
    path = write_streamable(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    start, end = (int(len(data) * share) for share in place)
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    reading = read(open_source(str(path)))
    assert 0 < len(reading.frames) < FRAMES
    assert str(reading.error) == f"{path}: damaged: header says 50 frames, {len(reading.frames)} could be read"


def test_frames_that_an_edit_list_hides_are_not_missed(tmp_path: Path):
    """As in a clip that was cut out of a longer one without encoding it again."""
    path = write_video(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    movie_scale = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    media_scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    struct.pack_into(">I", data, data.index(b"tkhd") + 24, movie_scale)  # one second is to be seen
    struct.pack_into(">Ii", data, data.index(b"elst") + 12, movie_scale, media_scale)  # from the first second on
    path.write_bytes(data)
    source = open_source(str(path))
    reading = read(source)
    assert 0 < len(reading.frames) < FRAMES - 20
    assert source.total == 25
    assert reading.error is None
    assert reading.frames[0].time == 0.0


def test_times_rise_even_where_the_container_has_none(tmp_path: Path):
    """A bare MPEG-4 stream states no times."""
    movie = write_video(tmp_path / "clip.mp4").read_bytes()
    header = movie.index(b"\0\0\x01\xb0")
    frames = movie[movie.index(b"mdat") + 4 : movie.rindex(b"moov") - 4]
    bare = tmp_path / "bare.m4v"
    bare.write_bytes(movie[header : header + movie[header - 1]] + frames)
    times = [frame.time for frame in read(open_source(str(bare))).frames]
    assert len(times) == FRAMES
    assert times == pytest.approx([index / 25 for index in range(len(times))])


@pytest.mark.data
def test_healthy_clips_raise_no_false_alarm(shared: Path):
    clips = sorted((shared / "media" / "videos").iterdir())
    assert clips
    for clip in clips:
        source = open_source(str(clip))
        reading = read(source)
        times = [frame.time for frame in reading.frames]
        assert reading.error is None
        assert len(times) == source.total
        assert times == sorted(set(times))


def test_no_shortened_or_garbled_header_breaks_the_look_at_it(tmp_path: Path):
    chance = random.Random(0)
    good = [write_video(tmp_path / "a.mp4", 5).read_bytes(), write_video(tmp_path / "a.avi", 5).read_bytes()]
    good.append(b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67\x01\0\0\0\0\0\x10\0")
    good.append(b"GIF89a" + bytes(40) + b";")
    path = tmp_path / "x"
    for _ in range(300):
        data = bytearray(chance.choice(good))
        places = [0, 4, 8, 24, 32, max(0, data.rfind(b"moov")), max(0, data.rfind(b"tkhd"))]
        for _ in range(chance.randrange(4)):
            data[(chance.choice(places) + chance.randrange(12)) % len(data)] = chance.randrange(256)
        path.write_bytes(data[: chance.randrange(1, len(data) + 1)])
        assert read_promise(path).missing >= 0


def test_the_open_end_of_a_recorded_matroska_file_is_no_alarm(tmp_path: Path):
    path = tmp_path / "live.webm"
    head = b"\x1a\x45\xdf\xa3\x84abcd\x18\x53\x80\x67"
    path.write_bytes(head + b"\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(100))
    assert read_promise(path).missing == 0
    path.write_bytes(head + b"\x40\x80" + bytes(100))
    assert read_promise(path).missing == 28


# ---- pictures


def grey(value: int) -> np.ndarray:
    return np.full((40, 60, 3), value, np.uint8)


def test_a_folder_is_read_in_natural_order_at_one_picture_a_period(tmp_path: Path):
    for number in (10, 2, 1):
        cv2.imwrite(str(tmp_path / f"{number}.png"), grey(number))
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden.png").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    source = open_source(str(tmp_path), period=0.5)
    reading = read(source)
    assert [int(frame.image[0, 0, 0]) for frame in reading.frames] == [1, 2, 10]
    assert [frame.time for frame in reading.frames] == [0.0, 0.5, 1.0]
    assert [frame.index for frame in reading.frames] == [0, 1, 2]
    assert (source.name, source.live, source.fps, source.total) == (tmp_path.name, False, 2.0, 3)
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]


def test_a_glob_takes_what_it_matches(tmp_path: Path):
    for name in ("a1.png", "a2.png", "b1.png"):
        cv2.imwrite(str(tmp_path / name), grey(9))
    source = open_source(str(tmp_path / "a*.png"))
    assert source.name == f"{tmp_path.name}/a*.png"
    assert len(read(source).frames) == source.total == 2


def test_a_picture_is_a_stream_of_one_frame(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "one.PNG"), grey(7))
    source = open_source(str(tmp_path / "one.PNG"))
    reading = read(source)
    assert source.name == "one"
    assert [(frame.index, frame.time) for frame in reading.frames] == [(0, 0.0)]
    assert reading.order[-1] == State.ENDED


def test_unreadable_pictures_are_skipped_and_listed_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for number in range(1, 10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), grey(number))
    for number in (2, 3, 4, 5, 6, 7):
        cut(tmp_path / f"{number}.png", 0.5)
    with caplog.at_level(logging.WARNING):
        reading = read(open_source(str(tmp_path)))
    assert [int(frame.image[0, 0, 0]) for frame in reading.frames] == [1, 8, 9]
    assert [frame.time for frame in reading.frames] == [0.0, 1.0, 2.0]
    names = "2.png, 3.png, 4.png, 5.png, 6.png, ..."
    assert str(reading.error) == f"{tmp_path}: 6 of 9 pictures could not be read: {names}"
    assert len(caplog.records) == 6


def test_a_single_broken_picture_is_an_error_before_the_first_frame(tmp_path: Path):
    path = tmp_path / "broken.jpg"
    path.write_text("no picture")
    assert fails(str(path)) == f"{path}: 1 of 1 pictures could not be read: broken.jpg"


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("deep.png", lambda path: cv2.imwrite(path, np.full((40, 60, 3), 100 * 257, np.uint16))),
        ("deep_grey.png", lambda path: cv2.imwrite(path, np.full((40, 60), 100 * 257, np.uint16))),
        ("grey.png", lambda path: cv2.imwrite(path, np.full((40, 60), 100, np.uint8))),
        ("transparent.png", lambda path: cv2.imwrite(path, np.full((40, 60, 4), 100, np.uint8))),
        ("print.jpg", lambda path: Image.new("CMYK", (60, 40), (0, 0, 0, 155)).save(path)),
        ("palette.png", lambda path: Image.new("RGB", (60, 40), (100, 100, 100)).convert("P").save(path)),
    ],
)
def test_every_kind_of_picture_becomes_8_bit_bgr(tmp_path: Path, name: str, write: Callable[[str], object]):
    write(str(tmp_path / name))
    image = read(open_source(str(tmp_path / name))).frames[0].image
    assert image.shape == (40, 60, 3)
    assert image.dtype == np.uint8
    assert abs(float(image.mean()) - 100) < 4


def test_exif_orientation_is_respected(tmp_path: Path):
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    Image.new("RGB", (60, 40)).save(tmp_path / "upright.jpg", exif=turned)
    assert read(open_source(str(tmp_path / "upright.jpg"))).frames[0].image.shape == (60, 40, 3)


# ---- what cannot be read at all


def test_bad_paths_are_refused_in_one_line_that_names_them(tmp_path: Path):
    empty, text, folder = tmp_path / "empty.mp4", tmp_path / "notes.txt", tmp_path / "folder"
    empty.touch()
    text.write_text("hello\n" * 100)  # FFmpeg would draw it as a picture
    folder.mkdir()
    hollow = write_video(tmp_path / "hollow.avi", 0)
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(4000))
    assert fails(str(empty)) == f"{empty}: the file is empty"
    assert fails(str(text)) == f"{text}: neither a picture nor a video that can be decoded"
    assert fails(str(noise)) == f"{noise}: neither a picture nor a video that can be decoded"
    assert fails(str(hollow)).startswith(f"{hollow}: ")
    assert fails(str(folder)).startswith(f"{folder}: no picture there")
    assert fails(f"{folder}/*.jpg").startswith(f"{folder}/*.jpg: no picture there")
    assert fails(f"{tmp_path}/nothing.mp4").startswith(
        f"{tmp_path}/nothing.mp4: no such file or folder: expected a webcam"
    )
    assert fails("").startswith("empty source: no such file or folder")
    assert "no such file" in fails("x" * 5000)


def test_a_webcam_that_is_not_there_is_refused():
    assert fails("97").startswith("camera-97: cannot be opened: ")
    assert open_source("/dev/video3").name == "camera-3"
    assert open_source("3").live


# ---- names


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:secret@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:se@cret@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:sec/ret@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:se?cret@cam/live", "rtsp://cam/live"),
        ("http://cam/x?u=admin&p=secret&sp=1", "http://cam/x?u=***&p=***&sp=1"),
        ("rtsp://admin@cam/live?channel=1&subtype=0", "rtsp://cam/live?channel=1&subtype=0"),
        ("http://cam/video?user=admin&password=secret&fps=5", "http://cam/video?user=***&password=***&fps=5"),
        ("http://cam/video?usr=admin&pwd=secret", "http://cam/video?usr=***&pwd=***"),
        ("http://cam/video?access_token=secret", "http://cam/video?access_token=***"),
        ("rtsp://cam/user=admin_password=secret_channel=1", "rtsp://cam/user=***"),
        ("clip@home.mp4", "clip@home.mp4"),
    ],
)
def test_a_shown_url_has_no_credentials(url: str, shown: str):
    assert redact(url) == shown


def test_a_network_source_is_named_without_credentials():
    assert open_source("rtsp://admin:secret@cam:8554/live").name == "rtsp://cam:8554/live"
    assert open_source("RTSP://cam/live").name == "rtsp://cam/live"
    assert open_source("rtsp://cam/live").live
    assert open_source("https://cam/stream").live
    assert not open_source("https://host/dir/clip.MP4?x=1").live


@pytest.mark.parametrize(
    "url", ["rtsp://admin:sec/ret@cam/live", "rtsp://", "http://cam:nonsense/", "ftp://u:secret@cam/"]
)
def test_a_bad_url_is_refused_without_its_credentials(url: str):
    message = fails(url)
    assert "expected" in message
    assert "sec" not in message


# ---- the network


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


def rtsp_answer(status: str, *fields: str) -> Callable[[bytes], bytes]:
    return lambda request: "\r\n".join([f"RTSP/1.0 {status}", "CSeq: 1", *fields, "", ""]).encode()


def test_a_closed_port_refuses():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for scheme in ("rtsp", "http", "rtmp", "rtsps"):
        assert fails(f"{scheme}://me:secret@127.0.0.1:{port}/x") == f"{scheme}://127.0.0.1:{port}/x: connection refused"


def test_a_server_that_never_answers_is_given_up_after_the_timeout():
    with tcp_server(None) as port:
        assert fails(f"rtsp://127.0.0.1:{port}/x", timeout=0.3) == f"rtsp://127.0.0.1:{port}/x: no answer within 0.3 s"
    assert fails(f"udp://127.0.0.1:{port}", timeout=0.3) == f"udp://127.0.0.1:{port}: no video arrived within 0.3 s"


def test_an_unknown_host_is_named():
    host = "a" * 64  # longer than any name may be, so that no name server is asked
    assert fails(f"rtsp://me:secret@{host}/x") == f"rtsp://{host}/x: host name not known"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("401 Unauthorized", "unauthorised (401): check user and password"),
        ("403 Forbidden", "forbidden (403): this user may not see it"),
        ("404 Not Found", "not found (404): check the path"),
        ("454 Session Not Found", "the server answers with error 454"),
    ],
)
def test_what_an_rtsp_server_answers_is_told(status: str, message: str):
    with tcp_server(rtsp_answer(status)) as port:
        assert fails(f"rtsp://me:secret@127.0.0.1:{port}/x", timeout=1) == f"rtsp://127.0.0.1:{port}/x: {message}"


def test_a_server_that_answers_without_a_video_is_told():
    with tcp_server(rtsp_answer("200 OK", "Content-Length: 0")) as port:
        assert "sends no video that can be decoded within 0.5 s" in fails(f"rtsp://127.0.0.1:{port}/x", timeout=0.5)


def test_a_server_that_speaks_something_else_is_told():
    with tcp_server(lambda request: b"220 mail ready\r\n\r\n") as port:
        assert fails(f"rtsp://127.0.0.1:{port}/x", timeout=0.5).endswith("the server does not speak rtsp")
        assert fails(f"rtsps://127.0.0.1:{port}/x", timeout=0.5).endswith("does not speak TLS: check scheme and port")


@pytest.mark.parametrize(
    "challenge",
    ['Basic realm="r"', 'digest realm="r", nonce="n"', 'Digest realm="r", nonce="n", qop="auth,auth-int", opaque="o"'],
)
def test_credentials_are_given_when_asked_for_so_that_a_wrong_path_is_not_called_unauthorised(challenge: str):
    def answer(request: bytes) -> bytes:
        status = "404 Not Found" if is_authorized(request.decode()) else "401 Unauthorized"
        return rtsp_answer(status, f"WWW-Authenticate: {challenge}")(request)

    with tcp_server(answer) as port:
        assert "not found (404)" in fails(f"rtsp://me:se%40cret@127.0.0.1:{port}/x", timeout=1)
        assert "unauthorised (401)" in fails(f"rtsp://me:wrong@127.0.0.1:{port}/x", timeout=1)
        assert "unauthorised (401)" in fails(f"rtsp://127.0.0.1:{port}/x", timeout=1)


def is_authorized(request: str) -> bool:
    """Check the password 'se@cret' as a server does (RFC 2617)."""
    given = re.search(r"Authorization: (\w+) (.*)\r", request)
    if not given:
        return False
    if given[1] == "Basic":
        return given[2] == base64.b64encode(b"me:se@cret").decode()
    fields = dict(re.findall(r'(\w+)="?([^",]*)', given[2]))
    extra = [fields[key] for key in ("nc", "cnonce", "qop") if "qop" in fields]
    owner, action = md5("me:r:se@cret"), md5(f"{request.split(maxsplit=1)[0]}:{fields['uri']}")
    return fields["response"] == md5(":".join([owner, "n", *extra, action])) and fields["uri"] == request.split()[1]


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class Camera(http.server.BaseHTTPRequestHandler):
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

    def handle(self) -> None:
        with suppress(OSError):  # the client has seen enough
            super().handle()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def camera(clip: bytes = b"") -> Iterator[str]:
    """Serve `Camera` on loopback; yield its address."""
    handler = type("ThisCamera", (Camera,), {"clip": clip, "lost": threading.Event()})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            handler.lost.set()
            server.shutdown()
            thread.join()


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


# ---- streams that are lost


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "FIRST_DELAY", 0.01)


def stream(*connections: Path | str) -> Live:
    """Return a live source whose connections show these files, one after another, or fail with this reason."""
    left = list(connections)

    def connect() -> cv2.VideoCapture:
        connection = left.pop(0)
        if isinstance(connection, str):
            raise SourceError(f"camera: {connection}")
        return cv2.VideoCapture(str(connection), cv2.CAP_FFMPEG)

    return Live("camera", connect, retries=2)


@pytest.mark.usefixtures("_quick")
def test_a_lost_stream_is_opened_again_and_index_and_time_go_on(tmp_path: Path):
    broken = cut(write_video(tmp_path / "broken.avi"), 0.5)
    whole = write_video(tmp_path / "whole.avi")
    reading = read(stream(broken, "connection refused", broken, whole))
    first = len(reading.frames) - FRAMES
    assert first > FRAMES // 2
    assert [frame.index for frame in reading.frames] == list(range(len(reading.frames)))
    times = [frame.time for frame in reading.frames]
    assert times[0] == 0.0
    assert times == sorted(times)
    assert reading.order == [
        *(State.CONNECTING, State.LIVE, State.RETRYING, State.RETRYING),
        *(State.LIVE, State.RETRYING, State.LIVE, State.ENDED),
    ]
    assert reading.states[2][1].startswith("camera: connection lost; next try in ")
    assert reading.states[3][1].startswith("camera: connection refused; next try in ")


def test_a_damaged_packet_is_no_loss(tmp_path: Path):
    path = write_streamable(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    path.write_bytes(data)
    capture, naive = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), 0
    while capture.read()[0]:
        naive += 1
    capture.release()
    reading = read(stream(path))
    assert naive < len(reading.frames)  # one read failed in between
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]


@pytest.mark.usefixtures("_quick")
def test_a_lost_stream_is_given_up_after_its_retries(tmp_path: Path):
    broken = cut(write_video(tmp_path / "broken.avi"), 0.5)
    reading = read(stream(broken, "connection refused", "connection refused", "never asked"))
    assert str(reading.error) == "camera: connection refused"
    assert reading.order == [State.CONNECTING, State.LIVE, State.RETRYING, State.RETRYING, State.FAILED]


def test_a_stream_that_never_lived_is_not_retried():
    reading = read(stream("connection refused", "never asked"))
    assert str(reading.error) == "camera: connection refused"
    assert reading.order == [State.CONNECTING, State.FAILED]


def test_what_fails_after_stop_is_no_failure():
    stop, states = threading.Event(), []

    def connect() -> cv2.VideoCapture:
        stop.set()
        raise SourceError("camera: connection refused")

    assert not list(observed(Live("camera", connect), stop, lambda state, reason, cause: states.append(state)))
    assert states == [State.CONNECTING, State.ENDED]


def test_stop_ends_the_wait_for_the_next_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(live_module, "FIRST_DELAY", 3600.0)
    monkeypatch.setattr(live_module, "LONGEST_DELAY", 3600.0)
    stop, states = threading.Event(), []

    def report(state: State, reason: str, cause: Cause | None) -> None:
        states.append(state)
        if state is State.RETRYING:
            stop.set()

    frames = list(observed(stream(cut(write_video(tmp_path / "broken.avi"), 0.5)), stop, report))
    assert frames
    assert states == [State.CONNECTING, State.LIVE, State.RETRYING, State.ENDED]


def hanging(path: Path, after: int, gate: threading.Event) -> Callable[[], Any]:
    """Return an opener of captures whose reads hang after some pictures, until the gate opens."""

    class Hanging:
        def __init__(self) -> None:
            self.capture, self.left = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG), after
            self.get, self.release = self.capture.get, self.capture.release

        def read(self) -> tuple[bool, object]:
            self.left -= 1
            if self.left < 0:
                gate.wait(20)
            return self.capture.read()

    return Hanging


@pytest.mark.usefixtures("_quick")
def test_a_read_that_never_returns_is_given_up_and_holds_up_nobody(tmp_path: Path):
    gate, stop, causes, opened = threading.Event(), threading.Event(), [], []
    path = write_video(tmp_path / "clip.avi")

    def connect() -> Any:
        opened.append(time.monotonic())
        return hanging(path, 5 if len(opened) < 3 else 1000, gate)()

    def report(state: State, reason: str, cause: Cause | None) -> None:
        causes.extend([cause] if cause else [])

    frames = list(observed(Live("camera", connect, timeout=0.5), stop, report))
    gate.set()
    assert len(frames) == 5 + 5 + FRAMES
    assert causes == [Cause.STALLED, Cause.STALLED]
    assert all(0.5 <= later - earlier < 5 for earlier, later in pairwise(opened))


def test_stop_is_noticed_while_a_read_hangs(tmp_path: Path):
    gate, stop = threading.Event(), threading.Event()
    frames = Live("camera", hanging(write_video(tmp_path / "clip.avi"), 1, gate), timeout=30).frames(stop, print)
    next(frames)
    stop.set()
    started = time.monotonic()
    assert list(frames) == []
    gate.set()
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("_quick")
def test_a_clock_that_leaps_costs_at_most_a_reconnection(tmp_path: Path):
    leaps = iter([0.0] * 3 + [3600.0] * 5 + [0.0] * 10_000)
    source = Live(
        "camera",
        partial(cv2.VideoCapture, str(write_video(tmp_path / "clip.avi")), cv2.CAP_FFMPEG),
        clock=lambda: time.monotonic() + next(leaps),
    )
    reading = read(source, stop_after=FRAMES - 1)
    times = [frame.time for frame in reading.frames]
    assert times == sorted(times)
    assert times[-1] < 60


def test_the_stall_limit_follows_the_rate_of_a_slow_stream():
    limit = StallLimit(3.0)
    assert limit.seconds(None) == limit.seconds(25.0) == 3.0
    assert limit.seconds(0.5) == 20.0
    for _ in range(100):
        limit.seen(4.0)
    assert limit.seconds(25.0) == pytest.approx(40.0)
    limit.seen(3600.0)
    assert limit.seconds(25.0) == 60.0


@pytest.mark.usefixtures("_quick")
def test_a_patient_source_waits_for_its_stream(tmp_path: Path):
    left = ["refused", "refused", ""]

    def connect() -> cv2.VideoCapture:
        if reason := left.pop(0):
            raise SourceError(f"camera: {reason}", Cause.REFUSED)
        return cv2.VideoCapture(str(write_video(tmp_path / "clip.avi")), cv2.CAP_FFMPEG)

    reading = read(Live("camera", connect, patient=True))
    assert reading.order == [*(State.CONNECTING, State.RETRYING, State.RETRYING), State.LIVE, State.ENDED]
    assert len(reading.frames) == FRAMES


@pytest.mark.parametrize("lived", [0.0, 11.0])
def test_delays_grow_until_the_stream_has_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lived: float):
    monkeypatch.setattr(live_module, "FIRST_DELAY", 0.02)
    broken, now = cut(write_video(tmp_path / "broken.avi"), 0.5), [0.0]
    source = stream(broken, broken, broken, broken, "refused", "refused")
    source._clock = lambda: now[0]
    delays, stop = [], threading.Event()

    def report(state: State, reason: str, cause: Cause | None = None) -> None:
        delays.append(reason)

    with pytest.raises(SourceError):
        for _ in source.frames(stop, report):
            now[0] += lived
    told = [float(reason.split()[-2]) for reason in delays[:4]]
    assert len(delays) == 5
    assert told[0] == 0.0
    assert (told[3] >= 0.1) == (lived == 0.0)


# ---- what a program's user sees


def test_a_prepared_program_hears_nothing_from_opencv(tmp_path: Path):
    cut(write_video(tmp_path / "clip.mp4"), 0.6)
    program = """
import sys, threading
from streamer.sources import SourceError, open_source, prepare_opencv
prepare_opencv()
for text in sys.argv[1:]:
    try:
        for frame in open_source(text, timeout=0.2).frames(threading.Event(), lambda state, reason, cause: None):
            pass
    except SourceError as error:
        print(error)
"""
    with tcp_server(None) as port:
        texts = [str(tmp_path / "clip.mp4"), "97", f"rtsp://me:secret@127.0.0.1:{port}/x", "http://127.0.0.1:1/x"]
        command = [sys.executable, "-c", program, *texts]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(texts)
    assert "secret" not in done.stdout
