"""The express stage: pick the region that can be seen, crop, classify all faces of a tick as one batch, smooth.

Called by one thread, which owns the engine and what is known of every track.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from engines import Engine
from streamer.emotions import UNCERTAIN
from streamer.explain.maps import Explainer
from streamer.faces.visibility import VisibilitySettings, VisibleRegion
from streamer.stages.answers import answered, weights
from streamer.stages.ask import Answer, Due, Question, ask, by_frame, most_urgent
from streamer.stages.smoothing import ExpressionSettings, Smoother
from streamer.types import Expression, Face, Frame, Result, Step

DEFAULT = VisibilitySettings()
FORGET_AFTER = 2.0  # seconds of stream time without the track


@dataclass
class _Track:
    """Hold what is known of one track: its answers, what can be seen of it, and the region that is judged."""

    smoother: Smoother
    visible: VisibleRegion
    view: str
    seen_at: float = -math.inf

    @property
    def answered_at(self) -> float:
        """Return when an answer was given to the region that is seen now; another region asks for a new one."""
        return self.smoother.classified_at if self.view == self.smoother.region else -math.inf


class Expresser:
    """Complete results with what the faces express, and with `explainer` where the network looked.

    engine: judges whole faces, or the one region of its spec. regions: a network of several regions with the same
    labels, for partly hidden faces; without it, `engine` judges those regions that its own spec names. judges: the
    network that answers for each region.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ExpressionSettings,
        explainer: Explainer | None = None,
        visibility: VisibilitySettings = DEFAULT,
        regions: Engine | None = None,
    ) -> None:
        self.engine = engine
        self.judges: dict[str, Engine] = {region: regions for region in regions.spec.views} if regions else {}
        self.judges |= {region: engine for region in (engine.spec.crop.region, *engine.spec.views)}
        self.settings = settings
        self.explainer = explainer
        self.visibility = visibility
        self.check(settings)
        self._tracks: dict[str, dict[int, _Track]] = {}
        self._tuned: dict[str, ExpressionSettings] = {}

    def __call__(self, results: list[Result]) -> list[Result]:
        """Classify the faces that are due, one batch a network, then attach every face's smoothed expression."""
        due = self._due(results)
        for engine in dict.fromkeys(self.judges.values()):
            self._classify(engine, due)
        attached = [self._attach(result) for result in results]
        return self.explainer(attached) if self.explainer else attached

    def check(self, settings: ExpressionSettings) -> None:
        """Raise UserError where a network does not know labels, or no prior, that the settings name."""
        for engine in self.judges.values():
            weights(engine.spec, settings)

    def _classify(self, engine: Engine, due: Sequence[tuple[Frame, list[Face]]]) -> None:
        """Ask a network about all faces that are due and that it judges."""
        asked = []
        for frame, faces in due:
            views = {face.track_id: self._tracks[frame.stream][face.track_id].view for face in faces}
            if own := [face for face in faces if self.judges[views[face.track_id]] is engine]:
                asked.append(Question(frame, own, [views[face.track_id] for face in own]))
        for answer in ask(engine, asked):
            self._take_in(answer)

    def tune(self, stream: str, settings: ExpressionSettings) -> None:
        """Smooth one stream in its own way from its next frame on; may be called by any thread."""
        self._tuned[stream] = settings

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream that has ended; its name may come again."""
        self._tracks.pop(stream, None)
        if self.explainer:
            self.explainer.forget(stream)

    def _take_in(self, answer: Answer) -> None:
        frame, faces, views = answer.question
        answers = answered(answer.outputs["probabilities"], views, answer.spec, self._settings(frame.stream))
        for face, view, probabilities in zip(faces, views, answers, strict=True):
            self._tracks[frame.stream][face.track_id].smoother.update(probabilities, frame.time, view)
        if self.explainer:
            self.explainer.note(answer)

    def _look(self, frame: Frame, face: Face) -> bool:
        """Choose the region of a face to judge now; return whether there is one."""
        tracks = self._tracks[frame.stream]
        track = tracks.get(face.track_id) or tracks.setdefault(face.track_id, self._new_track())
        track.seen_at = frame.time
        before, now = track.smoother.settings, self._settings(frame.stream)  # may change while it is in view
        if (before.labels, before.prior) != (now.labels, now.prior):
            track.smoother = Smoother(now)  # what was averaged answered for others
        track.smoother.settings = now
        if not (self.settings.routing and len(self.judges) > 1):
            track.view = self.engine.spec.crop.region
            return track.view == "face" or face.landmarks is not None
        region = track.visible.update(face.visibility, face.usable)
        if region is None or region not in self.judges:
            track.smoother.lose_sight(frame.time)
            return False
        track.view = region
        return True

    def _settings(self, stream: str) -> ExpressionSettings:
        return self._tuned.get(stream, self.settings)

    def _new_track(self) -> _Track:
        return _Track(Smoother(self.settings), VisibleRegion(self.visibility), self.engine.spec.crop.region)

    def _due(self, results: Sequence[Result]) -> list[tuple[Frame, list[Face]]]:
        """Pick the faces whose answer is too old, by frame; on live streams only as many as a tick can bear."""
        found: list[Due] = []
        for result in results:
            frame = result.frame
            tracks = self._tracks.setdefault(frame.stream, {})
            for face in result.faces:
                if self._look(frame, face):
                    track = tracks[face.track_id]
                    sparing = result.shed >= Step.CLASSIFICATIONS and track.smoother.stable(track.answered_at)
                    if frame.time - track.answered_at >= self.settings.interval * (2 if sparing else 1) - 1e-6:
                        found.append(Due(frame.time - track.answered_at, frame, face))
            for track_id in [i for i, one in tracks.items() if frame.time - one.seen_at > FORGET_AFTER]:
                del tracks[track_id]
        chosen, _ = most_urgent(found, self.settings.most)
        return by_frame(chosen, results)

    def _attach(self, result: Result) -> Result:
        tracks = self._tracks[result.frame.stream]
        faces = tuple(replace(face, expression=self._express(tracks[face.track_id].smoother)) for face in result.faces)
        return replace(result, faces=faces)

    def _express(self, smoother: Smoother) -> Expression | None:
        if smoother.region is None:
            return None
        labels, may = self.engine.spec.labels, weights(self.engine.spec, smoother.settings) > 0
        values = smoother.probabilities
        if values is None:
            values = may / may.sum()
        leader = int(values.argmax())
        return Expression(
            label=labels[leader] if smoother.shown >= 0 else UNCERTAIN,
            confidence=float(values[leader]),
            probabilities={labels[row]: float(values[row]) for row in np.flatnonzero(may)},
            region=smoother.region,
            reliability=self._reliability(smoother, labels[leader]),
            stable=smoother.stable(smoother.classified_at),
            time=smoother.classified_at,
        )

    def _reliability(self, smoother: Smoother, label: str) -> float | None:
        region = smoother.region
        if smoother.probabilities is None or region is None or not smoother.settings.as_measured:
            return None
        return self.judges[region].spec.view(region).reliability.get(label)
