"""Ask a network about the faces of several frames at once: those that are due, cut out, as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines import Engine, EngineSpec, Outputs
from engines.finite import Finite
from streamer.faces.regions import crops_of
from streamer.types import Face, Frame, Result


class Due(NamedTuple):
    """Hold a face whose last answer is too old, by so many seconds of stream time."""

    age: float
    frame: Frame
    face: Face


class Question(NamedTuple):
    """Hold N faces of a frame, and for each the name of the region that a network is to be shown."""

    frame: Frame
    faces: Sequence[Face]
    views: Sequence[str]


class Answer(NamedTuple):
    """Hold what the network of a spec answered to a question; outputs have N first.

    silent: faces of the frame that it answered with no numbers; they are not in the question any more.
    """

    question: Question
    spec: EngineSpec
    outputs: Outputs
    silent: Sequence[Face] = ()


def most_urgent(due: Sequence[Due], most: int) -> tuple[list[Due], list[Due]]:
    """Divide faces into those to ask about now, and live ones that have to wait: the oldest answers go first.

    most: of live faces; those of offline sources never wait.
    """
    live = sorted((one for one in due if one.frame.live), key=lambda one: -one.age)
    return live[:most] + [one for one in due if not one.frame.live], live[most:]


def by_frame(due: Sequence[Due], results: Sequence[Result]) -> list[tuple[Frame, list[Face]]]:
    """Group faces by the frames of the results, in the order of these; frames without one are left out."""
    frames = [result.frame for result in results]
    return [(frame, faces) for frame in frames if (faces := [one.face for one in due if one.frame is frame])]


def ask(engine: Engine, questions: Sequence[Question], finite: Finite) -> list[Answer]:
    """Answer questions as one batch; finite: counts the answers that are no numbers."""
    if not questions:
        return []
    spec = engine.spec
    cut = [crops_of(frame.image, faces, spec, views) for frame, faces, views in questions]
    outputs, answers, start = engine.infer(np.concatenate(cut)), [], 0
    sound = finite(spec.name, outputs.values())
    for question in questions:
        rows = np.arange(start, start := start + len(question.faces))
        kept = rows[sound[rows]]
        own = {name: value[kept] for name, value in outputs.items()}
        silent = [face for face, row in zip(question.faces, rows, strict=True) if not sound[row]]
        answers.append(Answer(_only(question, sound[rows]), spec, own, silent))
    return answers


def _only(question: Question, kept: NDArray[np.bool_]) -> Question:
    """Return the question about those of its faces that are kept."""
    return Question(question.frame, list(compress(question.faces, kept)), list(compress(question.views, kept)))
