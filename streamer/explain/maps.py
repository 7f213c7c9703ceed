"""Where a network looked: activation maps (CAM) and attention, kept per track (`drawing.heat` lays them over pictures).

`Explainer` is called by the express stage's thread; the rest are functions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engines import Engine, EngineSpec
from engines.errors import UserError
from streamer.faces.regions import seen_boxes
from streamer.stages.ask import Answer, Due, Question, ask, by_frame, most_urgent
from streamer.types import Face, Frame, Heat, Result, Step

MapName = Literal["cam", "attention"]


@dataclass(frozen=True)
class MapSettings:
    """Choose the map that is laid over faces.

    name: 'cam' (Zhou et al. 2016) or 'attention' (Sun et al. 2018). label: whose CAM, the shown label's unless said.
    interval: seconds of stream time after which a network of its own is asked again for a face. budget: on live
    streams, seconds after capture in which a map must be there; later ones are left out.
    """

    name: MapName = "cam"
    label: str | None = None
    interval: float = 0.05
    budget: float = 0.08

    def __post_init__(self) -> None:
        if self.interval < 0 or self.budget <= 0:
            raise ValueError(f"expected interval >= 0 and budget > 0, found {self}")


@dataclass(frozen=True, eq=False)
class _Look:
    """Hold the map(s) that a face was last answered with.

    where: crop in shares of the face box, from its corner. roll: of the face as it was answered.
    """

    maps: NDArray[np.float32]
    labels: tuple[str, ...]
    where: NDArray[np.float32]
    roll: float
    time: float


class Explainer:
    """Add to results where the network looked: maps of the classification itself, or of a network only for that.

    engine: a network whose maps are shown instead of the classifier's; it belongs to the calling thread.
    """

    def __init__(self, settings: MapSettings, engine: Engine | None = None) -> None:
        self.settings = settings
        self.engine = engine
        self._looks: dict[str, dict[int, _Look]] = {}
        self._pace = 0.0  # seconds a face of the own network, smoothed

    def note(self, answer: Answer) -> None:
        """Remember where the classifying network looked, unless a network of its own is asked for that."""
        if self.engine is None:
            self._remember(answer)

    def __call__(self, results: Sequence[Result]) -> list[Result]:
        """Attach each face's map; on live streams only as many as the time budget allows, the oldest first."""
        for result in results:
            known = self._looks.get(result.frame.stream, {})
            self._looks[result.frame.stream] = {
                face.track_id: known[face.track_id] for face in result.faces if face.track_id in known
            }
        left = {result.frame.stream: self._left(result) for result in results}
        timely = [result for result in results if left[result.frame.stream] > 0]
        if self.engine and timely:
            self._ask(self.engine, timely, min(left[result.frame.stream] for result in timely))
        return [self._attach(result) if left[result.frame.stream] > 0 else result for result in results]

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream that has ended."""
        self._looks.pop(stream, None)

    def _left(self, result: Result) -> float:
        """Return how many seconds of the budget are left for a frame."""
        frame = result.frame
        if result.shed >= Step.MAPS:
            return 0.0
        return self.settings.budget - (time.monotonic() - frame.captured_at) if frame.live else np.inf

    def _ask(self, engine: Engine, results: Sequence[Result], left: float) -> None:
        """Let the own network look at the faces that are due, as one batch."""
        due = self._due(results, left)
        if not due:
            return
        started = time.monotonic()
        questions = [Question(frame, faces, [engine.spec.crop.region] * len(faces)) for frame, faces in due]
        for answer in ask(engine, questions):
            self._remember(answer)
        pace = (time.monotonic() - started) / sum(len(faces) for _, faces in due)
        self._pace = 0.8 * self._pace + 0.2 * pace if self._pace else pace

    def _due(self, results: Sequence[Result], left: float) -> list[tuple[Frame, list[Face]]]:
        """Pick the faces whose map is too old, by frame; live ones that there is no time for lose theirs."""
        found: list[Due] = []
        for frame, face in ((result.frame, face) for result in results for face in result.faces):
            look = self._looks[frame.stream].get(face.track_id)
            age = frame.time - look.time if look else np.inf
            if age >= self.settings.interval - 1e-6:
                found.append(Due(age, frame, face))
        bearable = int(left / self._pace) if self._pace and np.isfinite(left) else len(found)
        chosen, waiting = most_urgent(found, bearable)
        for one in waiting:  # an old map would show another moment
            self._looks[one.frame.stream].pop(one.face.track_id, None)
        return by_frame(chosen, results)

    def _remember(self, answer: Answer) -> None:
        (frame, faces, views), spec = answer.question, answer.spec
        looks = self._looks.setdefault(frame.stream, {})
        if self.settings.name not in answer.outputs:  # a map of another network does not explain this answer
            for face in faces:
                looks.pop(face.track_id, None)
            return
        maps = answer.outputs[self.settings.name]
        for face, own, seen in zip(faces, maps, seen_boxes(faces, spec, views), strict=True):
            corner, side = face.box[:2], face.box[2:] - face.box[:2]
            where = (seen - np.tile(corner, 2)) / np.tile(np.maximum(side, 1e-3), 2)
            looks[face.track_id] = _Look(own, spec.labels, where, face.roll, frame.time)

    def _attach(self, result: Result) -> Result:
        looks = self._looks[result.frame.stream]
        faces = [replace(face, heat=self._heat(face, looks.get(face.track_id))) for face in result.faces]
        return replace(result, faces=tuple(faces))

    def _heat(self, face: Face, look: _Look | None) -> Heat | None:
        if look is None or face.expression is None or not face.expression.judged:
            return None
        corner, side = face.box[:2], face.box[2:] - face.box[:2]
        box = np.tile(corner, 2) + look.where * np.tile(side, 2)
        if self.settings.name == "attention":
            return Heat(look.maps, box, None, look.roll)
        shown = face.expression.probabilities
        label = self.settings.label or max(shown, key=lambda name: shown[name])
        if label not in look.labels:
            return None
        return Heat(look.maps[look.labels.index(label)], box, label, look.roll)


def check_maps(settings: MapSettings, spec: EngineSpec) -> None:
    """Raise UserError where a network does not give the map that was asked for, or does not know the label."""
    if settings.name not in spec.outputs:
        raise UserError(
            f"overlay.map: '{spec.name}' gives {', '.join(spec.outputs)}, no '{settings.name}': "
            "name a network that does by overlay.model"
        )
    if settings.label is not None and settings.label not in spec.labels:
        raise UserError(f"overlay.label '{settings.label}': expected one of {', '.join(spec.labels)}")
