"""Measure the live tab in a real browser: analysed frames a second and glass to glass, alone and beside two clients.

Usage: python benchmarks/demo.py [--seconds 20] [--set KEY=VALUE ...]

Chromium's fake camera shows a clip at 30 pictures a second whose frames carry their number as black and white squares.
A frame enters the glass when the browser has it from the camera (`captureTime` where it tells), and leaves it when it
is on the canvas with its boxes, where its number is read again; only frames that were analysed get there.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import report
from playwright.sync_api import sync_playwright
from websockets.sync.client import connect

BITS, SQUARE = 8, 20
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
WATCH = """
() => {
  const bits = BITS, square = SQUARE, seen = new Map();
  let last = -1;
  window.glass = { delays: [], answered: 0, errors: 0 };
  const read = (context) => {
    const row = context.getImageData(0, square / 2, bits * square, 1).data;
    let code = 0;
    for (let bit = 0; bit < bits; bit++) code = 2 * code + (row[4 * (bit * square + square / 2)] > 127 ? 1 : 0);
    return code;
  };
  const small = new OffscreenCanvas(bits * square, square).getContext("2d", { willReadFrequently: true });
  const { video, canvas } = window.liveDemo;
  const look = (now, about) => {
    small.drawImage(video, 0, 0, bits * square, square, 0, 0, bits * square, square);
    const code = read(small);
    if (code !== last) seen.set(code, Math.min(about.captureTime || now, now));
    last = code;
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  const paper = canvas.getContext("2d");
  let count = 0;
  Object.defineProperty(window.liveDemo, "answers", {
    get: () => count,
    set: (value) => {
      count = value;
      const code = read(paper), entered = seen.get(code);
      seen.delete(code);  // the clip comes round again
      // Older than half the clip: a frame that the watcher missed, with the number of the round before.
      if (performance.now() - entered < 4000) window.glass.delays.push(performance.now() - entered);
      window.glass.answered++;
    },
  });
}
""".replace("BITS", str(BITS)).replace("SQUARE", str(SQUARE))


def write_camera(path: Path, count: int = 250) -> None:
    """Write a moving portrait with one face and numbered frames, as Chromium's fake camera takes it."""
    from skimage.data import astronaut

    portrait = cv2.resize(cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR), (720, 720))
    with path.open("wb") as file:
        for number in range(count):
            angle = 2 * np.pi * number / count
            x, y = int(40 + 30 * np.cos(angle)), int(20 + 15 * np.sin(angle))
            picture = portrait[y : y + 480, x : x + 640].copy()
            for bit in range(BITS):
                value = 255 * (number >> (BITS - 1 - bit) & 1)
                picture[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = value
            file.write(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())


class Client(threading.Thread):
    """Bring frames at 30 a second over the websocket, two on their way at most, and count what was analysed."""

    def __init__(self, url: str, pictures: list[bytes], seconds: float) -> None:
        super().__init__()
        self.url, self.pictures, self.seconds = url, pictures, seconds
        self.answers, self.errors = 0, 0

    def run(self) -> None:
        try:
            with connect(self.url) as link:
                started, sent, known = time.monotonic(), 0, -1
                while (now := time.monotonic()) < started + self.seconds:
                    if sent - known <= 2 and now >= started + sent / 30:
                        link.send(struct.pack("<I", sent) + self.pictures[sent % len(self.pictures)])
                        sent += 1
                    try:
                        answer = json.loads(link.recv(timeout=0.002))
                    except TimeoutError:
                        continue
                    known = answer["number"]
                    self.answers += 1
        except Exception:  # of any kind: it is what is counted
            self.errors += 1


def start_demo(overrides: list[str]) -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamer", "demo", "--port", str(port)]
    demo = subprocess.Popen([*command, *overrides], stdout=subprocess.DEVNULL)
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).close()
            return demo, f"http://127.0.0.1:{port}"
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the demo did not start")


def measure(page: Any, seconds: float, clients: list[Client]) -> dict[str, Any]:
    """Let the page run; return its figures and those of the clients beside it."""
    for client in clients:
        client.start()
    time.sleep(1)
    page.evaluate("window.glass.delays.length = 0; window.glass.answered = 0")
    time.sleep(seconds)
    glass = page.evaluate("window.glass")
    faces = page.evaluate("window.liveDemo.last.faces.length")
    for client in clients:
        client.join()
    delays = np.array(glass["delays"])
    row = {"analysed/s": glass["answered"] / seconds, "faces": faces}
    row |= {f"glass to glass p{share} ms": float(np.percentile(delays, share)) for share in (50, 95, 99)}
    row["clients/s"] = ", ".join(f"{client.answers / client.seconds:.1f}" for client in clients) or "-"
    row["errors"] = sum(client.errors for client in clients)
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    demo, url = start_demo([part for one in options.overrides for part in ("--set", one)])
    rows = []
    try:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as player:
            camera = Path(folder) / "camera.mjpeg"
            write_camera(camera)
            pictures = [b"\xff\xd8" + part for part in camera.read_bytes().split(b"\xff\xd8\xff\xe0")[1:]]
            pictures = [picture.replace(b"\xff\xd8", b"\xff\xd8\xff\xe0", 1) for picture in pictures]
            flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
            browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
            page = browser.new_page()
            page.goto(url)
            page.click(".live-start", timeout=60_000)
            page.wait_for_function("window.liveDemo.answers > 30", timeout=60_000)
            page.evaluate(WATCH)
            rows.append({"run": "one browser"} | measure(page, options.seconds, []))
            page.check(".live-cam")
            rows.append({"run": "one browser, with maps"} | measure(page, options.seconds, []))
            page.uncheck(".live-cam")
            config = urllib.request.urlopen(f"{url}/config").read().decode()
            found = re.search(r'"token":\s*"([^"]+)"', config)
            assert found
            live = url.replace("http", "ws") + f"/live?token={found[1]}"
            clients = [Client(live, pictures, options.seconds + 2) for _ in range(2)]
            rows.append({"run": "one browser, two clients"} | measure(page, options.seconds, clients))
            browser.close()
    finally:
        demo.terminate()
        demo.wait()
    notes = "640x480, one face; browser, server and clients share the cores. Only analysed frames reach the canvas."
    report.write("demo", "The live tab in a browser", rows, notes)


if __name__ == "__main__":
    main()
