"""Video from a web server: HLS, live and whole, and clips whose address does not say what they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from streamer.sources import State, open_source
from tests.hls import FPS, cut_segments, serving
from tests.media import FRAMES, cut, ffmpeg, read, write_streamable

SLOW = pytest.mark.slow


@pytest.mark.parametrize(("seconds", "wanted"), [(2, 6 * FPS), pytest.param(6, 14 * FPS, marks=SLOW)])
@pytest.mark.usefixtures("reader")
def test_live_segments_are_read_once_paced_by_media_time_and_never_reopened(tmp_path: Path, seconds: int, wanted: int):
    cut_segments(tmp_path, seconds, 4 if seconds == 6 else 8)
    with serving(tmp_path, seconds) as address:
        source = open_source(f"{address}/live.m3u8")
        reading = read(source, stop_after=wanted)
    assert source.live
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]
    values = reading.values
    assert [(after - before) % 50 for before, after in pairwise(values)] == [1] * (wanted - 1)
    times = [frame.time for frame in reading.frames]
    assert times == [frame.captured_at - reading.frames[0].captured_at for frame in reading.frames]
    assert wanted / FPS - 1 <= times[-1] <= wanted / FPS + seconds  # not in bursts, nor ever later
    crowded = sum(after - before < 0.2 / FPS for before, after in pairwise(times))
    assert crowded < wanted / 4  # as on a machine that is busy, but not as segments come


@pytest.mark.usefixtures("reader")
def test_a_whole_hls_recording_is_a_video_of_all_its_frames(tmp_path: Path):
    cut_segments(tmp_path, 1, 4)
    with serving(tmp_path) as address:
        source = open_source(f"{address}/vod.m3u8")
        reading = read(source)
    assert reading.error is None
    assert (source.live, source.total, source.fps) == (False, 4 * FPS, FPS)
    assert [(after - before) % 50 for before, after in pairwise(reading.values)] == [1] * (4 * FPS - 1)
    assert [frame.time for frame in reading.frames] == pytest.approx([n / FPS for n in range(4 * FPS)], abs=0.002)
    assert not any(frame.live for frame in reading.frames)
    assert reading.order == [State.CONNECTING, State.LIVE, State.ENDED]


@pytest.mark.usefixtures("reader")
def test_sound_that_comes_with_a_later_segment_is_no_end_of_everything(tmp_path: Path):
    picture, coding = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=25"), ("-c:v", "mpeg2video", "-g", 5)
    ffmpeg(*picture, "-t", 8, *coding, tmp_path / "a.ts")
    ffmpeg(*picture, "-f", "lavfi", "-i", "sine", "-t", 2, *coding, "-c:a", "aac", tmp_path / "b.ts")
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:8", "#EXTINF:8.0,", "a.ts"]
    lines += ["#EXT-X-DISCONTINUITY", "#EXTINF:2.0,", "b.ts", "#EXT-X-ENDLIST", ""]
    (tmp_path / "vod.m3u8").write_text("\n".join(lines))
    with serving(tmp_path) as address:
        reading = read(open_source(f"{address}/vod.m3u8"))
    assert reading.error is None
    assert len(reading.frames) == 250


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("name", ["clip", "clip.php", "clip.mp4"])
def test_a_clip_is_read_to_its_end_whatever_its_address(tmp_path: Path, name: str):
    write_streamable(tmp_path / "clip.mp4").rename(tmp_path / name)
    with serving(tmp_path) as address:
        source = open_source(f"{address}/{name}")
        reading = read(source)
    assert reading.error is None
    assert reading.values == pytest.approx(list(range(FRAMES)), abs=1)
    assert [frame.time for frame in reading.frames] == pytest.approx([index / 25 for index in range(FRAMES)])
    assert (source.live, source.total) == (False, FRAMES)


@pytest.mark.usefixtures("reader")
def test_a_clip_that_ends_early_is_told_and_not_opened_again(tmp_path: Path):
    cut(write_streamable(tmp_path / "clip.mp4"), 0.5).rename(tmp_path / "clip")
    with serving(tmp_path) as address:
        reading = read(open_source(f"{address}/clip"))
    assert 0 < len(reading.frames) < FRAMES
    assert f"header says {FRAMES} frames, {len(reading.frames)} could be read" in str(reading.error)
    assert reading.order == [State.CONNECTING, State.LIVE, State.FAILED]


@pytest.mark.usefixtures("_pyav")
def test_a_list_of_files_on_a_web_server_plays_none_of_them(tmp_path: Path):
    write_streamable(tmp_path / "other.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile other.mp4\n")
    with serving(tmp_path) as address:
        reading = read(open_source(f"{address}/list.mp4", timeout=2, retries=0))
    assert not reading.frames
    assert "sends no video" in str(reading.error)
