"""The demo as its users meet it: a real server, a real browser with a camera that shows a clip, and plain clients."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from streamer.config import Config
from streamer.demo.live import LiveRoom
from tests.attacks import Attacker, kinds
from tests.photo.test_photo import huge_png

pytest.importorskip("gradio", reason="needs the extra demo")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
websockets = pytest.importorskip("websockets.sync.client", reason="needs the extra demo")

CHROMIUM = shutil.which("chromium")
EXAMPLES = Path(__file__).parents[2] / "streamer" / "demo" / "examples"
SHOTS = os.environ.get("DEMO_SCREENSHOTS")  # a folder, to look at what the tests saw
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
QUIET = ("--disable-component-update", "--use-fake-device-for-media-stream")
STAY = """
import asyncio, sys, time
from pathlib import Path
from streamer.config import Config
from streamer.demo import server, studio

server.OFTEN = 0.05
app = server.build_app(Config(), Config(), seats=1)

async def stay():
    async with app.router.lifespan_context(app):
        page, _ = await asyncio.to_thread(app.state.studio.photo, Path(sys.argv[1]), attention=False)
        await asyncio.sleep(0.2)
        print(page.is_file())
        studio.KEPT, deadline = 0, time.monotonic() + 30
        while page.parent.exists() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        print(page.parent.exists())

asyncio.run(stay())
"""
skipping = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: .ci/run installs it")


def browsing(test: Any) -> Any:
    """Mark a test that drives the browser, which takes seconds."""
    return pytest.mark.slow(skipping(test))


@pytest.fixture(autouse=True)
def _no_thread_survives() -> None:
    """Let playwright start threads of its own as it goes; the demo runs in another process."""


class Server:
    """Run `streamer demo` as a process."""

    def __init__(self, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "streamer", "demo", "--port", str(self.port), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)
        raise RuntimeError(f"the demo did not start: {self.process.communicate()[0]}")

    def token(self) -> str:
        """Read the token out of the page's configuration, as its script does."""
        with urllib.request.urlopen(f"{self.url}/config", timeout=30) as answer:
            found = re.search(r'"token":\s*"([^"]+)"', answer.read().decode())
        assert found
        return found[1]

    def live(self) -> str:
        return f"ws://127.0.0.1:{self.port}/live?token={self.token()}"

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # However slow and busy the machine is, nothing is left out: that shedding works is told by other tests.
    running = Server("--seats", "3", "--set", "shedding.budget=30", "--set", "overlay.budget=30")
    yield running
    running.close()


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a clip as Chromium's fake camera takes it: JPEG pictures one after the other."""
    path = tmp_path_factory.mktemp("camera") / "fake.mjpeg"
    capture = cv2.VideoCapture(str(EXAMPLES / "clip.mp4"))
    with path.open("wb") as file:
        while (read := capture.read())[0]:
            picture = cv2.resize(read[1], (640, 480))
            file.write(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    capture.release()
    return path


@pytest.fixture(scope="module")
def browser(camera: Path) -> Iterator[Any]:
    with playwright.sync_playwright() as player:
        flags = [*FLAGS, *QUIET, "--use-fake-ui-for-media-stream", f"--use-file-for-fake-video-capture={camera}"]
        chromium = player.chromium.launch(executable_path=CHROMIUM, args=flags)
        denying = player.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *QUIET, "--deny-permission-prompts"])
        yield {"camera": chromium, "denied": denying}
        denying.close()
        chromium.close()


class Visitor:
    """Open the page as a user; note what it asks of other servers and what goes wrong in it."""

    def __init__(self, browser: Any, server: Server) -> None:
        self.context = browser.new_context(viewport={"width": 1200, "height": 900})
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._asked)
        self.server = server
        self.page.goto(server.url)
        self.page.wait_for_selector(".live-start")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.server.url, "ws://127.0.0.1", "blob:", "data:", "about:")):
            self.troubles.append(request.url)

    def open_tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def upload(self, tab: str, path: Path) -> None:
        self.page.set_input_files(f"#{tab}-in input[type=file]", str(path))
        self.page.wait_for_selector(f"#{tab}-in >> text=/{re.escape(path.stem[:12])}/")
        self.page.click(f"#{tab}-go")

    def shoot(self, name: str) -> None:
        if SHOTS:
            self.page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)

    def close(self) -> None:
        self.context.close()
        assert not self.troubles


@pytest.fixture
def visitor(browser: Any, server: Server) -> Iterator[Visitor]:
    one = Visitor(browser["camera"], server)
    yield one
    one.close()


