"""What the live page is told of a face, so that it can draw it, and in which order."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from streamer.faces.regions import region_of
from streamer.types import Heat
from tests.make import expression, face
from tests.turned import BOX, around, points_at

socket = pytest.importorskip("streamer.demo.socket", reason="needs the extra demo")


def test_the_page_is_told_how_far_a_face_its_judged_region_and_its_map_are_turned() -> None:
    roll = 0.7
    heat = Heat(np.eye(4, dtype=np.float32), np.array([100, 90, 220, 210], np.float32), "happiness", roll)
    [box] = around(BOX, np.array([roll], np.float32))
    rolled = face(box, landmarks=points_at(roll), roll=roll, heat=heat, expression=expression(region="mouth"))
    said = socket._face(rolled, {"cam": True, "regions": True})
    assert said["roll"] == said["heat"]["roll"] == roll
    assert said["heat"]["box"] == [100, 90, 220, 210]
    np.testing.assert_allclose(said["used"], region_of(rolled, "mouth"), atol=0.5)
    json.dumps(said)
    assert socket._face(face(), {"cam": True, "regions": True})["roll"] == 0


def test_pictures_without_a_websocket_are_answered_one_after_the_other() -> None:
    """Else two of one session could overtake each other."""
    program = """
from types import SimpleNamespace
from streamer.demo.page import build_page
page = build_page(SimpleNamespace(labels=("happiness",)), "token")
print([event.concurrency_limit for event in page.fns.values() if event.name == "look"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("[1]\n"), done.stderr
