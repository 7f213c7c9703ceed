"""`streamer batch`: many files over a Ray cluster, one task an input, Parquet out; resumable.

    out/runs/input=NAME-HASH/{log.jsonl, log.manifest.json, faces.parquet, frames.parquet}
    out/faces/input=NAME-HASH/faces.parquet, out/frames/...: the same tables, for all inputs one data set each

A task works in a folder of its own and renames it when all is in it, so there is one whole set of records an input or
none, however often a worker or a node dies and the task is started again. All nodes must see inputs and `out` under the
same paths.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from engines.errors import MissingPackage, UserError
from streamer.commands.run import run
from streamer.config import Config
from streamer.records.reading import read_log
from streamer.records.run_manifest import describe, manifest_path, read_manifest
from streamer.records.tables import Rows, convert
from streamer.sinks.outputs import Outputs
from streamer.sources import State, open_source, prepare_opencv
from streamer.sources.source import printable

LOG = "log.jsonl"
PROBLEM = "problem.txt"  # of a damaged input: its records are those of what could be read
UNFINISHED = ".unfinished-"
RUNS = "runs"  # folder of `out` that holds a folder an input
# Each is a data set of its own: readers of a folder take every file in it for a part.
TABLES: tuple[Rows, ...] = ("face", "frame")
REACH_TIMEOUT = 5.0  # s
ATTEMPTS = 4  # of an input: it may be the cause of its worker's death
LONGEST_SILENCE = 24 * 3600  # s; a folder in which nothing was written for so long belongs to no running batch


class Interrupted(Exception):
    """Tell that a signal ended a task, as when its node is shut down: it has to be started again."""


def batch(config: Config, names: Sequence[str], out: Path, address: str) -> int:
    """Analyse every input that is not done yet; return the exit code, 1 where some failed, now or before.

    address: of a Ray cluster, or 'local' for one on this machine.
    Raises UserError for live inputs, OSError for unusable inputs, outputs or clusters, MissingPackage without Ray.
    """
    inputs = [absolute(name) for name in dict.fromkeys(names)]
    for name in inputs:
        if open_source(name).live or "://" in name:
            raise UserError(f"{name}: expected files, which can be read again where a node dies, found a stream")
    out = out.absolute()
    try:
        (out / RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"--out {out}: cannot be made: {error.strerror}") from error
    places = {name: place_of(out, name) for name in inputs}
    waiting = [name for name, place in places.items() if not is_done(config, name, place)]
    console = Console(stderr=True, highlight=False, markup=False)
    console.print(f"{len(inputs)} inputs, {len(inputs) - len(waiting)} done before")
    failures = [problem_of(places[name]) for name in inputs if name not in waiting]
    failures += spread(config, waiting, out, address, console) if waiting else []
    for failure in filter(None, failures):
        console.print(f"streamer: {failure}", style="yellow", soft_wrap=True)
    return int(any(failures))


def spread(config: Config, names: Sequence[str], out: Path, address: str, console: Console) -> list[str]:
    """Have the cluster analyse the inputs; return for each what was wrong, '' where nothing was."""
    try:
        ray: Any = import_module("ray")
    except ImportError as error:
        raise MissingPackage("batch needs Ray: pip install 'emotion-streamer[ray]'") from error
    check_reach(address)
    try:
        where = {"include_dashboard": False} if address == "local" else {"address": address}
        ray.init(log_to_driver=False, logging_level="ERROR", **where)
    except Exception as error:  # Ray raises just that where its own processes do not start in time
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OSError(f"--ray {address}: cannot reach the cluster: {reason}") from error
    own = f"{UNFINISHED}{uuid.uuid4().hex}-"  # other batches may write into the same folder
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        # Ray itself would retry a task that runs out of memory for ever.
        task, values = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=0)(analyse), config.model_dump(mode="json")

        def attempt(name: str) -> Any:
            return task.remote(values, name, str(place_of(out, name)), str(out / RUNS / f"{own}{uuid.uuid4().hex}"))

        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            return list(progress.track(work_off(ray, attempt, names), total=len(names), description="inputs"))
    finally:
        ray.shutdown()
        remove_unfinished(out / RUNS, own)


def work_off(ray: Any, attempt: Callable[[str], Any], names: Sequence[str]) -> Iterator[str]:
    """Yield what was wrong with each input, as they end; a task whose worker or node dies is tried again elsewhere.

    attempt: starts the task of an input and returns its reference. It must not be tried again by Ray.
    """
    left = {attempt(name): name for name in names}
    deaths: Counter[str] = Counter()
    while left:
        [ready], _ = ray.wait(list(left), num_returns=1)
        name = left.pop(ready)
        try:
            yield ray.get(ready)
        except ray.exceptions.RayError as error:
            if isinstance(error, ray.exceptions.RayTaskError) and not isinstance(error, Interrupted):
                yield f"{name}: the task failed: {str(error).strip().splitlines()[-1]}"
                continue
            deaths[name] += 1
            if deaths[name] < ATTEMPTS:
                left[attempt(name)] = name
            else:
                why = "interrupted" if isinstance(error, Interrupted) else str(error).strip().splitlines()[0]
                yield f"{name}: given up, as its worker was lost in all of {ATTEMPTS} attempts, at last: {why}"


def check_reach(address: str) -> None:
    """Raise OSError where nothing listens at a cluster's host:port; Ray itself would go on trying for ever."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), REACH_TIMEOUT).close()
        except (OSError, OverflowError) as error:
            raise OSError(f"--ray {address}: cannot reach the cluster: {error}") from error


