from __future__ import annotations

import random
import socket
from pathlib import Path

import numpy as np
import pytest

from streamer.sources import open_source
from streamer.sources.interlacing import is_progressive
from tests.media import fails, ffmpeg, ffmpeg_running, read

FIELDS = "-flags +ildct+ilme -top 1"
X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
KINDS = {
    "h264.mp4": f"{X264} {FIELDS}",
    "h264.mkv": f"{X264} {FIELDS}",
    "h264.ts": f"{X264} {FIELDS}",
    "raw.264": f"{X264} {FIELDS}",
    "mpeg2.mpg": f"-c:v mpeg2video -q:v 2 {FIELDS}",
    "mpeg2.ts": f"-c:v mpeg2video -q:v 2 {FIELDS}",
    "mpeg4.avi": f"-c:v mpeg4 -q:v 2 {FIELDS}",
    "dv.dv": "-c:v dvvideo -pix_fmt yuv420p",
    "dv.avi": "-c:v dvvideo -pix_fmt yuv420p",
    "prores.mov": f"-c:v prores_ks -pix_fmt yuv422p10le {FIELDS}",
    "lossless.mkv": f"-c:v ffv1 {FIELDS}",
}
COUNT = 12
STEP = 18  # pixels that the bar moves from picture to picture, half of it from field to field
REFUSED = "interlaced video, which OpenCV cannot read: pip install 'emotion-streamer[video]'"


def write_bar(path: Path, options: str, filters: str = "") -> Path:
    """Write 12 pictures of a bright bar that moves to the right, each of two fields unless said."""
    first = "bff" if "dvvideo" in options else "tff"  # of the fields, in DV always the lower one
    filters = filters or f",interlace={first}"
    bar = "color=black:size=160x40:rate=50,format=gray,geq=lum='if(between(X,20+2*N,50+2*N),235,40)'"
    shape = f"scale=720:576:flags=neighbor,format=yuv420p{filters},setsar=1"
    ffmpeg("-f", "lavfi", "-i", f"{bar},{shape}", "-frames:v", COUNT, *options.split(), path)
    return path


def left_edge(rows: np.ndarray) -> int:
    """Return where the bar begins."""
    return int(np.argmax(rows.mean((0, 2)) > 128))


@pytest.mark.usefixtures("_pyav")
@pytest.mark.parametrize("name", KINDS)
def test_interlaced_video_becomes_whole_pictures(tmp_path: Path, name: str):
    reading = read(open_source(str(write_bar(tmp_path / name, KINDS[name]))))
    assert reading.error is None
    assert len(reading.frames) == COUNT
    for index, frame in enumerate(reading.frames):
        even, odd = left_edge(frame.image[100:476:2]), left_edge(frame.image[101:477:2])
        assert abs(even - odd) <= 4  # else the fields are still two times
        wide = frame.image.shape[1] / 720  # DV says that its pixels are not square, whatever was asked
        assert -6 <= even - (90 + STEP * index) * wide <= STEP / 2 + 6  # at the time of one of its fields
    times = [frame.time for frame in reading.frames]
    assert times == pytest.approx([index / 25 for index in range(COUNT)], abs=0.001)


@pytest.mark.usefixtures("_only_opencv")
@pytest.mark.parametrize("name", KINDS)
def test_interlaced_video_is_refused_without_pyav_before_the_first_frame(tmp_path: Path, name: str):
    path = write_bar(tmp_path / name, KINDS[name])
    assert fails(str(path)) == f"{path}: {REFUSED}"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", f"{X264} -x264opts fake-interlaced=1"),
        ("h264.ts", X264),
        ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none"),
        ("raw.hevc", "-c:v libx265 -preset ultrafast -x265-params log-level=none"),
        ("mpeg2.mpg", "-c:v mpeg2video -q:v 2"),
        ("mpeg1.mpg", "-c:v mpeg1video -q:v 2"),
        ("mpeg4.avi", "-c:v mpeg4 -q:v 2"),
        ("prores.mov", "-c:v prores_ks -pix_fmt yuv422p10le"),
        ("lossless.mkv", "-c:v ffv1"),
        ("vp8.webm", "-c:v libvpx -deadline realtime"),
    ],
)
@pytest.mark.usefixtures("reader")
def test_progressive_video_is_read_by_both(tmp_path: Path, name: str, options: str):
    reading = read(open_source(str(write_bar(tmp_path / name, options, ",fps=25"))))
    assert reading.error is None
    assert [left_edge(frame.image) for frame in reading.frames] == pytest.approx(
        [90 + STEP * index for index in range(COUNT)], abs=4
    )