@browsing
def test_live_frames_arrive_analysed_with_labels_maps_and_switches(visitor: Visitor) -> None:
    page = visitor.page
    page.click(".live-start")
    page.wait_for_function("window.liveDemo.answers > 10")
    page.wait_for_function("window.liveDemo.last.faces.some(face => face.label === 'happiness')")
    assert "analysed a second" in page.inner_text(".live-figures")
    assert page.evaluate("window.liveDemo.last.faces.every(face => !face.heat)")
    page.check(".live-cam")
    page.wait_for_function("window.liveDemo.last.faces.some(face => face.heat)")
    colours = page.evaluate(
        "(() => { const c = window.liveDemo.canvas; const d = c.getContext('2d').getImageData(0, 0, c.width, c.height);"
        "return new Set(d.data).size; })()"
    )
    assert colours > 50, "a picture is on the canvas"
    page.uncheck(".live-smooth")
    page.check(".live-regions")
    before = page.evaluate("window.liveDemo.answers")
    page.wait_for_function(f"window.liveDemo.answers > {before + 10}")
    visitor.shoot("live")
    page.click(".live-stop")
    assert page.inner_text(".live-message") == "Stopped."
    page.click(".live-start")
    page.wait_for_function(f"window.liveDemo.answers > {before + 20}")
    page.click(".live-stop")


@browsing
def test_without_a_websocket_pictures_come_back_annotated(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_text("Without a websocket (slower)").click()
    page.get_by_text("Click to Access Webcam").click()
    page.get_by_role("button", name="capture photo").click()
    page.wait_for_selector("#fallback img")
    seen = page.get_attribute("#fallback img", "src")
    page.wait_for_function(f"document.querySelector('#fallback img').src !== '{seen}'")
    visitor.shoot("fallback")


@browsing
def test_a_denied_camera_is_explained_in_the_page(browser: Any, server: Server) -> None:
    visitor = Visitor(browser["denied"], server)
    visitor.page.click(".live-start")
    visitor.page.wait_for_function("document.querySelector('.live-message').textContent.includes('not allowed')")
    assert "address bar" in visitor.page.inner_text(".live-message")
    assert visitor.page.is_enabled(".live-start")
    visitor.close()


@browsing
def test_an_uploaded_video_comes_back_annotated_with_timeline_and_log(visitor: Visitor, tmp_path: Path) -> None:
    clip = tmp_path / "short.avi"
    capture = cv2.VideoCapture(str(EXAMPLES / "clip.mp4"))
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 25, (480, 360))
    for _ in range(20):
        writer.write(capture.read()[1])
    writer.release()
    capture.release()
    visitor.open_tab("Video")
    visitor.upload("video", clip)
    page = visitor.page
    page.wait_for_function(
        "(() => { const v = document.querySelector('#video-out video'); return v && v.duration > 0; })()"
    )
    frame = page.frame_locator("#video-timeline iframe")
    frame.locator("#timeline svg").wait_for()
    assert "face 1" in frame.locator("#timeline").inner_text()
    assert ".jsonl" in page.inner_text("#video-files")
    visitor.shoot("video")


@browsing
def test_a_video_without_frames_is_a_message_and_the_page_goes_on(visitor: Visitor, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(100))
    visitor.open_tab("Video")
    visitor.upload("video", tmp_path / "empty.mp4")
    visitor.page.wait_for_selector("text=/neither a picture nor a video|no frame|cannot be/")
    visitor.shoot("video-error")


