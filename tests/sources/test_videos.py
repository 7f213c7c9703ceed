from __future__ import annotations

import os
import random
import struct
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from streamer.sources import State, open_source
from streamer.sources.container import read_promise
from tests.media import FRAMES, cut, fails, read, write_streamable, write_video


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


def test_a_file_that_lists_others_plays_none_of_them(tmp_path: Path, reader: str):
    write_video(tmp_path / "other.mp4")
    path = tmp_path / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")
    expected = f"{path}: a list of other files (ffconcat), not a video: expected the names of these files"
    assert fails(str(path)) == expected


def test_a_name_that_is_a_pattern_of_pictures_is_that_one_file(tmp_path: Path, reader: str):
    for index in range(3):
        Image.new("RGB", (160, 120)).save(tmp_path / f"shot{index}.sgi")
    path = write_video(tmp_path / "clip.avi", 5).rename(tmp_path / "shot%d.sgi")
    assert read(open_source(str(path))).values == pytest.approx(list(range(5)), abs=1)


def test_stop_ends_a_video(tmp_path: Path):
    reading = read(open_source(str(write_video(tmp_path / "clip.avi"))), stop_after=5)
    assert len(reading.frames) == 5
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]
    assert reading.error is None


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux to look at open files")
def test_a_closed_generator_releases_its_file(tmp_path: Path):
    path = str(write_video(tmp_path / "clip.avi"))
    frames: Any = open_source(path).frames(threading.Event(), lambda state, reason, cause: None)
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
