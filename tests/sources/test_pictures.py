from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from streamer.sources import State, open_source
from tests.media import cut, fails, grey, read


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


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_that_a_file_tells_is_respected(tmp_path: Path, suffix: str, orientation: int):
    """In AVIF, Pillow writes it as the file's own rotation and mirroring."""
    told = Image.Exif()
    told[0x0112] = orientation
    plain = np.zeros((40, 60, 3), np.uint8)
    plain[:20, :20] = (200, 40, 40)  # one corner, so that no two orientations look the same
    path = tmp_path / f"a.{suffix}"
    quality = {} if suffix in ("png", "tiff") else {"quality": 95}
    Image.fromarray(plain).save(path, exif=told, **quality)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"), np.int16)
    image = read(open_source(str(path))).frames[0].image
    assert image.shape[:2] == ((60, 40) if orientation > 4 else (40, 60))
    assert np.abs(image[..., ::-1].astype(np.int16) - expected).mean() < 2


@pytest.mark.parametrize("damage", [slice(0, 60), slice(0, 300), slice(0, -200)])
def test_a_damaged_avif_is_an_unreadable_picture(tmp_path: Path, damage: slice):
    path = tmp_path / "a.avif"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[damage])
    assert fails(str(path)) == f"{path}: 1 of 1 pictures could not be read: a.avif"
