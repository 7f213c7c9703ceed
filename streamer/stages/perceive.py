"""The perceive stage: detect where it is time or a shot begins, track every stream, locate landmarks and steady them.

Called by one thread, which owns the detector, the landmarker and all trackers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streamer.faces.cuts import Cuts
from streamer.faces.detect import Detector
from streamer.faces.landmarks import Landmarker, Landmarks
from streamer.faces.steady import LONGEST, Steady, SteadySettings
from streamer.faces.track import Tracker
from streamer.shedding import Ladder
from streamer.types import Detections, Face, Frame, Result, Step


@dataclass(frozen=True)
class DetectionSettings:
    """Set the cadence of detection.

    interval: seconds of stream time between detections of a stream. share: on live streams, the largest share of the
    thread's time that detection may take. budget: on live streams, seconds of detection a tick, one picture at least.
    """

    interval: float = 0.1
    share: float = 0.5
    budget: float = 0.04

    def __post_init__(self) -> None:
        if not (self.interval >= 0 and 0 < self.share <= 1 and self.budget > 0):
            raise ValueError(f"expected interval >= 0, 0 < share <= 1 and budget > 0, found {self}")


class Perceiver:
    """Turn frames, at most one a stream, into results with tracked faces."""

    def __init__(
        self,
        detector: Detector,
        new_tracker: Callable[[], Tracker],
        settings: DetectionSettings,
        landmarker: Landmarker | None = None,
        ladder: Ladder | None = None,
        steady: SteadySettings | None = None,
    ) -> None:
        self.detector = detector
        self.landmarker = landmarker
        self.settings = settings
        self.ladder = ladder or Ladder()
        self.steady = steady or SteadySettings()
        self._new_tracker = new_tracker
        self._trackers: dict[str, Tracker] = {}
        self._cuts: dict[str, Cuts] = {}
        self._steadied: dict[str, dict[int, Steady]] = {}
        self._detected_at: dict[str, float] = {}
        self._cost = 0.0  # seconds of detection a picture, smoothed
        self._rest_until = 0.0  # monotonic time before which no live picture is searched

    def __call__(self, frames: list[Frame]) -> list[Result]:
        """Detect on the frames that are due, as one batch, and update every stream's tracker."""
        for frame in frames:
            self._heed_cut(frame)
        due = self._due(frames)
        found: dict[int, Detections] = {}
        if due:
            started = time.monotonic()
            found = dict(zip(map(id, due), self.detector.detect([frame.image for frame in due]), strict=True))
            self._pace(time.monotonic() - started, len(due))
            self._detected_at.update((frame.stream, frame.time) for frame in due)
        results = [self._track(frame, found.get(id(frame))) for frame in frames]
        return self._located(self.landmarker, results) if self.landmarker else results

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream that has ended; its name may come again."""
        self._trackers.pop(stream, None)
        self._cuts.pop(stream, None)
        self._detected_at.pop(stream, None)
        self._steadied.pop(stream, None)

    def _heed_cut(self, frame: Frame) -> None:
        """Where another shot begins, end what was followed; the stream waits for a search like one never searched."""
        if self._cuts.setdefault(frame.stream, Cuts()).update(frame.image):
            self._detected_at.pop(frame.stream, None)
            if tracker := self._trackers.get(frame.stream):
                tracker.cut()

    def _due(self, frames: Sequence[Frame]) -> list[Frame]:
        """Pick the frames whose stream was searched too long ago; live ones only as the time budget allows."""
        waited = {id(frame): frame.time - self._detected_at.get(frame.stream, -np.inf) for frame in frames}
        longer = 2 if self.ladder.step >= Step.DETECTIONS else 1
        due = [
            frame
            for frame in frames
            if waited[id(frame)] >= self.settings.interval * (longer if frame.live else 1) - 1e-6
        ]
        offline = [frame for frame in due if not frame.live]
        if time.monotonic() < self._rest_until:
            return offline
        most = max(1, int(self.settings.budget / self._cost)) if self._cost else len(due)
        live = sorted((frame for frame in due if frame.live), key=lambda frame: -waited[id(frame)])
        return live[:most] + offline

    def _pace(self, seconds: float, pictures: int) -> None:
        cost = seconds / pictures
        self._cost = cost if not self._cost else 0.8 * self._cost + 0.2 * cost
        self._rest_until = time.monotonic() + seconds * (1 / self.settings.share - 1)

    def _track(self, frame: Frame, detections: Detections | None) -> Result:
        if frame.stream not in self._trackers:
            self._trackers[frame.stream] = self._new_tracker()
        faces = self._trackers[frame.stream].update(frame, detections)
        return Result(frame, faces, self.ladder.step if frame.live else Step.NONE, detections)

    def _located(self, landmarker: Landmarker, results: list[Result]) -> list[Result]:
        """Add landmarks, visibility and usable to the faces of all frames, looked at as one batch."""
        seen = [result for result in results if result.faces]
        boxes = [np.stack([face.box for face in result.faces]) for result in seen]
        found = iter(landmarker.look([result.frame.image for result in seen], boxes) if seen else [])
        return [self._steady(result, next(found)) if result.faces else result for result in results]

    def _steady(self, result: Result, found: Landmarks) -> Result:
        before = self._steadied.get(result.frame.stream, {})
        tracks = {face.track_id: before.get(face.track_id) or Steady(self.steady) for face in result.faces}
        now = result.frame.time
        # A track that is hidden for a moment comes back under its id.
        tracks |= {number: one for number, one in before.items() if number not in tracks and now - one.time < LONGEST}
        self._steadied[result.frame.stream] = tracks
        faces = tuple(
            tracks[face.track_id].update(_with(face, found, row), now) for row, face in enumerate(result.faces)
        )
        return replace(result, faces=faces)


def _with(face: Face, found: Landmarks, row: int) -> Face:
    if not np.isfinite(found.points[row]).all():
        return face
    visibility = None if found.visibility is None else found.visibility[row]
    usable = None if found.usable is None else float(found.usable[row])
    return replace(face, landmarks=found.points[row], visibility=visibility, usable=usable)
