"""Which form of a model serves on this processor: measured once, then remembered.

A model `NAME.onnx` may have a quantised form beside it, `NAME.int8.onnx`, at most 0.3 points less accurate (`python -m
train export` enforces that). Which form and which arithmetic is fastest depends on the processor.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engines.errors import Unbuildable, UserError
from engines.manifest import listed_sha256, sha256_of

if TYPE_CHECKING:
    from engines import Engine

log = logging.getLogger(__name__)

BATCH = 8
ROUNDS = 4
GAIN = 1.1  # how many times as fast another precision must be to replace a finer one: noise must not decide
FREE_SIZE = (384, 640)  # pixels; height and width where the network takes any

Open = Callable[[], "Engine"]


def int8_name(path: Path) -> Path:
    """Return the path of a model's quantised form."""
    return path.with_suffix(f".int8{path.suffix}")


def files_of(path: Path, precision: str, fast: Sequence[str], *, pinned: bool) -> dict[str, Path]:
    """Return the files that may serve a model by their precision, in order of preference.

    fast: what the backend computes fast, int8 from the quantised form. pinned: only `path` itself may serve.
    Raises UserError where int8 is asked for and there is no quantised form.
    """
    form = int8_name(path)
    quantised = path if path.suffixes[-2:-1] == [".int8"] else form if listed_sha256(form) else None
    if precision == "int8":
        if quantised is None:
            raise UserError(f"{path}: precision 'int8' needs {form.name} beside it; `python -m train export` writes it")
        return {"int8": quantised}
    if precision != "auto":
        return {precision: path}
    if quantised == path:
        return {"int8": path}
    found = {one: quantised if one == "int8" else path for one in fast}
    return {one: file for one, file in found.items() if file and (file == path or not pinned)}


def fastest(options: Mapping[str, Open], key: str, remembered: Path | None) -> Engine:
    """Open the fastest option here: the one that the file `remembered` holds for `key`, else by measuring all.

    options: in order of preference, by precision; all but one are closed again. Raises Unbuildable where none can be
    opened.
    """
    if len(options) == 1:
        return next(iter(options.values()))()
    known = _read(remembered)
    if known.get(key) in options:
        return options[known[key]]()
    engines: dict[str, Engine] = {}
    try:
        for precision, open_engine in options.items():
            try:
                engines[precision] = open_engine()
            except Unbuildable as error:
                log.warning("not in %s: %s", precision, error)
        if not engines:
            raise Unbuildable(f"none of {', '.join(options)} can be opened")
        times = _measure(engines)
        chosen = next(iter(times))
        for precision, seconds in times.items():
            chosen = precision if seconds * GAIN < times[chosen] else chosen
        best = engines.pop(chosen)
    finally:
        for engine in engines.values():
            engine.close()
    measured = ", ".join(f"{precision} {1000 * seconds:.2f} ms" for precision, seconds in times.items())
    log.info("measured on this processor: %s; %s serves", measured, chosen)
    if remembered:
        _write(remembered, {**known, key: chosen})
    return best


def key_of(files: Sequence[Path], device: str) -> str:
    """Return the cache key of a measurement: these weights on this device."""
    return " ".join([*(sha256_of(file)[:16] for file in dict.fromkeys(files)), device])


def usable(cache: Path | None) -> Path | None:
    """Create the cache folder; return None where it is not writable: starts are then slower, nothing else changes."""
    if cache is None:
        return None
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("%s: no cache for compiled models: %s", cache, error.strerror)
        return None
    if os.access(cache, os.W_OK):
        return cache
    log.warning("%s: no cache for compiled models: cannot be written to", cache)
    return None


def _measure(engines: Mapping[str, Engine]) -> dict[str, float]:
    """Return the shortest time of a batch in seconds, by precision; in turns, so that other load meets all alike."""
    times = dict.fromkeys(engines, float("inf"))
    for _ in range(ROUNDS):
        for precision, engine in engines.items():
            spec = engine.spec
            free = spec.height is None or spec.width is None
            height, width = spec.height or FREE_SIZE[0], spec.width or FREE_SIZE[1]
            batch = np.zeros((1 if free else BATCH, height, width, spec.channels), np.uint8)
            started = time.perf_counter()
            engine.infer(batch)
            times[precision] = min(times[precision], time.perf_counter() - started)
    return times


def _read(path: Path | None) -> dict[str, str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
    except (OSError, ValueError) as error:
        log.warning("%s: not readable, measured anew: %s", path, error)
        return {}
    return values if isinstance(values, dict) else {}


def _write(path: Path, values: Mapping[str, str]) -> None:
    """Replace the file atomically."""
    try:
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        log.warning("%s: cannot be written, so the next start measures again: %s", path, error.strerror)
