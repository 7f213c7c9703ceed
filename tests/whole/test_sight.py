"""What is seen in whole pictures, as users get it: faces of every size, and none where none is."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamer import bench
from streamer.build import build_pipeline
from streamer.config import Config, load_config
from streamer.photo.analyst import Analyst
from streamer.photo.decode import read_photo
from streamer.sources import open_source

Picture = NDArray[np.uint8]
HEAD = (0.327, 0.211, 0.686, 0.665)  # x0, y0, x1, y1 of the portrait's face, in shares of its side


@pytest.fixture(scope="module", params=["default", "photos", "crowd"])
def analyst(request: pytest.FixtureRequest) -> Iterator[Analyst]:
    config = load_config(Config, request.param, ["detector.precision=f32", "landmarks.precision=f32"])
    with Analyst(config) as opened:
        yield opened


def portrait(side: int) -> Picture:
    stored = cv2.imread(str(Path(bench.__file__).with_name("portrait.jpg")))
    kind = cv2.INTER_AREA if side < len(stored) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(stored, (side, side), interpolation=kind), np.uint8)


def slide(seed: int) -> Picture:
    """Write words large and small, in outlines and in strokes, beside a clock."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (1280, 720), (250, 250, 245) if seed % 2 else (20, 30, 60))
    ink = (20, 20, 40) if seed % 2 else (230, 230, 220)
    draw = ImageDraw.Draw(image)
    words = ["Quarter", "Good", "8808", "OOO", "Q&A", "eel", "book", "Bob", "WOW", "@home", "façade", "00:08", "Σ(x)"]
    for y, size in zip((20, 130, 190, 250, 330, 480, 660), (90, 40, 24, 60, 120, 160, 32), strict=True):
        draw.text((40, y), " ".join(rng.permutation(words)[:6]), fill=ink, font=ImageFont.load_default(size))
    picture = np.asarray(image)[..., ::-1].copy()
    for font in range(8):
        place = (int(rng.integers(0, 900)), int(rng.integers(50, 700)))
        colour = [int(value) for value in rng.integers(0, 256, 3)]
        cv2.putText(picture, "Boo 80 eQ", place, font, rng.uniform(1, 4), colour, int(rng.integers(1, 6)), cv2.LINE_AA)
    cv2.circle(picture, (1150, 200), 90, ink, 4, cv2.LINE_AA)
    for turn in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        cv2.circle(picture, (int(1150 + 76 * np.cos(turn)), int(200 + 76 * np.sin(turn))), 6, ink, cv2.FILLED)
    cv2.line(picture, (1150, 200), (1195, 175), ink, 5, cv2.LINE_AA)
    return picture


def chessboard() -> Picture:
    cells = np.indices((10, 16)).sum(axis=0) % 2 * 255
    return np.repeat(np.repeat(np.repeat(cells[..., None], 3, axis=2), 60, axis=0), 60, axis=1).astype(np.uint8)


NO_FACE = {
    **{f"slide {seed}": slide(seed) for seed in range(3)},
    "noise": np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8),
    "coarse noise": cv2.resize(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8), (640, 480)),
    "chessboard": chessboard(),
    "black": np.zeros((480, 640, 3), np.uint8),
    "one pixel": np.zeros((1, 1, 3), np.uint8),
    "a strip": np.random.default_rng(1).integers(0, 256, (50, 20_000, 3), np.uint8),
}


@pytest.mark.parametrize("name", NO_FACE)
def test_no_face_is_seen_where_none_is(analyst: Analyst, name: str) -> None:
    assert analyst.look(NO_FACE[name]).faces == ()


@pytest.mark.data
def test_a_spacecraft_behind_an_astronaut_is_no_face(shared: Path, analyst: Analyst):
    [face] = analyst.look(read_photo(shared / "cases" / "false_face_shuttle.jpg").image).faces
    assert np.abs((face.box[:2] + face.box[2:]) / 2 - (336, 176)).max() < 40


@pytest.mark.parametrize("share", [0.9, 0.4, 0.1])
def test_a_face_is_seen_once_whatever_share_of_the_picture_it_fills(analyst: Analyst, share: float) -> None:
    height, width = 720, 960
    side = round(share * height / (HEAD[3] - HEAD[1]))
    head = portrait(side)
    picture = np.full((height, width, 3), 96, np.uint8)
    left, top = width // 3 - side // 2, height // 2 - round(side * (HEAD[1] + HEAD[3]) / 2)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + side), min(height, top + side)
    picture[y0:y1, x0:x1] = head[y0 - top : y1 - top, x0 - left : x1 - left]
    [face] = analyst.look(picture).faces
    expected = np.array([left, top] * 2) + side * np.array(HEAD)
    assert np.abs(face.box - expected).max() < 0.08 * side


def test_a_portrait_that_is_all_face_is_seen(analyst: Analyst) -> None:
    whole = portrait(1500)
    x0, y0, x1, y1 = (1500 * np.array(HEAD)).astype(int)
    [face] = analyst.look(whole[y0:y1, x0:x1]).faces
    assert np.abs(face.box - [0, 0, x1 - x0, y1 - y0]).max() < 0.15 * (y1 - y0)


def test_a_crowd_of_six_hundred_is_seen_within_bounded_memory(analyst: Analyst) -> None:
    head = portrait(140)[8:104, 34:106]
    picture = np.tile(head, (20, 30, 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    faces = analyst.look(np.ascontiguousarray(picture)).faces
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (
        1 << (30 if sys.platform == "darwin" else 20)
    )
    assert 570 <= len(faces) <= 600
    assert grown < 1  # GiB


@pytest.mark.parametrize("kind", ["zoo", "hog"])
def test_no_face_is_smaller_than_the_smallest_wanted(kind: str) -> None:
    picture = np.full((600, 900, 3), 96, np.uint8)
    for number, side in enumerate((60, 110, 150, 200, 260)):
        picture[100 : 100 + side, 20 + 170 * number : 20 + 170 * number + side][:, :900] = portrait(side)[
            :, : 880 - 170 * number
        ]
    for smallest in (40, 90):
        with Analyst(load_config(Config, None, [f"detector.kind={kind}", f"detector.min_face={smallest}"])) as opened:
            faces = opened.look(picture).faces
        assert faces
        assert all((face.box[2:] - face.box[:2]).max() >= smallest for face in faces)


def test_moving_slides_leave_no_row_in_a_log(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "slides.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (1280, 720))
    for index in range(40):
        moved = np.roll(slide(index // 10), (3 * (index % 10), 5 * (index % 10)), (0, 1))
        moved[420:660, 1000:1240] = portrait(240)
        writer.write(moved)
    writer.release()
    with build_pipeline(load_config(Config, None), [open_source(str(tmp_path / "slides.mp4"))]) as results:
        faces = [[face.box for face in result.faces] for result in results]
    assert len(faces) == 40
    middles = np.array([(box[:2] + box[2:]) / 2 for boxes in faces for box in boxes])
    assert len(middles) >= 38  # the speaker
    assert ((middles > [1000, 420]) & (middles < [1240, 660])).all()
