from __future__ import annotations

import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamer.commands.replay import replay
from streamer.commands.run import run
from streamer.config import Config
from streamer.records.run_manifest import manifest_path
from streamer.sinks.outputs import Outputs
from tests.make import start
from tests.media import cut, write_video


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return the log of a run over a folder of three pictures, one of which cannot be read."""
    (tmp_path / "photos").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), np.full((64, 64, 3), 60 * number, np.uint8))
    cut(tmp_path / "photos" / "1.png", 0.5)
    assert run(Config(), [str(tmp_path / "photos")], Outputs(log=tmp_path / "out.jsonl")) == 1
    return tmp_path / "out.jsonl"


def test_a_damaged_input_gives_the_same_records_again(log: Path, capsys: pytest.CaptureFixture[str]):
    assert replay(manifest_path(log), None) == 0
    assert capsys.readouterr().out == f"{log.with_name('out.replay.jsonl')}: the same 2 frames as {log}\n"


def test_the_last_run_of_an_appended_log_is_compared(log: Path, capsys: pytest.CaptureFixture[str]):
    settings = Config.model_validate({"log": {"append": True}})
    assert run(settings, [str(log.parent / "photos")], Outputs(log=log)) == 1
    assert replay(manifest_path(log), None) == 0
    assert "the same 2 frames" in capsys.readouterr().out


def test_other_records_are_told_by_their_place(log: Path, capsys: pytest.CaptureFixture[str]):
    lines = log.read_bytes().splitlines(keepends=True)
    [_, second] = [number for number, line in enumerate(lines) if b'"type":"frame"' in line]
    log.write_bytes(b"".join([*lines[:second], lines[second].replace(b'"time":', b'"time":9'), *lines[second + 1 :]]))
    assert replay(manifest_path(log), None) == 1
    assert "stream 'photos': frame record 1 differs" in capsys.readouterr().out
    log.write_bytes(b"".join([*lines[:second], *lines[second + 1 :]]))
    assert replay(manifest_path(log), None) == 1
    assert "1 frames became 2" in capsys.readouterr().out


def test_a_record_without_its_stream_is_told_in_a_line(log: Path):
    log.write_bytes(log.read_bytes().replace(b'"stream":', b'"camera":'))
    with pytest.raises(
        ValueError, match=r"out\.jsonl: a record is not as schema \d+ says: see `streamer log validate`"
    ):
        replay(manifest_path(log), None)


def test_the_log_to_compare_with_is_not_replaced_and_may_be_gone(log: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match=r"out\.jsonl: is the log to compare with"):
        replay(manifest_path(log), log)
    log.unlink()
    replay(manifest_path(log), None)
    assert f"not compared: there is no {log}" in capsys.readouterr().out


def test_a_file_more_in_the_folder_is_another_input(log: Path):
    cv2.imwrite(str(log.parent / "photos" / "9.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="other files now than when it was recorded"):
        replay(manifest_path(log), None)


def test_a_replay_that_a_signal_ends_compares_nothing(tmp_path: Path):
    clip, log = write_video(tmp_path / "clip.avi", 3000), tmp_path / "out.jsonl"
    assert run(Config(), [str(clip)], Outputs(log=log)) == 0
    again, deadline = tmp_path / "out.replay.jsonl", time.monotonic() + 60
    replaying = start("replay", manifest_path(log))
    while not (again.exists() and again.read_bytes().count(b"\n") > 8) and time.monotonic() < deadline:
        time.sleep(0.02)
    replaying.send_signal(signal.SIGTERM)
    output, _ = replaying.communicate(timeout=60)
    assert replaying.returncode == 143
    assert output == f"{again}: not compared: ended by a signal\n"
