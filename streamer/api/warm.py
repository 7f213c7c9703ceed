"""Analyse and watch in one line: `analyze` keeps its models for the next call, `watch` opens its own for each loop."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from streamer.api.analyzer import (
    PICTURES,
    STREAMS,
    Analyzer,
    one_kind_of_error,
    one_or_several,
    read_settings,
)
from streamer.api.faces import Faces
from streamer.api.loops import FPS, Name
from streamer.api.pictures import Picture
from streamer.api.results import Results
from streamer.config import Config, preset

ConfigName = str | os.PathLike[str] | Config

MOST = 4  # configurations whose models are kept: about 200 MB each

_lock = threading.RLock()
_analyzers: dict[tuple[object, ...], Analyzer] = {}  # the one used last at the end


@overload
def analyze(  # type: ignore[overload-overlap]  # a text is an iterable too, but one picture
    picture: Picture, *, config: ConfigName = PICTURES, overrides: Sequence[str] = (), rgb: bool = False
) -> Faces: ...


@overload
def analyze(
    picture: Iterable[Picture], *, config: ConfigName = PICTURES, overrides: Sequence[str] = (), rgb: bool = False
) -> list[Faces]: ...


def analyze(
    picture: Picture | Iterable[Picture],
    *,
    config: ConfigName = PICTURES,
    overrides: Sequence[str] = (),
    rgb: bool = False,
) -> Faces | list[Faces]:
    """Find and classify the faces of a picture, or of several: see `Analyzer.analyze`.

    config: a preset's name, a YAML file or a `Config`; overrides: single changes, as `--set` takes them. The models of
    the configurations used last stay open for the next call, until `close`. Any thread may call; calls take turns.
    Raises UserError with one line.
    """

    def look(one: Picture, keep: bool) -> Faces:
        with _lock:
            return _warm(config, overrides)._analyze(one, rgb, keep=keep)

    return one_or_several(picture, look)


def watch(
    source: Name | Sequence[Name] | Iterable[NDArray[np.uint8]],
    *,
    config: ConfigName = STREAMS,
    overrides: Sequence[str] = (),
    fps: float | None = FPS,
    rgb: bool = False,
) -> Results:
    """Follow the faces of a source, of several, or of own arrays: see `Analyzer.watch`.

    config, overrides: see `analyze`. Each loop opens models of its own with its first result and frees them at its end,
    so that any number may run, each in one thread; `Analyzer` keeps them for the next. Raises UserError with one line.
    """
    return Analyzer(config, overrides=overrides)._watch(source, fps, rgb, alone=True)


def close() -> None:
    """Free the models that `analyze` keeps open; the next call opens them again."""
    with _lock:
        while _analyzers:
            _analyzers.popitem()[1].close()


def _warm(config: ConfigName, overrides: Sequence[str]) -> Analyzer:
    """Return the analyzer of a configuration; of more than `MOST` the one that was used longest ago is closed."""
    key = (*_identity(config), *([overrides] if isinstance(overrides, str) else overrides))
    analyzer = _analyzers.pop(key, None) or Analyzer(read_settings(config, overrides))
    _analyzers[key] = analyzer
    while len(_analyzers) > MOST:
        _analyzers.pop(next(iter(_analyzers))).close()
    return analyzer


def _identity(config: ConfigName) -> tuple[object, ...]:
    """Tell configurations apart without reading them: a file that was written again is another one."""
    if isinstance(config, str | os.PathLike):
        with one_kind_of_error():
            path = preset(os.fspath(config)).resolve()
            return str(path), path.stat().st_mtime_ns
    return (config.model_dump_json() if isinstance(config, Config) else config,)


atexit.register(close)
