from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.commands.photo import run as photo
from streamer.commands.run import run
from streamer.config import Config
from streamer.records.run_manifest import manifest_path, read_manifest
from streamer.sinks.outputs import Outputs
from streamer.sinks.video import VideoSink
from streamer.sources import State, open_source, redact
from streamer.sources.opencv_decoder import OpenCVDecoder
from streamer.sources.reconnect import Live
from tests.media import cut, fails, grey, read, tcp_server, write_video


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
    assert fails("\0/[").startswith("?/[: a name of a file cannot hold the character NUL")
    assert "no such file" in fails("x" * 5000)


LATIN = os.fsdecode(b"caf\xe9")  # as an old disk or archive names it; OpenCV would end the process


def test_a_video_or_url_whose_name_is_not_utf8_is_refused(tmp_path: Path):
    os.rename(write_video(tmp_path / "clip.mp4", 3), tmp_path / f"{LATIN}.mp4")
    why = "expected a name in UTF-8, found other bytes: rename it"
    assert fails(f"{tmp_path}/{LATIN}.mp4") == rf"{tmp_path}/caf\udce9.mp4: {why}"
    assert fails(f"rtsp://me:secret@127.0.0.1:9/{LATIN}") == rf"rtsp://127.0.0.1:9/caf\udce9: {why}"
    with pytest.raises(ValueError, match=r"caf\\udce9.mp4: cannot write video there: expected a name in UTF-8"):
        VideoSink(tmp_path / f"{LATIN}.mp4", 25)


def test_a_camera_and_a_file_may_be_given_as_number_and_path(tmp_path: Path):
    assert open_source(0).name == "camera-0"
    assert len(read(open_source(write_video(tmp_path / "clip.mp4", 3))).frames) == 3


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((4, 6), 7, np.uint8), (7, 7, 7)),
        (np.full((4, 6, 1), 7, np.uint8), (7, 7, 7)),
        (np.full((4, 6), 7 << 8, np.uint16), (7, 7, 7)),
        (np.tile(np.uint8([1, 2, 3, 255]), (4, 6, 1)), (1, 2, 3)),
        (np.tile(np.uint8([1, 2, 3]), (4, 6, 1)), (1, 2, 3)),
    ],
)
def test_whatever_a_camera_gives_becomes_bgr(image: np.ndarray, expected: tuple[int, ...]):
    class Camera:
        def __init__(self) -> None:
            self.pictures = [image, np.invert(image)]

        def get(self, key: int) -> float:
            return 25.0 if key == cv2.CAP_PROP_FPS else float(key == cv2.CAP_PROP_FRAME_COUNT)

        def read(self) -> tuple[bool, np.ndarray | None]:
            return bool(self.pictures), self.pictures.pop(0) if self.pictures else None

        def set(self, key: int, value: float) -> bool:
            return False

        def retrieve(self, flag: int) -> tuple[bool, None]:
            return False, None  # a camera has no header

        def release(self) -> None:
            pass

    frame, _ = read(Live("camera", lambda: OpenCVDecoder(Camera(), "camera"))).frames
    assert frame.image.shape == (4, 6, 3)
    assert (frame.image == np.uint8(expected)).all()


def test_pictures_whose_names_are_not_utf8_are_read_and_recorded(tmp_path: Path):
    folder, log = tmp_path / "photos", tmp_path / "out.jsonl"
    folder.mkdir()
    cv2.imwrite(str(tmp_path / "one.png"), grey(9))
    os.rename(tmp_path / "one.png", folder / f"{LATIN}.png")
    source = open_source(str(folder / f"{LATIN}.png"))
    assert [frame.image[0, 0, 0] for frame in read(source).frames] == [9]
    assert source.name == r"caf\udce9"
    assert run(Config(), [str(folder)], Outputs(log=log)) == 0
    [recorded] = read_manifest(manifest_path(log)).inputs
    assert [Path(name).is_file() for name in recorded.sha256] == [True]
    (folder / f"{LATIN}-2.png").write_text("no picture")
    assert photo(Config(), [str(folder)], tmp_path / "out", page=False) == 1
    found = json.loads((tmp_path / "out" / "photos.json").read_text())
    assert found["photos"][0]["name"] == r"caf\udce9.png"
    assert found["unreadable"] == [
        r"caf\udce9-2.png: expected a picture (JPEG, PNG, WebP, TIFF, ...), found something else"
    ]


