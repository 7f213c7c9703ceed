from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_carries_models_cards_and_presets(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [path for path in (ROOT / "engines" / "zoo").iterdir() if path.is_file()]
    presets = list((ROOT / "configs").rglob("*.yaml"))
    assert {path.relative_to(ROOT).as_posix() for path in shipped + presets} <= names
    assert {f"{package}/py.typed" for package in ("engines", "streamer", "train")} <= names
    assert not any(name.startswith(("tests/", "docs/", "benchmarks/")) for name in names)


def test_the_wheel_works_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    environment = os.environ | {"PYTHONPATH": str(site)}
    where = [sys.executable, "-c", "import streamer, engines; print(streamer.__file__, engines.__file__)"]
    found = subprocess.run(where, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert all(path.startswith(str(site)) for path in found.stdout.split())
    sample, log = ROOT / "docs" / "sample" / "sample.mp4", tmp_path / "out.jsonl"
    run = [sys.executable, "-m", "streamer", "run", str(sample), "--config", "crowd", "--log", str(log)]
    done = subprocess.run(run, check=False, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert log.read_text().count('"label"') > 100
