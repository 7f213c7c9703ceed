"""Kinds of video that one reader or the other gets wrong where nobody looks: shape, turn, rate, tracks, damage."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.commands.run import run
from streamer.config import Config
from streamer.sinks.outputs import Outputs
from streamer.sources import open_source
from tests.make import SAMPLE, streamer
from tests.media import FRAMES, cut, fails, ffmpeg, read, write_video

EXTRA = "pip install 'emotion-streamer[video]'"
DISC = "drawbox=x=100:y=60:w=40:h=40:color=white:t=fill"  # on 320x240


def white_box(image: np.ndarray) -> tuple[int, int, int, int]:
    """Return left, top, width and height of what is white."""
    ys, xs = np.nonzero(image[..., 1] > 128)
    return int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1


def write_box(path: Path, filters: str = "", *options: object) -> Path:
    """Write 10 pictures of 320x240, black with a white square at (100, 60) of 40 pixels."""
    picture = f"color=black:size=320x240:rate=25,{DISC},format=yuv420p{filters}"
    coding = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", 10]
    ffmpeg("-f", "lavfi", "-i", picture, "-frames:v", 10, *coding, *options, path)
    return path


@pytest.mark.parametrize(
    ("squeeze", "shape", "box"),
    [
        (",scale=160:240,setsar=2/1", (240, 320), (100, 60, 40, 40)),
        (",scale=320:120,setsar=1/2", (240, 320), (100, 60, 40, 40)),
        (",scale=352:288,setsar=0/1", (288, 352), (110, 72, 44, 48)),
        (",setsar=200/1", (240, 320), (100, 60, 40, 40)),
    ],
)
@pytest.mark.usefixtures("reader")
def test_pixels_that_are_not_square_are_made_so_where_the_header_makes_sense(
    tmp_path: Path, squeeze: str, shape: tuple[int, int], box: tuple[int, int, int, int]
):
    reading = read(open_source(str(write_box(tmp_path / "clip.mp4", squeeze))))
    assert len(reading.frames) == 10
    assert all(frame.image.shape == (*shape, 3) for frame in reading.frames)
    assert white_box(reading.frames[5].image) == pytest.approx(box, abs=2)


@pytest.mark.usefixtures("reader")
def test_squeezed_video_is_analysed_and_written_in_true_shape(tmp_path: Path):
    squeezed, out, log = tmp_path / "squeezed.mp4", tmp_path / "out.mp4", tmp_path / "out.jsonl"
    ffmpeg("-i", SAMPLE, "-frames:v", 10, "-vf", "scale=320:480,setsar=2/1", "-c:v", "libx264", squeezed)
    assert run(Config(), [str(squeezed)], Outputs(video=out, log=log)) == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    boxes = [face["box"] for line in lines if line["type"] == "frame" for face in line["faces"]]
    assert len(boxes) >= 16  # two faces in nearly all frames
    assert all(0.6 < (x2 - x1) / (y2 - y1) < 1.1 for x1, y1, x2, y2 in boxes)
    written = cv2.VideoCapture(str(out))
    assert (written.get(cv2.CAP_PROP_FRAME_WIDTH), written.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (640, 480)
    written.release()


@pytest.mark.parametrize("turn", [90, 180, 270])
@pytest.mark.parametrize("squeeze", ["", ",scale=160:240,setsar=2/1"])
@pytest.mark.usefixtures("reader")
def test_a_turned_recording_is_upright_and_true(tmp_path: Path, turn: int, squeeze: str):
    """As of a telephone that was held upright; ffmpeg's own turn is what it should look like."""
    write_box(tmp_path / "lying.mp4", squeeze)
    ffmpeg("-i", tmp_path / "lying.mp4", "-c", "copy", "-metadata:s:v:0", f"rotate={turn}", tmp_path / "turned.mp4")
    width, height = (320, 240) if turn == 180 else (240, 320)
    upright = tmp_path / "upright.png"
    ffmpeg("-i", tmp_path / "turned.mp4", "-frames:v", 1, "-vf", f"scale={width}:{height}", upright)
    expected = white_box(np.asarray(cv2.imread(str(upright))))
    assert expected != (100, 60, 40, 40)
    reading = read(open_source(str(tmp_path / "turned.mp4")))
    assert reading.error is None
    assert len(reading.frames) == 10
    assert reading.frames[5].image.shape == (height, width, 3)
    assert white_box(reading.frames[5].image) == pytest.approx(expected, abs=2)