def test_a_webcam_that_is_not_there_is_refused():
    assert fails("97").startswith("camera-97: cannot be opened: ")
    assert open_source("/dev/video3").name == "camera-3"
    assert open_source("3").live


@pytest.mark.parametrize("number", ["100", "/dev/video2147483648", "9" * 5000])
def test_a_number_that_no_webcam_has_is_refused_before_opencv_opens_another(number: str):
    assert fails(number).startswith(f"{number}: expected a webcam's number, 0 to 99")


def test_what_opencv_raises_is_the_failure_of_one_live_stream():
    def connect() -> OpenCVDecoder:
        return OpenCVDecoder(cv2.VideoCapture(2**31), "camera")

    reading = read(Live("camera", connect, retries=0))
    assert reading.order == [State.CONNECTING, State.FAILED]
    assert str(reading.error).startswith("camera: OpenCV")
    assert "\n" not in str(reading.error)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:secret@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://admin:se@cret@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:sec/ret@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:se?cret@cam/live", "rtsp://***"),
        ("http://cam/x?u=admin&p=secret&sp=1", "http://cam/x?u=***&p=***&sp=1"),
        ("rtsp://admin@cam/live?channel=1&subtype=0", "rtsp://cam/live?channel=1&subtype=0"),
        ("http://cam/video?user=admin&password=secret&fps=5", "http://cam/video?user=***&password=***&fps=5"),
        ("http://cam/video?usr=admin&pwd=secret", "http://cam/video?usr=***&pwd=***"),
        ("http://cam/video?access_token=secret", "http://cam/video?access_token=***"),
        ("rtsp://cam/user=admin_password=secret_channel=1", "rtsp://cam/user=***"),
        ("clip@home.mp4", "clip@home.mp4"),
        ("rtsp://admin:se#cret@cam/live", "rtsp://***"),
        ("rtsp://admin:my se cret@cam/live", "rtsp://cam/live"),
        ("rtsp://admin:1/2?3#4@5@cam:554/live?fps=5", "rtsp://***"),
        ("rtsp://admin:1/2@3=@cam:554/live?fps=5", "rtsp://***"),
        ("rtsp://admin:c2Vj+cmV0==@cam:554/live?fps=5&tcp", "rtsp://cam:554/live?fps=5&tcp"),
        ("rtsp://admin:secret/live", "rtsp://admin:***/live"),  # its '@' is missing
        (
            "http://cam/x?jwt=secret&hmac=secret&k=secret&channel=main",
            "http://cam/x?jwt=***&hmac=***&k=***&channel=main",
        ),
        ("http://cam/x?channel=very%20secret%20indeed", "http://cam/x?channel=***"),
        ("http://cam/x#access_token=secret", "http://cam/x#***"),
        ("http://cam/a;jsessionid=secret/b", "http://cam/a;jsessionid=***/b"),
        ("http://cam/x?mail=me@there", "http://***"),  # it might be a password
        ("http://[fe80::1%25eth0]:554/x", "http://[fe80::1%25eth0]:554/x"),
        ("kafka://me:secret@a:9092,b:9092/t?sasl.password=secret", "kafka://a:9092,b:9092/t?sasl.password=***"),
        ("me:secret@rtsp://cam/live", "***://cam/live"),
    ],
)
def test_a_shown_url_has_no_credentials(url: str, shown: str):
    assert redact(url) == shown


@pytest.mark.parametrize(
    "text", ["rtsp:/me:secret@cam/x", "me:secret@cam", "rtsp//cam/x?token=secret", "a:secret@*.mp4"]
)
def test_a_mistyped_url_is_refused_without_its_credentials(text: str):
    assert "secret" not in fails(text)


def test_a_network_source_is_named_without_credentials():
    assert open_source("rtsp://admin:secret@cam:8554/live").name == "rtsp://cam:8554/live"
    assert open_source("RTSP://cam/live").name == "rtsp://cam/live"
    assert open_source("rtsp://cam/live").live
    assert open_source("https://cam/stream").live


@pytest.mark.parametrize(
    "url", ["rtsp://admin:sec/ret@cam/live", "rtsp://", "http://cam:nonsense/", "ftp://u:secret@cam/"]
)
def test_a_bad_url_is_refused_without_its_credentials(url: str):
    message = fails(url)
    assert "expected" in message
    assert "sec" not in message


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