@browsing
def test_a_group_photo_gets_its_report_and_bad_ones_a_message(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    visitor.open_tab("Photo")
    page.click("#photo-go")
    page.wait_for_selector("text=/Choose a photo first/")
    visitor.upload("photo", EXAMPLES / "two.jpg")
    frame = page.frame_locator("#photo-out iframe")
    frame.locator("#shares svg").wait_for()
    assert "happiness" in frame.locator("body").inner_text()
    assert frame.locator("img").count() == 1
    page.wait_for_function("document.querySelector('#photo-out iframe').contentDocument.body.offsetHeight > 600")
    scrolls = "(() => { const d = document.querySelector('#photo-out iframe').contentDocument.documentElement;"
    page.wait_for_function(scrolls + " return d.scrollHeight <= d.clientHeight + 1; })()")
    assert ".html" in page.inner_text("#photo-files")
    page.check("#photo-attention input")
    page.click("#photo-go")
    frame.locator("text=attention everywhere").wait_for()
    assert frame.locator("img").count() == 3
    visitor.shoot("photo")
    cv2.imwrite(str(tmp_path / "nobody.png"), np.full((90, 120, 3), 120, np.uint8))
    page.reload()
    visitor.open_tab("Photo")
    visitor.upload("photo", tmp_path / "nobody.png")
    frame.locator("text=No face was found").wait_for()


@browsing
def test_bad_uploads_get_a_message_and_odd_pictures_an_answer(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.page
    (tmp_path / "paper.jpg").write_bytes(b"%PDF-1.7")
    (tmp_path / "words.mp4").write_text("no video at all")
    for tab, path, said in (
        ("Photo", tmp_path / "paper.jpg", "found a PDF"),
        ("Photo", huge_png(tmp_path / "huge.png", 20_000, 9_500), "at most 178"),
        ("Explain", EXAMPLES / "clip.mp4", "found a video"),
        ("Video", tmp_path / "words.mp4", "neither a picture nor a video|no frame|cannot be"),
    ):
        page.reload()
        visitor.open_tab(tab)
        visitor.upload(tab.lower(), path)
        page.wait_for_selector(f"text=/{said}/")
    portrait = Image.open(EXAMPLES / "portrait.jpg").convert("RGB")
    portrait.convert("CMYK").save(tmp_path / "cmyk.jpg")
    portrait.convert("RGBA").save(tmp_path / "alpha.png")
    wide = Image.fromarray(np.asarray(portrait.convert("L")).astype(np.uint16) * 257)
    wide.save(tmp_path / "deep.png")
    portrait.save(tmp_path / "moving.gif", save_all=True, append_images=[portrait.rotate(90)])
    for name in ("cmyk.jpg", "alpha.png", "deep.png", "moving.gif"):
        page.reload()
        visitor.open_tab("Photo")
        visitor.upload("photo", tmp_path / name)
        page.frame_locator("#photo-out iframe").locator("td >> text=happiness").first.wait_for()


@browsing
def test_explain_shows_why_each_face_got_its_answer_hidden_ones_too(visitor: Visitor) -> None:
    page = visitor.page
    visitor.open_tab("Explain")
    visitor.upload("explain", EXAMPLES / "hidden.jpg")
    page.wait_for_selector("#explain-out >> text=/Face 2/")
    assert page.locator("#explain-out img").count() == 2
    words = page.inner_text("#explain-out")
    assert "next most likely" in words
    assert "judged by the whole face" in words
    assert re.search("judged by the (eyes|nose and eyes)", words)
    page.wait_for_function("[...document.querySelectorAll('#explain-out img')].every((one) => one.naturalWidth > 500)")
    visitor.shoot("explain")


def frame_of(number: int, size: tuple[int, int] = (640, 480)) -> bytes:
    picture = cv2.resize(cv2.imread(str(EXAMPLES / "two.jpg")), size)
    return struct.pack("<I", number) + cv2.imencode(".jpg", picture)[1].tobytes()


def two_faces(client: Any) -> dict[str, Any]:
    """Send frames until both faces are there: a live detector has a time budget, and others may go first."""
    for number in range(50):
        client.send(frame_of(number))
        answer: dict[str, Any] = json.loads(client.recv(timeout=30))
        assert answer["number"] == number
        if len(answer["faces"]) == 2 and all("label" in face for face in answer["faces"]):
            return answer
    raise AssertionError("the two faces were not found in 50 frames")


def test_clients_are_served_at_once_and_one_too_many_is_told_to_wait(server: Server) -> None:
    url = server.live()
    with websockets.connect(url) as a, websockets.connect(url) as b, websockets.connect(url) as c:
        served = [two_faces(client) for client in (a, b, c)]
        with websockets.connect(url) as d:
            refused = json.loads(d.recv(timeout=30))
    assert all(face["label"] == "happiness" for answer in served for face in answer["faces"])
    assert "All places are taken" in refused["error"]


def test_who_comes_back_at_once_waits_until_a_seat_has_rested(server: Server) -> None:
    url = server.live()
    with websockets.connect(url) as a, websockets.connect(url) as b, websockets.connect(url) as c:
        for client in (a, b, c):
            two_faces(client)
        c.close()
        with websockets.connect(url) as again:
            two_faces(again)


def test_after_a_failure_nobody_gets_a_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.demo.live.REST", 0.0)
    room = LiveRoom(Config(), 2)
    room.start()
    try:
        seat = room.take_seat(lambda result: 1 / 0)
        assert seat
        deadline = time.monotonic() + 30
        while room.failure is None and time.monotonic() < deadline:
            seat.bring(1, np.zeros((48, 64, 3), np.uint8), time.monotonic())
            time.sleep(0.02)
        assert isinstance(room.failure, ZeroDivisionError)
        assert not room.has_place()
        assert room.take_seat(lambda result: None) is None
    finally:
        room.close()


def test_a_client_that_sends_nonsense_is_told_so_and_others_go_on(server: Server) -> None:
    url = server.live()
    with websockets.connect(url) as good:
        for message, said in (
            (b"not a picture at all", "expected 4 bytes of number and a JPEG"),
            (frame_of(0, (2200, 1600)), "found 2200 x 1600"),
        ):
            with websockets.connect(url) as bad:
                bad.send(message)
                assert said in json.loads(bad.recv(timeout=30))["error"]
            two_faces(good)
    for text in ("no json", "[" * 100_000, "7", '["cam"]'):
        with websockets.connect(url) as bad:
            bad.send(text)
            assert "expected a JSON object of switches" in json.loads(bad.recv(timeout=30))["error"]


MASK = b"\x01\x02\x03\x04"
BROKEN = {
    "reserved bits": bytes([0xF1, 0x81]) + MASK + b"a",
    "no mask": bytes([0x81, 5]) + b"hello",
    "endless": bytes([0x82, 0xFF, 0x7F]) + b"\xff" * 7 + MASK,
    "too long": bytes([0x82, 0xFF]) + (1 << 30).to_bytes(8) + MASK,
    "a ping in parts": bytes([0x09, 0x80]) + MASK,
    "a part of nothing": bytes([0x80, 0x84]) + MASK + b"abcd",
    "an unknown kind": bytes([0x83, 0x80]) + MASK,
    "no UTF-8": bytes([0x81, 0x82]) + bytes(4) + b"\xff\xfe",
    "a close without a code": bytes([0x88, 0x81]) + MASK + b"a",
}


def test_frames_that_break_the_rules_end_their_websocket_and_no_other(server: Server) -> None:
    upgrade = kinds()["bad frames"][0].replace(b"/live", f"/live?token={server.token()}".encode())
    with websockets.connect(server.live()) as good:
        for name, frame in BROKEN.items():
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as bad:
                bad.sendall(upgrade)
                assert bad.recv(4096).startswith(b"HTTP/1.1 101"), name
                bad.sendall(frame)
                answer = b""
                while data := bad.recv(4096):  # until it is closed
                    answer += data
                assert answer[:1] == b"\x88", name
        two_faces(good)
    assert server.process.poll() is None


def test_silent_and_slow_clients_do_not_keep_others_from_the_page(server: Server) -> None:
    with (
        Attacker(server.port, "silent", "slow head", "garbage", "bad frames", connections=800) as attacker,
        websockets.connect(server.live()) as good,
    ):
        two_faces(good)
        with urllib.request.urlopen(server.url, timeout=30) as answer:
            assert answer.status == 200
    assert attacker.counts["opened"] >= 800
    assert attacker.counts["shut"] > 0


def test_the_websocket_opens_with_the_pages_token_only(server: Server) -> None:
    for url in (f"ws://127.0.0.1:{server.port}/live", f"ws://127.0.0.1:{server.port}/live?token=guess"):
        with pytest.raises(Exception, match="403"), websockets.connect(url):
            pass


def test_an_upload_that_stops_midway_harms_nobody(server: Server) -> None:
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        'Content-Length: 100000\r\n\r\n--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nhalf'
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as half:
        half.sendall(head.encode())
        time.sleep(0.3)
    with urllib.request.urlopen(server.url, timeout=30) as answer:
        assert answer.status == 200
    assert server.process.poll() is None


def test_results_are_deleted_in_time_whether_or_not_somebody_comes() -> None:
    command = [sys.executable, "-W", "ignore", "-c", STAY, str(EXAMPLES / "two.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == ["True", "False"], done.stderr


def test_a_page_with_a_password_shows_its_token_to_nobody_else() -> None:
    guarded = Server("--auth", "guest:open sesame", "--seats", "1")
    try:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            guarded.token()
    finally:
        guarded.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--auth", "nobody"), "--auth: expected NAME:PASSWORD"),
        (("--set", "classifier.model=missing.onnx"), "expected a model file"),
    ],
)
def test_a_wrong_request_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamer", "demo", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_named(server: Server) -> None:
    command = [sys.executable, "-m", "streamer", "demo", "--port", str(server.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 2
    assert f"127.0.0.1:{server.port} cannot be opened" in done.stderr
