"""The container and the manifests: linted by the tools made for it, and what they run is run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from streamer.__main__ import app
from streamer.config import Config, load_config

ROOT = Path(__file__).parents[2]
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


def test_probes_and_scrapes_ask_the_listener_that_clients_of_the_api_do_not_reach():
    """What each manifest opens, asks and scrapes is the port that its arguments give to health and metrics."""
    given = {name: " ".join(one).replace("--set ", "--set=") for name, one in arguments().items()}
    assert all("--set=metrics.address=0.0.0.0 --set=metrics.port=9100" in one for one in given.values())
    *_, pods, _ = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    template = pods["spec"]["template"]
    [container] = template["spec"]["containers"]
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    probes = [container[name]["httpGet"]["port"] for name in ("startupProbe", "livenessProbe")]
    assert [ports[port] for port in probes] == [9100, 9100]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "9100"
    assert "http://127.0.0.1:9100/healthz" in DOCKERFILE
    [scraped] = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": ["streamer:9100"]}]


def clean() -> dict[str, str]:
    """Return the environment without what would lead a Python to the packages of these tests."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


def steps(stage: str) -> list[list[str]]:
    """Return the arguments of each `pip install` of a stage of the image, as into the environment that runs them."""
    [text] = re.findall(rf"^FROM \S+ AS {stage}\n((?:(?!FROM).*\n)*)", DOCKERFILE, re.M)
    found = [shlex.split(line) for line in re.findall(r"pip install ((?:(?!&&).)*)", text.replace("\\\n", ""))]
    return [[one for one in step if one != "--prefix=/install"] for step in found]


def for_gpu() -> list[list[str]]:
    """Return what the image for GPUs installs beside; torch-tensorrt and modelopt without what they depend on.

    TensorRT's packages want an NVIDIA machine.
    """
    assert steps("gpu-packages") == [["--no-cache-dir", ".[gpu]"]]
    torch = pytest.importorskip("torch", reason="needs torch, whose version is taken")
    gpu = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["gpu"]
    assert [re.match(r"[\w-]+", one)[0] for one in gpu] == ["torch", "torch-tensorrt", "nvidia-modelopt"]  # type: ignore[index]
    return [[f"torch=={torch.__version__.partition('+')[0]}"], ["--no-deps", *gpu[1:]]]


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what the image's `-packages` stages do, in a fresh environment; return its folder of programs."""
    folder = tmp_path_factory.mktemp(request.param)
    source = folder / "src"
    source.mkdir()
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M)
    for name in " ".join(copied).split():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, env=clean())
    wanted = steps("cpu-packages") + (for_gpu() if request.param == "gpu" else [])
    for step in wanted:
        command = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *step]
        subprocess.run(command, check=True, env=clean(), timeout=600, cwd=source)
    return folder / "venv" / "bin"


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["cpu"], indirect=True)
def test_what_is_locked_satisfies_what_is_declared(installed: Path):
    done = subprocess.run([installed / "python", "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "No broken requirements found.\n")


@pytest.mark.slow
def test_what_an_image_installs_serves_and_is_well(installed: Path, tmp_path: Path):
    health = re.search(r"CMD \[\"python\", \"-c\", \"(.*)\"\]", DOCKERFILE)
    assert health
    environment = clean() | {"STREAMER_TOKEN": "long-enough", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [installed / "streamer", *arguments()["image"]]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        deadline, well = time.monotonic() + 60, False
        while not well and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.5)
            check = [installed / "python", "-c", health[1]]
            well = subprocess.run(check, capture_output=True, env=environment, check=False).returncode == 0
        with urllib.request.urlopen("http://127.0.0.1:9100/metrics", timeout=5) as answer:
            assert b"streamer_build_info" in answer.read()
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert well, errors
    assert process.returncode == 143, errors


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["cpu"], indirect=True)
def test_what_an_image_installs_analyses_a_clip(installed: Path, tmp_path: Path):
    sample = ROOT / "docs" / "sample" / "sample.mp4"
    command = [installed / "streamer", "run", sample, "--video", "out.mp4", "--log", "out.jsonl"]
    environment = clean() | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.mp4").stat().st_size > 10_000
    assert (tmp_path / "out.jsonl").read_text().count('"type":"frame"') > 100


@pytest.mark.slow
@pytest.mark.parametrize("installed", ["gpu"], indirect=True)
def test_the_gpu_image_says_why_it_takes_no_gpu_and_serves_without(installed: Path, tmp_path: Path):
    from tests.networks import write_tiny

    write_tiny(tmp_path)
    program = (
        "import logging, pathlib, engines; logging.basicConfig(level='INFO')\n"
        "engine = engines.load_engine(pathlib.Path('tiny.pt2'), 'expression')\n"
        "print(engine.spec.name)"
    )
    command = [installed / "python", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=clean(), cwd=tmp_path, check=False)
    assert done.stdout == "tiny\n", done.stderr
    assert "tiny.pt2: not by TensorRtEngine: " in done.stderr
    assert "not by CudaEngine: there is no NVIDIA GPU" in done.stderr
