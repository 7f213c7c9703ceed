"""Pictures that are more than they seem: HEIC, animations, and folders that hold other files too."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engines.errors import UserError
from streamer.commands.photo import run as photo
from streamer.config import Config
from streamer.photo.decode import photo_paths, read_photo
from streamer.sources import State, open_source
from tests.heic import write_heic
from tests.make import streamer
from tests.media import cut, fails, grey, read

HEIC = "HEIC needs pi-heif: pip install 'emotion-streamer[heic]'"


def halves() -> np.ndarray:
    """Return a picture that is dark on the left and blue on the right."""
    image = np.full((64, 128, 3), 30, np.uint8)
    image[:, 64:, 0] = 220
    return image


@pytest.mark.parametrize("name", ["photo.HEIC", "photo.jpg", "photo"])
def test_a_heic_picture_is_read_whatever_its_name(tmp_path: Path, name: str):
    pytest.importorskip("pi_heif", reason="needs the extra `heic`")
    path = write_heic(tmp_path / "photo.heic", halves()).rename(tmp_path / name)
    [frame] = read(open_source(str(path))).frames
    for image in (frame.image, read_photo(path).image):
        assert image.shape == (64, 128, 3)
        assert np.abs(image[8:56, 72:120].mean((0, 1)) - (220, 30, 30)).max() < 12
        assert np.abs(image[8:56, 8:56].mean((0, 1)) - 30).max() < 12


def test_a_heic_picture_is_refused_in_one_line_without_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_heic(tmp_path / "photo.heic", halves())
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    assert fails(str(path)) == f"{path}: 1 of 1 pictures could not be read: photo.heic; {HEIC}"
    cv2.imwrite(str(tmp_path / "a.png"), grey(9))
    reading = read(open_source(str(tmp_path)))
    assert len(reading.frames) == 1
    assert str(reading.error) == f"{tmp_path}: 1 of 2 pictures could not be read: photo.heic; {HEIC}"


def test_a_photo_in_heic_is_refused_in_one_line_without_its_reader(tmp_path: Path):
    path = write_heic(tmp_path / "photo.heic", halves())
    program = "import sys; sys.modules['pi_heif'] = None; from streamer.__main__ import main; main()"
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, tmp_path / "program.py", "photo", path, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr == f"streamer: photo.heic: {HEIC}\n"


@pytest.mark.data
def test_a_telephones_photo_of_tiles_is_read_whole(shared: Path):
    pytest.importorskip("pi_heif", reason="needs the extra `heic`")
    [frame] = read(open_source(str(shared / "cases" / "iphone_grid.HEIC"))).frames
    assert frame.image.shape == (768, 1024, 3)


@pytest.mark.parametrize("name", ["moving.webp", "moving.avif", "moving.png"])
def test_an_animation_is_a_video_of_all_its_pictures(tmp_path: Path, name: str):
    pictures = [Image.new("RGB", (64, 48), (40 + 4 * index,) * 3) for index in range(12)]
    durations = [100] * 6 + [300] * 6  # ms
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=durations, lossless=True)
    source = open_source(str(tmp_path / name))
    reading = read(source)
    assert reading.error is None
    assert reading.values == pytest.approx(list(range(12)), abs=1)
    shown = np.cumsum([0, *durations[:-1]]) / 1000
    assert [frame.time for frame in reading.frames] == pytest.approx(list(shown), abs=0.002)
    assert (source.live, source.total, source.fps) == (False, 12, 10)
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]


def test_a_cut_animation_gives_what_is_readable_or_is_refused(tmp_path: Path):
    chance = np.random.default_rng(0)
    pictures = [Image.fromarray(chance.integers(0, 255, (48, 64, 3), np.uint8)) for _ in range(8)]
    path = tmp_path / "moving.png"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    reading = read(open_source(str(cut(path, 0.6))))
    assert 0 < len(reading.frames) < 8
    assert str(reading.error) == f"{path}: damaged: header says 8 frames, {len(reading.frames)} could be read"


@pytest.mark.parametrize("name", ["still.webp", "still.avif", "still.png"])
def test_a_picture_that_does_not_move_is_one_picture(tmp_path: Path, name: str):
    Image.new("RGB", (64, 48), (80, 80, 80)).save(tmp_path / name)
    assert [frame.image.shape for frame in read(open_source(str(tmp_path / name))).frames] == [(48, 64, 3)]


def test_an_avif_picture_is_turned_upright(tmp_path: Path):
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (64, 48)).save(tmp_path / "upright.avif", exif=turned)
    assert read(open_source(str(tmp_path / "upright.avif"))).frames[0].image.shape == (64, 48, 3)


def test_files_of_a_folder_that_are_no_pictures_are_counted_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    Image.new("RGB", (64, 48), (80, 80, 80)).save(tmp_path / "a.jfif", format="JPEG")
    for name in ("1.dng", "2.tga", "3.gif", ".hidden", "4.txt", "5.txt", "6.txt"):
        (tmp_path / name).write_bytes(b"what")
    said = "left out as no pictures: 6 files (1.dng, 2.tga, 3.gif, 4.txt, 5.txt, ...)"
    with caplog.at_level(logging.WARNING):
        reading = read(open_source(str(tmp_path)))
        assert len(photo_paths([str(tmp_path)])) == 1
    assert len(reading.frames) == 1
    assert reading.error is None
    assert [record.message for record in caplog.records] == [f"{tmp_path.name}: {said}", f"{tmp_path}: {said}"]


def test_the_command_line_tells_what_it_left_out(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), grey(9))
    (tmp_path / "b.dng").write_bytes(b"what")
    for command in (["run", tmp_path], ["photo", tmp_path, "--out", tmp_path / "out"]):
        done = streamer(*command)
        assert done.returncode == 0
        assert "left out as no pictures: 1 file (b.dng)" in " ".join(done.stderr.split())


def test_a_folder_of_other_files_alone_is_refused(tmp_path: Path):
    (tmp_path / "b.dng").write_bytes(b"what")
    assert "no picture there" in fails(str(tmp_path))
    with pytest.raises(UserError, match="no photo there"):
        photo(Config(), [str(tmp_path)], tmp_path / "out")
