"""Packages of these names that are somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(arguments: list[str], folder: Path, *first: Path) -> tuple[int, str]:
    """Run Python in a folder, with `first` before our packages on the path; return exit code and stderr."""
    found = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*first, ROOT)))}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=found, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr


def script(name: str, folder: Path) -> Path:
    """Write what an installer makes of one of our console scripts."""
    module, function = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][name].split(":")
    place = folder / "bin" / name
    place.parent.mkdir()
    place.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    return place


@pytest.mark.parametrize("module", ["streamer", "train"])
@pytest.mark.parametrize("foreign", ["engines.py", "engines/__init__.py"])
def test_engines_of_somebody_else_are_named_in_one_line(module: str, foreign: str, tmp_path: Path):
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).touch()
    code, errors = run(["-m", module, "--help"], tmp_path)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert f"expected the package 'engines' in {ROOT}: {tmp_path / foreign} is found before it" in errors


def test_the_script_for_training_does_not_look_into_the_current_folder(tmp_path: Path):
    training = script("streamer-train", tmp_path)
    for name in ("train.py", "engines.py"):
        (tmp_path / name).write_text("raise RuntimeError('foreign')")
    code, errors = run([str(training), "--help"], tmp_path)
    assert code == 0, errors
    code, errors = run([str(training), "--help"], tmp_path, tmp_path)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert str(tmp_path / "engines.py") in errors
    (tmp_path / "engines.py").unlink()
    assert str(tmp_path / "train.py") in run([str(training), "--help"], tmp_path, tmp_path)[1]


def test_a_folder_configs_of_somebody_else_hides_no_preset(tmp_path: Path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").touch()
    code, errors = run(["-m", "streamer", "run", "x.mp4", "--config", "nonsense"], tmp_path)
    assert (code, errors.count("presets crowd, default, photos")) == (2, 1)


def test_windows_is_told_in_one_line_what_is_expected(tmp_path: Path):
    start = "import sys; sys.platform = 'win32'; sys.modules['fcntl'] = None; import streamer.__main__"
    code, errors = run(["-c", start], tmp_path)
    assert (code, errors) == (2, "streamer: expected Linux, found Windows: WSL or the container image run there\n")
