"""Several processes train one network together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
import yaml

from streamer.config import load_config
from tests.make import points_of_face
from train import checkpoint, processes
from train.landmarks.config import LandmarksConfig
from train.landmarks.fit import fit

WriteConfig = Callable[..., Path]


def fit_in_two(path: Path) -> str:
    """Train a configuration in two processes; return what they print."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "train", "fit", str(path)],
        capture_output=True, text=True, timeout=120, env=environment, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_two_processes_train_one_network_together(write_config: WriteConfig, tmp_path: Path) -> None:
    printed = fit_in_two(write_config(phases=[{"epochs": 2, "size": 24}]))
    lines = [json.loads(line) for line in (tmp_path / "runs/toy/epochs.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert len([line for line in printed.splitlines() if line.startswith("{")]) == 2  # one process prints
    found = checkpoint.load(tmp_path / "runs/toy/checkpoint.pt")
    assert len(found["rng"]) == 2
    assert not torch.equal(found["rng"][0]["cpu"], found["rng"][1]["cpu"])
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.fixture
def landmarks(tmp_path: Path) -> Path:
    """Write a configuration of a small landmark network, and faces for it."""
    content = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (96, 96), np.uint8))[1].tobytes()
    names = [f"Person_{number}_1.jpg" for number in range(60)]
    points = [points_of_face(50, 20, 20).ravel().tolist()] * len(names)
    parquet.write_table(pa.table({"name": names, "jpg": [content] * 60, "points": points}), tmp_path / "faces.parquet")
    values = {
        "name": "toy",
        "task": "landmarks",
        "steps": 2,
        "precision": "f32",
        "sources": [{"set": "ytf", "path": str(tmp_path / "faces.parquet"), "share": 1.0}],
        "model": {"size": 32, "widths": [8, 12, 16, 24], "blocks": [1, 1, 1], "squeeze": 8, "dropout": 0},
        "phases": [{"epochs": 1, "size": 32}],
        "optimizer": {"rule": "adam", "rate": 0.005, "batch": 8, "average": 0.9},
        "runs": str(tmp_path / "runs"),
    }
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_two_processes_train_one_landmark_network_on_faces_of_their_own(landmarks: Path, tmp_path: Path) -> None:
    printed = fit_in_two(landmarks)
    assert len([line for line in printed.splitlines() if line.startswith("{")]) == 1
    both = checkpoint.load(tmp_path / "runs/toy/checkpoint.pt")["model"]
    for batch in (4, 8):  # not what the first process would have learned from its own half, or from all of it
        alone = fit(load_config(LandmarksConfig, landmarks, [f"name=alone{batch}", f"optimizer.batch={batch}"]))
        found = checkpoint.load(alone)["model"]
        assert any(not torch.allclose(both[name], found[name], atol=1e-4) for name in both)


def test_a_batch_that_the_processes_cannot_share_is_refused(landmarks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes.share(7) == 7
    monkeypatch.setattr("train.processes.count", lambda: 3)
    with pytest.raises(ValueError, match=r"optimizer\.batch 8: expected a multiple of 3 processes"):
        fit(load_config(LandmarksConfig, landmarks))