def analyse(values: dict[str, Any], name: str, place: str, work: str) -> str:
    """Analyse one input on a worker, in a folder `work`, and put its records in place; return what was wrong with it.

    Raises Interrupted where a signal ended it: then nothing is put in place.
    """
    prepare_opencv()
    folder, target = Path(work), Path(place)
    try:
        folder.mkdir()
        code = run(Config.model_validate(values), [name], Outputs(log=folder / LOG))
        if code > 128:
            raise Interrupted(f"signal {code - 128}")
        if code and not is_damaged(folder / LOG):
            raise OSError(f"{name}: not all of its records could be written: is the disk full?")
        if code:
            problem = f"{printable(name)}: could not be read to its end: see {target / LOG}"
            (folder / PROBLEM).write_text(problem, encoding="utf-8")
        for rows in TABLES:
            convert(folder / LOG, folder / f"{rows}s.parquet", rows)
        if target.exists():  # of an earlier version of input, models or configuration, or of another attempt
            shutil.rmtree(target)
        folder.rename(target)
        for rows in TABLES:
            _put_in_data_set(target / f"{rows}s.parquet", part_of(target, rows))
        return problem_of(target)
    except (UserError, OSError) as error:
        return printable(str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def part_of(place: Path, rows: Rows) -> Path:
    """Return where an input's table lies in the data set of all inputs: a Hive partition."""
    return place.parents[1] / f"{rows}s" / place.name / f"{rows}s.parquet"


def _put_in_data_set(table: Path, part: Path) -> None:
    """Show a table in its data set too, whole or not at all; on disks without hard links as a copy."""
    part.parent.mkdir(parents=True, exist_ok=True)
    beside = table.with_suffix(".link")  # not in the data set, which would be read with it
    try:
        os.link(table, beside)
    except OSError:
        shutil.copy(table, beside)
    os.replace(beside, part)


def is_damaged(log: Path) -> bool:
    """Tell whether a log's input could not be read to its end."""
    return any(one["type"] == "source" and one["state"] == State.FAILED for one in read_log(log))


def problem_of(place: Path) -> str:
    """Return what was wrong with an input whose records are in place, '' where nothing was."""
    path = place / PROBLEM
    return path.read_text(encoding="utf-8") if path.exists() else ""


def remove_unfinished(out: Path, own: str) -> None:
    """Remove what tasks that died have left: those of this batch, whose folders begin with `own`, and old ones."""
    for path in out.glob(f"{UNFINISHED}*"):
        with suppress(OSError):  # it is gone, as its task has ended
            touched = max(one.stat().st_mtime for one in (path, *path.iterdir()))
            if path.name.startswith(own) or time.time() - touched > LONGEST_SILENCE:
                shutil.rmtree(path)


def is_done(config: Config, name: str, place: Path) -> bool:
    """Tell whether the records of this input, by these models and this configuration, are in place."""
    try:
        made = read_manifest(manifest_path(place / LOG))
    except (UserError, OSError):
        return False
    now = describe(made.run, config, [name], [open_source(name)], place / LOG)
    same = (now.inputs, now.config, now.models) == (made.inputs, made.config, made.models)
    return same and all(part_of(place, rows).is_file() for rows in TABLES)


def absolute(name: str) -> str:
    """Return a path that holds on every node; patterns stay patterns."""
    return name if "://" in name else str(Path(name).absolute())


def place_of(out: Path, name: str) -> Path:
    """Return the folder of an input's records: readable and unique."""
    label = re.sub(r"[^\w.-]+", "-", Path(name).name).strip("-.") or "input"
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return out / RUNS / f"input={label}-{digest}"
