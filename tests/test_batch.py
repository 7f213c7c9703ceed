"""`streamer batch` on a real Ray cluster of several nodes on this machine."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from streamer.batch import batch, place_of
from streamer.config import Config
from tests.test_cli import SAMPLE

pytestmark = pytest.mark.skipif(not find_spec("ray"), reason="needs Ray (extra ray)")

CLUSTER = """
import json, sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster
from streamer.batch import batch
from streamer.config import Config
out, *inputs = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
cluster.wait_for_nodes()
killed = []

def kill():
    # as soon as the second node works on an input too
    while len(list(Path(out).glob(".unfinished-*"))) < 2:
        time.sleep(0.02)
    time.sleep(1)
    killed.append(len(list(Path(out).glob("input=*"))))
    cluster.remove_node(nodes[1], allow_graceful=False)

thread = threading.Thread(target=kill)
thread.start()
code = batch(Config(), inputs, Path(out), cluster.address)
thread.join()
cluster.shutdown()
print(json.dumps({"code": code, "done_before_kill": killed[0]}))
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
    assert not list((tmp_path / "no").iterdir())


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
    assert sorted(path.name for path in out.iterdir()) == sorted(place_of(out, str(path)).name for path in inputs)
    tables = [pq.read_table(place_of(out, str(path)) / "faces.parquet", partitioning=None) for path in inputs]
    frames = [pq.read_table(place_of(out, str(path)) / "frames.parquet", partitioning=None) for path in inputs]
    assert all(table["index"].to_pylist() == list(range(175)) for table in frames)
    faces = [sorted(zip(table["index"].to_pylist(), table["id"].to_pylist(), strict=True)) for table in tables]
    assert all(len(set(one)) == len(one) > 200 for one in faces)
    assert all(one == faces[0] for one in faces)
    again = batch(Config(), [str(path) for path in inputs], out, "never asked, as all is done")
    assert again == 0
