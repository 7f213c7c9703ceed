"""The express stage: pick the region, crop, classify the faces of a tick as one batch, smooth per track.

Called by one thread, which owns the engine and all smoothers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines import Engine, Outputs
from streamer.explain.maps import Explainer
from streamer.faces.regions import crops_of
from streamer.types import Expression, Face, Frame, Result

UNCERTAIN = "uncertain"
FORGET_AFTER = 2.0  # seconds of stream time without the track
GRACE = 0.1  # a label that is shown may fall so far below the threshold


@dataclass(frozen=True)
class ExpressionSettings:
    """Set cadence, smoothing and thresholds; all times in seconds of stream time.

    interval: a face is classified again when its last answer is so old. most: faces classified a tick on live streams,
    those with the oldest answers first. smoothing: time constant of the moving average of probabilities. hold: how long
    another label must lead before it is shown. settle: how long a label must have been shown to be called stable.
    threshold: confidence below which a face is 'uncertain'.
    """

    interval: float = 0.05
    most: int = 16
    smoothing: float = 0.25
    hold: float = 0.2
    settle: float = 0.5
    threshold: float = 0.4

    def __post_init__(self) -> None:
        if min(self.interval, self.smoothing, self.hold, self.settle) < 0:
            raise ValueError(f"expected interval, smoothing, hold and settle >= 0, found {self}")
        if self.most < 1 or not 0 <= self.threshold <= 1:
            raise ValueError(f"expected most >= 1 and 0 <= threshold <= 1, found {self}")


class Smoother:
    """Turn the answers for one track into a label that does not flicker.

    Candidates are the labels, and -1 for none: where the leading probability is below the threshold. Another candidate
    is shown only after it has led for the holding time (hysteresis).
    """

    def __init__(self, settings: ExpressionSettings) -> None:
        self.settings = settings
        self.classified_at = -math.inf
        self.seen_at = -math.inf
        self.probabilities: NDArray[np.float64] | None = None
        self.shown = -1
        self._shown_since = 0.0
        self._rival = -1
        self._rival_since = 0.0

    def update(self, probabilities: NDArray[np.float32], time: float) -> None:
        """Take in an answer (C,) given for the picture at `time`, which must not lie before the last one."""
        fresh = probabilities.astype(np.float64)
        if self.probabilities is None:
            self.probabilities = fresh
            self.shown = self._rival = self._candidate()
            self._shown_since = time
        else:
            gap, smoothing = time - self.classified_at, self.settings.smoothing
            kept = math.exp(-gap / smoothing) if smoothing else 0.0
            self.probabilities = kept * self.probabilities + (1 - kept) * fresh
            self._follow(self._candidate(), time)
        self.classified_at = time

    def stable(self, time: float) -> bool:
        """Tell whether what is shown has settled."""
        return time - self._shown_since >= self.settings.settle

    def _candidate(self) -> int:
        assert self.probabilities is not None
        leader = int(self.probabilities.argmax())
        needed = self.settings.threshold - (GRACE if leader == self.shown else 0)
        return leader if self.probabilities[leader] >= needed else -1

    def _follow(self, candidate: int, time: float) -> None:
        if candidate == self.shown:
            self._rival = candidate
            return
        if candidate != self._rival:
            # It may have led since the last answer: pictures far apart must not wait for a second one.
            self._rival, self._rival_since = candidate, self.classified_at
        if time - self._rival_since >= self.settings.hold:
            self.shown, self._shown_since = candidate, time


class Expresser:
    """Complete results with what the faces express, and with `explainer` where the network looked."""

    def __init__(self, engine: Engine, settings: ExpressionSettings, explainer: Explainer | None = None) -> None:
        self.engine = engine
        self.settings = settings
        self.explainer = explainer
        self._smoothers: dict[str, dict[int, Smoother]] = {}

    def __call__(self, results: list[Result]) -> list[Result]:
        """Classify the faces that are due in one batch, then attach every face's smoothed expression."""
        due = self._due(results)
        if due:
            cut = [crops_of(frame.image, faces, self.engine.spec) for frame, faces in due]
            outputs, start = self.engine.infer(np.concatenate(cut)), 0
            for frame, faces in due:
                self._note(frame, faces, {name: rows[start : start + len(faces)] for name, rows in outputs.items()})
                start += len(faces)
        attached = [self._attach(result) for result in results]
        return self.explainer(attached) if self.explainer else attached

    def _note(self, frame: Frame, faces: Sequence[Face], outputs: Outputs) -> None:
        for face, probabilities in zip(faces, outputs["probabilities"], strict=True):
            self._smoothers[frame.stream][face.track_id].update(probabilities, frame.time)
        if self.explainer:
            self.explainer.note(frame, faces, self.engine.spec, outputs)

    def _can_see(self, face: Face) -> bool:
        return self.engine.spec.crop.region == "face" or face.landmarks is not None

    def _due(self, results: Sequence[Result]) -> list[tuple[Frame, list[Face]]]:
        """Pick the faces whose answer is too old, by frame; on live streams only as many as a tick can bear."""
        found: list[tuple[float, Frame, Face]] = []
        for result in results:
            frame = result.frame
            smoothers = self._smoothers.setdefault(frame.stream, {})
            for face in result.faces:
                smoother = smoothers.setdefault(face.track_id, Smoother(self.settings))
                smoother.seen_at = frame.time
                age = frame.time - smoother.classified_at
                if age >= self.settings.interval - 1e-6 and self._can_see(face):
                    found.append((age, frame, face))
            for track_id in [i for i, one in smoothers.items() if frame.time - one.seen_at > FORGET_AFTER]:
                del smoothers[track_id]
        live = sorted((one for one in found if one[1].live), key=lambda one: -one[0])[: self.settings.most]
        chosen = live + [one for one in found if not one[1].live]
        return [
            (result.frame, faces)
            for result in results
            if (faces := [face for _, frame, face in chosen if frame is result.frame])
        ]

    def _attach(self, result: Result) -> Result:
        smoothers = self._smoothers[result.frame.stream]
        faces = tuple(replace(face, expression=self._express(smoothers[face.track_id])) for face in result.faces)
        return Result(result.frame, faces)

    def _express(self, smoother: Smoother) -> Expression | None:
        if smoother.probabilities is None:
            return None
        spec = self.engine.spec
        values = smoother.probabilities / smoother.probabilities.sum()
        shown = smoother.shown if smoother.shown >= 0 else int(values.argmax())
        label = spec.labels[shown] if smoother.shown >= 0 else UNCERTAIN
        return Expression(
            label=label,
            confidence=float(values[shown]),
            probabilities={name: float(value) for name, value in zip(spec.labels, values, strict=True)},
            region=spec.crop.region,
            reliability=spec.reliability.get(spec.labels[shown]),
            stable=smoother.stable(smoother.classified_at),
            time=smoother.classified_at,
        )
