"""Several processes train one network together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from train import checkpoint

WriteConfig = Callable[..., Path]


def test_two_processes_train_one_network_together(write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config(phases=[{"epochs": 2, "size": 24}])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "-m", "train", "fit", str(path)],
        capture_output=True, text=True, timeout=120, env=environment, cwd=Path(__file__).parents[2], check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in (tmp_path / "runs/toy/epochs.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert len([line for line in done.stdout.splitlines() if line.startswith("{")]) == 2  # one process prints
    found = checkpoint.load(tmp_path / "runs/toy/checkpoint.pt")
    assert len(found["rng"]) == 2
    assert not torch.equal(found["rng"][0]["cpu"], found["rng"][1]["cpu"])
    assert lines[-1]["loss"] < lines[0]["loss"]
