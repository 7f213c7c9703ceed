"""Compare with tools whose packages hold their weights, on the same pictures in one run, one thread each.

Usage: python benchmarks/peers [--fer PYTHON] [--face-api FOLDER]

PYTHON: an interpreter whose environment has `fer`; FOLDER: where npm installed `@vladmandic/face-api` (`run_*` say what
they need). A pass is 30 pictures of 1280x720 with four faces; each tool has two passes, in turns; the best counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))

import report

from streamer.bench.scene import draw_scene
from streamer.build import build_stages
from streamer.config import Config, load_config
from streamer.types import Frame

COUNT, PASSES = 30, 2
HERE = Path(__file__).parent


def write_pictures(folder: Path) -> list[Any]:
    pictures = [draw_scene(1280, 720, 4, index / COUNT) for index in range(COUNT)]
    for index, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{index:03}.png"), picture)
        (folder / f"{index:03}.rgb").write_bytes(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).tobytes())
    (folder / "size.json").write_text(json.dumps({"width": 1280, "height": 720}))
    return pictures


def ours(pictures: list[Any], overrides: list[str]) -> dict[str, float]:
    stages = build_stages(load_config(Config, None, ["expression.interval=0", *overrides]))
    faces, wall, cpu = 0, 0.0, 0.0
    for index in range(-3, COUNT):
        if index == 0:
            faces, wall, cpu = 0, time.perf_counter(), time.process_time()
        frame = Frame(pictures[index % COUNT].copy(), "clip", index + 3, (index + 3) / 30, 0.0)
        [result] = stages.finish(stages.perceive([frame]))
        faces += len(result.faces)
    found = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "faces": float(faces)}
    stages.close()
    return found


def other(*command: str) -> dict[str, float]:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fer", help="interpreter whose environment has `fer`")
    parser.add_argument("--face-api", help="folder where npm installed @vladmandic/face-api")
    options = parser.parse_args()
    best: dict[str, dict[str, float]] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        pictures = write_pictures(folder)
        tools = {
            "ours": lambda: ours(pictures, []),
            "ours, detecting in every picture": lambda: ours(pictures, ["detection.interval=0"]),
        }
        if options.fer:
            tools["fer (Haar cascade)"] = lambda: other(options.fer, str(HERE / "run_fer.py"), name)
        if options.face_api:
            script = str(HERE / "run_face_api.js")
            tools["face-api (tiny detector, WASM)"] = lambda: other("node", script, name, options.face_api)
        for _ in range(PASSES):
            for tool, run in tools.items():
                found = run()
                if tool not in best or found["cpu"] < best[tool]["cpu"]:
                    best[tool] = found
    rows = [
        {
            "tool": tool,
            "CPU ms a picture": round(1000 * one["cpu"] / COUNT, 1),
            "ms a picture": round(1000 * one["seconds"] / COUNT, 1),
            "faces found of 4": round(one["faces"] / COUNT, 2),
            "CPU against ours": round(one["cpu"] / best["ours"]["cpu"], 1),
        }
        for tool, one in best.items()
    ]
    notes = (
        "30 pictures of 1280x720, four faces; every face is classified in every picture. One thread each, best of two "
        "passes; CPU time does not depend on what else the machine does. Ours tracks between detections, which are ten "
        "a second of stream time; tracking and smoothing are included, which the others do not have."
    )
    report.write("peers", "Other tools on the same pictures", rows, notes, ("tool", "CPU ms a picture"))


if __name__ == "__main__":
    main()
