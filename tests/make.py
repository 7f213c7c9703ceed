"""What many tests need, made small: faces and what is said of them, landmarks, stages and pipelines of functions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.pipeline import Pipeline
from streamer.sources import Source
from streamer.types import Expression, Face, Frame, Result, Step
from tests.conftest import LABELS, picture

SAMPLE = Path(__file__).parents[1] / "docs" / "sample" / "sample.mp4"
BOX = (8.0, 8.0, 40.0, 40.0)


def expression(label: str = "happiness", confidence: float = 0.9, **changes: Any) -> Expression:
    """Say one label with a confidence; the others share the rest."""
    rest = (1 - confidence) / (len(LABELS) - 1)
    probabilities = {name: confidence if name == label else rest for name in LABELS}
    return replace(Expression(label, confidence, probabilities, "face", None, True, 0.0), **changes)


def face(box: Sequence[float] = BOX, track_id: int = 1, **changes: Any) -> Face:
    """Return a happy face."""
    plain = Face(track_id, np.array(box, np.float32), 0.9, 0.0, expression=expression())
    return replace(plain, **changes)


def result(
    index: int = 0,
    *faces: Face,
    stream: str = "cam",
    time: float | None = None,
    image: NDArray[np.uint8] | None = None,
    live: bool = False,
) -> Result:
    """Return a frame of a stream of 25 frames a second with its faces."""
    at = index / 25 if time is None else time
    return Result(Frame(picture() if image is None else image, stream, index, at, 100 + index / 25, live), faces)


def streamer(*arguments: object, **changes: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "streamer", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **changes)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    command = [sys.executable, "-m", "streamer", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


# A face of 68 points in shares of its box.
JAW = np.stack([0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 17)), 0.3 + 0.7 * np.sin(np.linspace(0, np.pi, 17))], axis=1)


def points_of_face(side: float, left: float = 0.0, top: float = 0.0) -> NDArray[np.float32]:
    """Return the landmarks of a face that looks ahead, in a box of a side."""

    def row(x0: float, x1: float, y: float, count: int) -> NDArray[np.float64]:
        return np.stack([np.linspace(x0, x1, count), np.full(count, y)], axis=1)

    def ring(x: float, y: float, wide: float, high: float, count: int) -> NDArray[np.float64]:
        turns = np.pi + np.linspace(0, 2 * np.pi, count, endpoint=False)
        return np.stack([x + wide * np.cos(turns), y + high * np.sin(turns)], axis=1)

    nose = np.stack([np.full(4, 0.5), np.linspace(0.32, 0.52, 4)], axis=1)
    parts = (
        *(JAW, row(0.15, 0.4, 0.2, 5), row(0.6, 0.85, 0.2, 5), nose, row(0.4, 0.6, 0.58, 5)),
        *(ring(0.3, 0.32, 0.1, 0.04, 6), ring(0.7, 0.32, 0.1, 0.04, 6)),
        *(ring(0.5, 0.76, 0.2, 0.08, 12), ring(0.5, 0.76, 0.12, 0.03, 8)),
    )
    return (np.concatenate(parts) * side + (left, top)).astype(np.float32)


def nothing_seen(frames: list[Frame]) -> list[Result]:
    """Find no face in any frame."""
    return [Result(frame, ()) for frame in frames]


class Plain:
    """Make a stage of a function; `gone` holds the streams that it was told to forget."""

    def __init__(self, function: Callable[[list[Any]], list[Result]] = list) -> None:
        self.function = function
        self.gone: list[str] = []

    def __call__(self, items: list[Any], step: Step = Step.NONE) -> list[Result]:
        return self.function(items)

    def forget(self, stream: str) -> None:
        self.gone.append(stream)


def pipeline(
    *sources: Source,
    perceive: Callable[[list[Frame]], list[Result]] = nothing_seen,
    express: Callable[[list[Result]], list[Result]] = list,
    **changes: Any,
) -> Pipeline:
    """Return a pipeline whose stages are functions."""
    return Pipeline(sources, Plain(perceive), Plain(express), **changes)
