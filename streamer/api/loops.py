"""What may be watched, and how: sources on the threads of a pipeline, own arrays in the thread of the caller."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard

import numpy as np

from engines.errors import UserError
from streamer.api.pictures import as_bgr_array
from streamer.build import Stages
from streamer.config import SourceConfig
from streamer.sources import Source, open_source, unique_names
from streamer.types import Frame, Result

Name = str | int | os.PathLike[str] | Source
"""A source: what `streamer run` takes (a number is a webcam), or an object that gives frames itself."""
Loop = Callable[[Stages], Iterator[Result]]
"""Give the results of one loop, by the stages that it is given."""

FPS = 25.0  # of own arrays


def loop_over(
    given: Any, config: SourceConfig, ending: threading.Event, *, fps: float | None = FPS, rgb: bool = False
) -> Loop:
    """Return the loop over a source, over several, or over own arrays, which ends when `ending` is set.

    Raises UserError for what is none of these, and SourceError where nothing can be read, as far as that is known.
    """
    named = _named(given)
    if named is None:
        if fps is not None and not 0 < fps < float("inf"):
            raise UserError(f"fps: expected arrays a second, above 0, or None, found {fps}")
        return partial(_through, _frames(given, fps, rgb), ending)
    sources = [one if _is_source(one) else open_source(one, **config.model_dump()) for one in named]
    for one, name in zip(sources, unique_names(one.name for one in sources), strict=True):
        if one.name != name:
            one.name = name
    return partial(_run, sources, ending)


def _run(sources: Sequence[Source], ending: threading.Event, stages: Stages) -> Iterator[Result]:
    """Watch sources on the threads of a pipeline."""

    def look() -> None:
        if ending.is_set():
            pipeline.stop()

    pipeline = stages.pipeline(sources, on_poll=look)
    with pipeline as results:
        yield from results


def _through(frames: Iterator[Frame], ending: threading.Event, stages: Stages) -> Iterator[Result]:
    """Analyse own frames in the caller's thread, which may be the only one that can make them."""
    for frame in frames:
        yield from stages.finish(stages.perceive([frame]))
        if ending.is_set():
            return


def _frames(arrays: Iterable[Any], fps: float | None, rgb: bool) -> Iterator[Frame]:
    start: float | None = None
    for index, array in enumerate(arrays):
        now = time.monotonic()
        start = now if start is None else start
        at = now - start if fps is None else index / fps
        yield Frame(as_bgr_array(array, rgb=rgb), "arrays", index, at, now)


def _named(given: Any) -> list[Any] | None:
    """Return the sources that are named, None where it is own arrays. Raises UserError for what is neither."""
    if _is_name(given):
        return [given]
    if isinstance(given, np.ndarray) and given.ndim != 4:
        raise UserError(f"expected arrays one after another, found one {given.shape}: analyze takes a single picture")
    if not isinstance(given, Iterable) or isinstance(given, bytes | bytearray | memoryview | Mapping):
        expected = "a path, a URL, the number of a webcam, several of them, or arrays one after another"
        raise UserError(f"expected {expected}, found {type(given).__name__}")
    if not isinstance(given, Sequence):
        return None
    if not given:
        raise UserError("expected a source or several, or own arrays, found an empty list")
    return list(given) if all(map(_is_name, given)) else None


def _is_name(given: Any) -> bool:
    return isinstance(given, str | int | np.integer | os.PathLike) or _is_source(given)


def _is_source(given: Any) -> TypeGuard[Source]:
    return callable(getattr(given, "frames", None)) and isinstance(getattr(given, "name", None), str)
