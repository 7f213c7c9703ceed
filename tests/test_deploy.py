"""The container and the manifests: linted by the tools made for it, and what they run is run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from streamer.__main__ import app
from streamer.config import Config, load_config

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "configs" / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def tool(name: str) -> str:
    """Return the path of a tool beside this Python, or anywhere; skip where there is none."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not found:
        pytest.skip(f"needs {name}")
    return found


def arguments() -> dict[str, list[str]]:
    """Return what each manifest, and the image by itself, calls `streamer` with."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["streamer"]
    *_, pods, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    [container] = pods["spec"]["template"]["spec"]["containers"]
    [default] = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.M)
    return {"compose": compose["command"], "kubernetes": container["args"], "image": yaml.safe_load(default)}


def test_hadolint_finds_no_fault_with_the_dockerfile():
    done = subprocess.run([tool("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_kubernetes_manifest_is_valid():
    command = [tool("kubernetes-validate"), "--strict", str(DEPLOY / "kubernetes.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_is_valid():
    command = [tool("docker-compose"), "-f", str(DEPLOY / "compose.yaml"), "config", "-q"]
    environment = os.environ | {"STREAMER_TOKEN": "long-enough"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_that_is_run_has_no_rights():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["streamer"]
    assert compose["read_only"]
    assert compose["cap_drop"] == ["ALL"]
    *_, pods, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    pod = pods["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.M)
    assert [stage.split()[2] for stage in stages[1:]][-2:] == ["gpu", "cpu"]
    [base] = [stage for stage in stages if " AS base" in stage]
    assert "\nUSER 10001\n" in base


@pytest.mark.parametrize("name", ["compose", "kubernetes", "image"])
def test_every_option_and_key_that_is_given_exists(name: str):
    given = arguments()[name]
    options = {one.partition("=")[0] for one in given if one.startswith("--")}
    help_text = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "300", "TERM": "dumb"}).stdout
    help_text += CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300", "TERM": "dumb"}).stdout
    assert "serve" in given
    assert all(option in help_text for option in options)
    overrides = [one.removeprefix("--set=") for one in given if one.startswith("--set=")]
    overrides += [value for option, value in pairwise(given) if option == "--set"]
    assert load_config(Config, None, overrides).serve.address == "0.0.0.0"


@pytest.mark.slow
def test_what_the_image_installs_and_runs_works_in_a_fresh_environment(tmp_path: Path):
    [extras] = re.findall(r'AS cpu-packages\n(?:#.*\n)*RUN pip install .* "\.(\[.*\])"', DOCKERFILE)
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    source = tmp_path / "src"
    source.mkdir()
    for name in " ".join(copied).split():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, env=environment)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{source}{extras}"]
    subprocess.run(install, check=True, env=environment, timeout=600, cwd=tmp_path)
    health = re.search(r"CMD \[\"python\", \"-c\", \"(.*)\"\]", DOCKERFILE)
    assert health
    environment |= {"STREAMER_TOKEN": "long-enough", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [tmp_path / "venv" / "bin" / "streamer", *arguments()["image"]]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline, well = time.monotonic() + 60, False
        while not well and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.5)
            check = [python, "-c", health[1]]
            well = subprocess.run(check, capture_output=True, env=environment, check=False).returncode == 0
        with urllib.request.urlopen("http://127.0.0.1:8765/metrics", timeout=5) as answer:
            assert b"streamer_build_info" in answer.read()
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert well, errors
    assert process.returncode == 143, errors
