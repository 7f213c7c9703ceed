"""`streamer batch` on a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from streamer.commands.batch import LOG, RUNS, Interrupted, analyse, batch, place_of, remove_unfinished
from streamer.config import Config
from tests.make import SAMPLE
from tests.media import cut, write_video

pytestmark = pytest.mark.skipif(not find_spec("ray"), reason="needs Ray (extra ray)")

CLUSTER = """
import json, sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster
from streamer.commands.batch import batch
from streamer.config import Config
out, *inputs = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
killed = []

def kill():
    # as soon as the second node works on an input too
    while len(list(Path(out).glob("runs/.unfinished-*"))) < 2:
        time.sleep(0.02)
    time.sleep(1)
    killed.append(len(list(Path(out).glob("runs/input=*"))))
    cluster.remove_node(nodes[1], allow_graceful=False)

thread = threading.Thread(target=kill)
thread.start()
code = batch(Config(), inputs, Path(out), cluster.address)
thread.join()
cluster.shutdown()
print(json.dumps({"code": code, "done_before_kill": killed[0]}))
"""

LOST = """
import json, os, signal, sys
from pathlib import Path
import ray
from streamer.commands.batch import Interrupted, work_off
folder = Path(sys.argv[1])

def task(name):
    with (folder / name).open("a") as tries:
        tries.write("x")
    tried = (folder / name).stat().st_size
    if name == "crash" or (name == "once" and tried < 2):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "bug":
        raise RuntimeError("told")
    if name == "stopped" and tried < 4:
        raise Interrupted("signal 15")
    return ""

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
remote = ray.remote(max_retries=0)(task)
told = [one for one in work_off(ray, remote.remote, ["crash", "fine", "once", "bug", "stopped"]) if one]
(folder / "told").write_text(json.dumps(told))  # Ray prints too
ray.shutdown()
"""


def test_live_inputs_bad_folders_and_clusters_that_are_away_are_refused_in_a_line(tmp_path: Path):
    with pytest.raises(ValueError, match="rtsp://x/1: expected files, .* found a stream"):
        batch(Config(), ["rtsp://x/1"], tmp_path, "local")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"--out .*/file/out: cannot be made: Not a directory"):
        batch(Config(), [str(SAMPLE)], tmp_path / "file" / "out", "local")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for address in ("nonsense", f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999"):
        with pytest.raises(OSError, match=f"--ray {address}: cannot reach the cluster: ") as refused:
            batch(Config(), [str(SAMPLE)], tmp_path / "no", address)
        assert "\n" not in str(refused.value)
    assert not list((tmp_path / "no").glob("*/*"))


@pytest.mark.parametrize("error", [Exception("timed out during startup.\nSee the log."), TimeoutError()])
def test_a_cluster_that_does_not_come_up_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error):
    def init(**settings):
        raise error  # as Ray on a machine that is too busy

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    with pytest.raises(
        OSError, match=r"--ray local: cannot reach the cluster: (timed out during startup\.|TimeoutError)$"
    ):
        batch(Config(), [str(SAMPLE)], tmp_path / "out", "local")


def test_an_input_that_kills_its_workers_is_given_up_and_told_and_a_lost_one_is_tried_again(tmp_path: Path):
    command = [sys.executable, "-W", "ignore", "-c", LOST, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = tmp_path / "told"
    bug, crash = sorted(json.loads(told.read_text()))
    told.unlink()
    assert bug == "bug: the task failed: RuntimeError: told"
    assert crash.startswith("crash: given up, as its worker was lost in all of 4 attempts, at last: The worker died")
    tries = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert tries == {"crash": 4, "fine": 1, "once": 2, "bug": 1, "stopped": 4}


def test_an_input_whose_analysis_a_signal_ends_is_not_done(tmp_path: Path):
    clip, place, work = write_video(tmp_path / "clip.avi", 3000), tmp_path / "place", tmp_path / "work"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while not (log := work / LOG).exists() or log.read_bytes().count(b"\n") < 8:
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        thread.start()
        with pytest.raises(Interrupted, match="signal 15"):
            analyse(Config().model_dump(mode="json"), str(clip), str(place), str(work))
    finally:
        thread.join()
        signal.signal(signal.SIGTERM, before)
    assert not place.exists()
    assert not work.exists()


def test_a_damaged_input_is_named_by_every_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(photos / name), np.full((64, 64, 3), 90, np.uint8))
    cut(photos / "b.png", 0.5)
    place = place_of(out, str(photos))
    (out / RUNS).mkdir(parents=True)
    found = analyse(Config().model_dump(mode="json"), str(photos), str(place), str(out / RUNS / ".unfinished-1"))
    assert found == f"{photos}: could not be read to its end: see {place / LOG}"
    assert pq.read_table(place / "frames.parquet", partitioning=None).num_rows == 1
    assert batch(Config(), [str(photos)], out, "never asked, as all is done") == 1
    told = capsys.readouterr().err
    assert "1 inputs, 1 done before" in told
    assert f"{found}\n" in told


def test_unfinished_folders_of_other_batches_stay_until_nothing_is_written_for_a_day(tmp_path: Path):
    for name in ("own-1", "other-1", "slow-1", "old-1"):
        folder = tmp_path / f".unfinished-{name}"
        folder.mkdir()
        (folder / LOG).touch()
    days_ago = time.time() - 2 * 24 * 3600
    for path in (tmp_path / ".unfinished-old-1", tmp_path / ".unfinished-old-1" / LOG, tmp_path / ".unfinished-slow-1"):
        os.utime(path, (days_ago, days_ago))
    remove_unfinished(tmp_path, ".unfinished-own-")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".unfinished-other-1", ".unfinished-slow-1"]


@pytest.mark.slow
def test_a_node_that_dies_costs_no_record_and_repeats_none(tmp_path: Path):
    inputs = [tmp_path / f"clip-{number}.mp4" for number in range(4)]
    for path in inputs:
        shutil.copy(SAMPLE, path)
    out = tmp_path / "out"
    command = [sys.executable, "-W", "ignore", "-c", CLUSTER, str(out), *map(str, inputs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["code"] == 0
    assert told["done_before_kill"] < len(inputs)
    assert sorted(path.name for path in (out / RUNS).iterdir()) == sorted(
        place_of(out, str(path)).name for path in inputs
    )
    tables = [pq.read_table(place_of(out, str(path)) / "faces.parquet", partitioning=None) for path in inputs]
    frames = [pq.read_table(place_of(out, str(path)) / "frames.parquet", partitioning=None) for path in inputs]
    assert all(table["index"].to_pylist() == list(range(175)) for table in frames)
    faces = [sorted(zip(table["index"].to_pylist(), table["id"].to_pylist(), strict=True)) for table in tables]
    assert all(len(set(one)) == len(one) > 200 for one in faces)
    assert all(one == faces[0] for one in faces)
    again = batch(Config(), [str(path) for path in inputs], out, "never asked, as all is done")
    assert again == 0