@pytest.mark.parametrize("name", ["still.mp4", "still.ts", "still.hevc", "still.avi", "still.mpg"])
@pytest.mark.usefixtures("_only_opencv")
def test_a_still_scene_of_a_codec_that_says_so_is_not_taken_for_interlaced(tmp_path: Path, name: str):
    codec = {".hevc": ["libx265", "-x265-params", "log-level=none"], ".avi": ["mpeg4"], ".mpg": ["mpeg2video"]}
    coding = ["-c:v", *codec.get(Path(name).suffix, ["libx264"])]
    ffmpeg("-f", "lavfi", "-i", "color=gray:size=160x120:rate=25", "-frames:v", 10, *coding, tmp_path / name)
    reading = read(open_source(str(tmp_path / name)))
    assert reading.error is None
    assert len(reading.frames) >= 9  # OpenCV lacks a timestamp for the last one of a bare HEVC stream


def test_video_that_becomes_interlaced_gives_what_was_not_and_is_whole_with_pyav(tmp_path: Path, reader: str):
    first = write_bar(tmp_path / "a.ts", f"{X264} -x264opts fake-interlaced=1", ",fps=25").read_bytes()
    second = write_bar(tmp_path / "b.ts", f"{X264} {FIELDS}").read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    reading = read(open_source(str(path)))
    edges = [left_edge(frame.image) for frame in reading.frames]
    assert edges[: COUNT - 1] == pytest.approx([90 + STEP * index for index in range(COUNT - 1)], abs=4)
    if reader == "opencv":
        assert len(edges) <= COUNT
        assert str(reading.error) == f"{path}: {REFUSED}"
    else:
        assert len(edges) == 2 * COUNT
        assert edges[COUNT:] == pytest.approx([90 + STEP * index for index in range(COUNT)], abs=6)


def test_an_interlaced_live_stream_is_read_with_pyav_and_refused_without(reader: str):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{taken.getsockname()[1]}"
    bar = "color=black:size=160x40:rate=50,format=gray,geq=lum='if(between(X,20+mod(N,40),50+mod(N,40)),235,40)'"
    picture = f"{bar},scale=720:288:flags=neighbor,format=yuv420p,interlace"
    coding = f"-c:v mpeg2video -q:v 4 -g 10 {FIELDS} -f mpegts".split()
    with ffmpeg_running("-re", "-f", "lavfi", "-i", picture, *coding, f"{address}?pkt_size=1316"):
        reading = read(open_source(address, timeout=10), stop_after=20)
    if reader == "opencv":
        assert str(reading.error) == f"{address}: {REFUSED}"
        assert not reading.frames
        return
    edges = [(left_edge(frame.image[::2]), left_edge(frame.image[1::2])) for frame in reading.frames]
    assert all(abs(even - odd) <= 2 for even, odd in edges)  # half a step, had the fields stayed two times, is 4.5
    assert max(edges) > min(edges)
    assert all(frame.live for frame in reading.frames)


def test_no_cut_or_garbled_header_breaks_the_look_at_it():
    chance = random.Random(0)
    good = {
        "h264": bytes.fromhex("0164001effe1001c6764001eacd940b4245ff802000168800000030080000019078b16cb01000468ef8fcb"),
        "hevc": bytes.fromhex("0000000142010101600000030090000003000003005aa00281"),
        "mpg2": bytes.fromhex("000001b32d024023ffffe018000001b5148a00010000"),
        "fmp4": bytes.fromhex("000001b001000001b58913000001000000012000c48d8800cd14043c1463"),
    }
    assert [is_progressive(tag, header) for tag, header in good.items()] == [False, True, True, True]
    for _ in range(3000):
        tag = chance.choice([*good])
        header = bytearray(good[tag][: chance.randrange(len(good[tag]) + 1)])
        for _ in range(chance.randrange(4)):
            if header:
                header[chance.randrange(len(header))] = chance.randrange(256)
        assert is_progressive(tag, bytes(header)) in (True, False)


def test_an_unknown_codec_is_not_called_progressive():
    assert not is_progressive("what", b"\1\2\3\4")
