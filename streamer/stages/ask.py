"""Ask a network about the faces of several frames at once: cut them out, run one batch, give each frame its answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engines import Engine, EngineSpec, Outputs
from streamer.faces.regions import crops_of
from streamer.types import Face, Frame


class Question(NamedTuple):
    """Hold N faces of a frame, and for each the name of the region that a network is to be shown."""

    frame: Frame
    faces: Sequence[Face]
    views: Sequence[str]


class Answer(NamedTuple):
    """Hold what the network of a spec answered to a question; outputs have N first."""

    question: Question
    spec: EngineSpec
    outputs: Outputs


def ask(engine: Engine, questions: Sequence[Question]) -> list[Answer]:
    """Answer questions as one batch."""
    if not questions:
        return []
    cut = [crops_of(frame.image, faces, engine.spec, views) for frame, faces, views in questions]
    outputs, answers, start = engine.infer(np.concatenate(cut)), [], 0
    for question in questions:
        rows = slice(start, start + len(question.faces))
        answers.append(Answer(question, engine.spec, {name: value[rows] for name, value in outputs.items()}))
        start = rows.stop
    return answers
