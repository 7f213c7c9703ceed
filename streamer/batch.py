"""`streamer batch`: many files over a Ray cluster, one task an input, Parquet out; resumable.

    out/input=NAME-HASH/{faces.parquet, frames.parquet, log.jsonl, log.manifest.json}

A task works in a folder of its own and renames it when all is in it, so there is one whole set of records an input or
none, however often a worker or a node dies and Ray starts the task again. All nodes must see inputs and `out` under the
same paths.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import uuid
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import Progress

from streamer.config import Config
from streamer.manifest import describe, manifest_path, read_manifest
from streamer.records.tables import convert
from streamer.run import Outputs, run
from streamer.sources import open_source, prepare_opencv

LOG = "log.jsonl"
UNFINISHED = ".unfinished-"
REACH_TIMEOUT = 5.0  # s


class Done(NamedTuple):
    """Say how an input went: rows of faces, or what was wrong."""

    name: str
    rows: int = 0
    error: str = ""


def batch(config: Config, names: Sequence[str], out: Path, address: str) -> int:
    """Analyse every input that is not done yet; return the exit code, 1 where some failed.

    address: of a Ray cluster, or 'local' for one on this machine.
    Raises ValueError for live inputs, OSError where input, output or cluster cannot be had, ImportError without Ray.
    """
    inputs = [absolute(name) for name in dict.fromkeys(names)]
    for name in inputs:
        if open_source(name).live or "://" in name:
            raise ValueError(f"{name}: expected files, which can be read again where a node dies, found a stream")
    out = out.absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--out {out}: cannot be made: {error.strerror}") from error
    waiting = [name for name in inputs if not is_done(config, name, place_of(out, name))]
    console = Console(stderr=True, highlight=False, markup=False)
    console.print(f"{len(inputs)} inputs, {len(inputs) - len(waiting)} done before")
    failed = [one for one in spread(config, waiting, out, address, console) if one.error] if waiting else []
    for leftover in out.glob(f"{UNFINISHED}*"):  # of tasks whose node died
        shutil.rmtree(leftover, ignore_errors=True)
    for one in failed:
        console.print(f"streamer: {one.error}", style="yellow", soft_wrap=True)
    return int(bool(failed))


def spread(config: Config, names: Sequence[str], out: Path, address: str, console: Console) -> list[Done]:
    """Have the cluster analyse the inputs; a task whose worker or node dies is started again elsewhere."""
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise ImportError("batch needs Ray: pip install 'emotion-streamer[ray]'") from error
    check_reach(address)
    try:
        where = {"include_dashboard": False} if address == "local" else {"address": address}
        ray.init(log_to_driver=False, logging_level="ERROR", **where)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OSError(f"--ray {address}: cannot reach the cluster: {str(error).strip().splitlines()[0]}") from error
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(analyse)
        left = {task.remote(config.model_dump(mode="json"), name, str(out)): name for name in names}
        done = []
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            shown = progress.add_task("inputs", total=len(left))
            while left:
                [ready], _ = ray.wait(list(left), num_returns=1)
                done.append(collect(ray, ready, left.pop(ready)))
                progress.advance(shown)
        return done
    finally:
        ray.shutdown()


def check_reach(address: str) -> None:
    """Raise OSError where nothing listens at a cluster's host:port; Ray itself would go on trying for ever."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_TIMEOUT).close()
        except (OSError, OverflowError) as error:
            raise OSError(f"--ray {address}: cannot reach the cluster: {error}") from error


def collect(ray: Any, ready: Any, name: str) -> Done:
    """Take a task's result; a task that Ray gave up is a failed input, not the end of the others."""
    try:
        return Done(*ray.get(ready))
    except ray.exceptions.RayError as error:
        return Done(name, error=f"{name}: the task failed: {str(error).strip().splitlines()[-1]}")


def analyse(values: dict[str, Any], name: str, out: str) -> tuple[str, int, str]:
    """Analyse one input on a worker and put its records in place; return what `Done` holds."""
    prepare_opencv()
    place = place_of(Path(out), name)
    work = Path(out) / f"{UNFINISHED}{uuid.uuid4().hex}"
    work.mkdir()
    try:
        code = run(Config.model_validate(values), [name], Outputs(log=work / LOG))
        rows = convert(work / LOG, work / "faces.parquet", "face")
        convert(work / LOG, work / "frames.parquet", "frame")
        if place.exists():  # of an earlier version of input, models or configuration, or of another attempt
            shutil.rmtree(place)
        work.rename(place)
        return name, rows, f"{name}: could not be read to its end: see {place / LOG}" if code else ""
    except (ValueError, OSError, ImportError) as error:
        return name, 0, str(error)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_done(config: Config, name: str, place: Path) -> bool:
    """Tell whether the records of this input, by these models and this configuration, are in place."""
    try:
        made = read_manifest(manifest_path(place / LOG))
    except (OSError, ValueError):
        return False
    now = describe(made.run, config, [name], [open_source(name)], place / LOG)
    same = (now.inputs, now.config, now.models) == (made.inputs, made.config, made.models)
    return same and (place / "faces.parquet").is_file()


def absolute(name: str) -> str:
    """Return a path that holds on every node; patterns stay patterns."""
    return name if "://" in name else str(Path(name).absolute())


def place_of(out: Path, name: str) -> Path:
    """Return the folder of an input's records: a Hive partition, readable and unique."""
    label = re.sub(r"[^\w.-]+", "-", Path(name).name).strip("-.") or "input"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return out / f"input={label}-{digest}"