@pytest.mark.usefixtures("reader")
def test_times_of_a_variable_rate_are_those_of_the_file(tmp_path: Path):
    slower = "setpts='if(lt(N,10),N/25,10/25+(N-10)/5)/TB'"
    path = tmp_path / "clip.mp4"
    ffmpeg("-i", SAMPLE, "-frames:v", 20, "-vf", f"scale=160:120,{slower}", "-vsync", "vfr", "-c:v", "libx264", path)
    reading = read(open_source(str(path)))
    expected = [n / 25 if n < 10 else 10 / 25 + (n - 10) / 5 for n in range(20)]
    assert reading.error is None
    assert [frame.time for frame in reading.frames] == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("name", ["clip.mov", "clip.mkv"])
def test_a_still_picture_before_the_video_is_stepped_over_or_told(tmp_path: Path, name: str, reader: str):
    cv2.imwrite(str(tmp_path / "cover.jpg"), np.zeros((120, 160, 3), np.uint8))
    clip, path = write_video(tmp_path / "clip.mp4"), tmp_path / name
    tracks = ["-map", 0, "-map", 1, "-c", "copy", "-disposition:v:0", "default", "-disposition:v:1", 0]
    ffmpeg("-i", tmp_path / "cover.jpg", "-i", clip, *tracks, path)
    reading = read(open_source(str(path)))
    if reader == "pyav":
        assert reading.values == pytest.approx(list(range(FRAMES)), abs=1)
        assert reading.error is None
    else:
        assert str(reading.error) == f"{path}: OpenCV reads one picture of it, as of a cover before the video: {EXTRA}"


def write_damaged(path: Path) -> Path:
    """Write H.264 with bytes changed in the middle, which decoders conceal."""
    ffmpeg("-i", SAMPLE, "-frames:v", 50, "-vf", "scale=320:240", "-c:v", "libx264", "-g", 10, path)
    data, chance = bytearray(path.read_bytes()), np.random.default_rng(0)
    start = data.index(b"mdat")
    for at in chance.integers(start + len(data) // 3, start + len(data) // 2, 60):
        data[at] ^= 0x55
    path.write_bytes(data)
    return path


@pytest.mark.usefixtures("_pyav")
def test_concealed_damage_is_told_in_one_line_and_nothing_recorded_is_lost(tmp_path: Path):
    path, log = write_damaged(tmp_path / "clip.mp4"), tmp_path / "out.jsonl"
    reading = read(open_source(str(path)))
    assert 40 < len(reading.frames) <= 50
    assert str(reading.error).startswith(f"{path}: damaged: ")
    done = streamer("run", path, "--log", log)
    assert done.returncode == 1
    assert [line for line in done.stderr.splitlines() if "damaged" in line] == [f"streamer: {reading.error}"]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(line["type"] == "frame" for line in lines) == len(reading.frames)


@pytest.mark.usefixtures("reader")
def test_a_cut_flash_video_is_told(tmp_path: Path):
    path = tmp_path / "clip.flv"
    ffmpeg("-i", write_video(tmp_path / "clip.mp4"), "-c:v", "flv1", path)
    assert read(open_source(str(path))).error is None
    reading = read(open_source(str(cut(path, 0.5))))
    assert 0 < len(reading.frames) < FRAMES
    assert str(reading.error) == f"{path}: truncated: header says 50 frames, {len(reading.frames)} could be read"


@pytest.mark.usefixtures("_only_opencv")
def test_a_device_is_refused_without_pyav(tmp_path: Path):
    path = write_video(tmp_path / "clip.mp4")
    assert fails(str(path), decode="hw") == f"{path}: source.decode=hw needs PyAV: {EXTRA}"
    assert fails("http://127.0.0.1:1/x", decode="hw") == f"http://127.0.0.1:1/x: source.decode=hw needs PyAV: {EXTRA}"


@pytest.mark.usefixtures("_pyav")
def test_a_device_decodes_or_is_refused_in_one_line(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    ffmpeg("-i", write_video(tmp_path / "plain.mp4"), "-c:v", "libx264", "-pix_fmt", "yuv420p", path)
    reading = read(open_source(str(path), decode="hw"))
    if reading.error:
        assert str(reading.error).startswith(f"{path}: source.decode=hw, but no device of this machine decodes it")
        assert not reading.frames
    else:
        assert reading.values == pytest.approx(list(range(FRAMES)), abs=1)


@pytest.mark.usefixtures("reader")
def test_a_title_in_other_bytes_than_utf8_is_no_reason_to_refuse_a_video(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=0.2:s=160x120:r=25", "-metadata", "title=QQQQ", path)
    data = path.read_bytes()
    assert data.count(b"QQQQ") == 1
    path.write_bytes(data.replace(b"QQQQ", b"\xe9\xe8\xff\xfe"))
    reading = read(open_source(str(path)))
    assert (len(reading.frames), reading.error) == (5, None)
