"""The perceive stage: detect where it is time or a shot begins, track every stream, locate landmarks and steady them.

Called by one thread, which owns the detector, the landmarker and all trackers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streamer.faces.belief import Refused, Verdict, judge
from streamer.faces.cuts import Cuts
from streamer.faces.detect import Detector
from streamer.faces.landmarks import Landmarker, Landmarks
from streamer.faces.steady_landmarks import LONGEST, Steady, SteadySettings
from streamer.faces.track import Tracker
from streamer.types import Detections, Face, Frame, Result, Step

CUT = 0.5  # seconds of waiting that a cut counts as: it goes first, but a stream that cuts all the time not for ever
LOOKS = 32  # new detections of a live picture that are looked at: 2-3 ms each, and a page of letters has hundreds

Looks = dict[tuple[str, int], tuple[Landmarks, int]]  # what was found of a stream's track: a row of landmarks


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
    """Turn frames, at most one a stream, into results with tracked faces.

    landmarker: locates landmarks, and where it can tell has a say in what is a face. min_face: pixels; a face whose box
    is smaller on both sides is neither tracked nor shown.
    """

    def __init__(
        self,
        detector: Detector,
        new_tracker: Callable[[], Tracker],
        settings: DetectionSettings,
        landmarker: Landmarker | None = None,
        steady: SteadySettings | None = None,
        min_face: int = 1,
    ) -> None:
        self.detector = detector
        self.landmarker = landmarker
        self.settings = settings
        self.steady = steady or SteadySettings()
        self.min_face = min_face
        self._new_tracker = new_tracker
        self._trackers: dict[str, Tracker] = {}
        self._last_ids: dict[str, int] = {}  # of streams that have gone: two people must not become one in a run
        self._cuts: dict[str, Cuts] = {}
        self._refused: dict[str, Refused] = {}
        self._steadied: dict[str, dict[int, Steady]] = {}
        self._detected_at: dict[str, float] = {}
        self._behind_cut: set[str] = set()  # streams that were not searched since
        self._cost = 0.0  # seconds of detection a picture, smoothed
        self._random = np.random.default_rng(0)
        self._rest_until = 0.0  # monotonic time before which no live picture is searched

    def __call__(self, frames: list[Frame], step: Step = Step.NONE) -> list[Result]:
        """Detect on the frames that are due, as one batch, and update every stream's tracker.

        step: what live streams do without now; the results say so.
        """
        for frame in frames:
            self._heed_cut(frame)
        due, started = self._due(frames, step), time.monotonic()
        searched = self.detector.detect([frame.image for frame in due]) if due else []
        found = dict(zip(map(id, due), searched, strict=True))
        looks = self._start([(frame, new) for frame in frames if len(new := self._follow(frame, found.get(id(frame))))])
        if due:
            self._pace(time.monotonic() - started, len(due))
            self._detected_at.update((frame.stream, frame.time) for frame in due)
            self._behind_cut.difference_update(frame.stream for frame in due)
        results = [self._result(frame, found.get(id(frame)), step) for frame in frames]
        return self._located(self.landmarker, results, looks) if self.landmarker else results

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream that has ended; where its name comes again, ids go on behind its last one."""
        if tracker := self._trackers.pop(stream, None):
            self._last_ids[stream] = tracker.last_id
        self._cuts.pop(stream, None)
        self._refused.pop(stream, None)
        self._detected_at.pop(stream, None)
        self._behind_cut.discard(stream)
        self._steadied.pop(stream, None)

    def _heed_cut(self, frame: Frame) -> None:
        """Where another shot begins, end what was followed; a search is due."""
        if self._cuts.setdefault(frame.stream, Cuts()).update(frame.image):
            self._behind_cut.add(frame.stream)
            if tracker := self._trackers.get(frame.stream):
                tracker.cut()

    def _due(self, frames: Sequence[Frame], step: Step) -> list[Frame]:
        """Pick the frames behind a cut or a search too long ago; live ones only as the time budget allows."""
        waited = {id(frame): frame.time - self._detected_at.get(frame.stream, -np.inf) for frame in frames}
        longer = 2 if step >= Step.DETECTIONS else 1
        due = [
            frame
            for frame in frames
            if frame.stream in self._behind_cut
            or waited[id(frame)] >= self.settings.interval * (longer if frame.live else 1) - 1e-6
        ]
        offline = [frame for frame in due if not frame.live]
        if time.monotonic() < self._rest_until:
            return offline
        most = max(1, int(self.settings.budget / self._cost)) if self._cost else len(due)
        urgent = {id(frame): waited[id(frame)] + CUT * (frame.stream in self._behind_cut) for frame in frames}
        live = sorted((frame for frame in due if frame.live), key=lambda frame: -urgent[id(frame)])
        return live[:most] + offline

    def _pace(self, seconds: float, pictures: int) -> None:
        cost = seconds / pictures
        self._cost = cost if not self._cost else 0.8 * self._cost + 0.2 * cost
        self._rest_until = time.monotonic() + seconds * (1 / self.settings.share - 1)

    def _follow(self, frame: Frame, found: Detections | None) -> Detections:
        """Go on with the tracks of a frame's stream; return what was found beside them."""
        if frame.stream not in self._trackers:
            self._trackers[frame.stream] = tracker = self._new_tracker()
            tracker.last_id = self._last_ids.get(frame.stream, 0)
        large = None if found is None else found[_sides(found.boxes) >= self.min_face]
        return self._trackers[frame.stream].follow(frame, large)

    def _start(self, new: Sequence[tuple[Frame, Detections]]) -> Looks:
        """Found tracks on what is new in each frame, where a look at it says that it is a face; return these looks."""
        verdicts: Sequence[Verdict | tuple[None, None]] = [(None, None)] * len(new)
        if self.landmarker and new:
            new = [(frame, self._to_look_at(frame, found)) for frame, found in new]
            verdicts = judge(self.landmarker, [frame.image for frame, _ in new], [found for _, found in new])
        looks: Looks = {}
        for (frame, found), (look, beliefs) in zip(new, verdicts, strict=True):
            if beliefs is not None:
                self._refused[frame.stream].add(frame, found, beliefs)
            ids = self._trackers[frame.stream].start(frame, found, beliefs)
            if look:
                looks |= {(frame.stream, number): (look, row) for row, number in enumerate(ids.tolist())}
        return looks

    def _to_look_at(self, frame: Frame, found: Detections) -> Detections:
        """Leave out what was refused a moment ago; of many in a live picture take the surest, and others by lot."""
        found = self._refused.setdefault(frame.stream, Refused()).others(frame, found)
        if not frame.live or len(found) <= LOOKS:
            return found
        order = np.argsort(-found.scores, kind="stable")
        others = self._random.choice(order[LOOKS // 2 :], LOOKS // 2, replace=False)
        return found[np.concatenate([order[: LOOKS // 2], others])]

    def _result(self, frame: Frame, found: Detections | None, step: Step) -> Result:
        faces = self._trackers[frame.stream].faces(frame)
        large = tuple(face for face in faces if _sides(face.box[None])[0] >= self.min_face)
        return Result(frame, large, step if frame.live else Step.NONE, found)

    def _located(self, landmarker: Landmarker, results: list[Result], looks: Looks) -> list[Result]:
        """Add landmarks, visibility and usable to the faces of all frames; those to look at now are one batch."""
        asked = [
            (result.frame, faces)
            for result in results
            if (faces := [face for face in result.faces if self._asks_for_a_look(result, face, looks)])
        ]
        boxes = [np.stack([face.box for face in faces]) for _, faces in asked]
        rolls = [np.array([self._roll(frame, face) for face in faces], np.float32) for frame, faces in asked]
        found = landmarker.look([frame.image for frame, _ in asked], boxes, rolls) if asked else []
        for (frame, faces), look in zip(asked, found, strict=True):
            looks |= {(frame.stream, face.track_id): (look, row) for row, face in enumerate(faces)}
        return [self._steady(result, looks) for result in results]

    def _asks_for_a_look(self, result: Result, face: Face, looks: Looks) -> bool:
        """Tell whether a face was not looked at yet, and where looks are shed may not go without."""
        before = self._steadied.get(result.frame.stream, {}).get(face.track_id)
        rests = before and result.shed >= Step.DETECTIONS and before.may_rest(result.frame.time)
        return (result.frame.stream, face.track_id) not in looks and not rests

    def _roll(self, frame: Frame, face: Face) -> float:
        """Return how far a face is likely to be turned: as its last landmarks, or else the detector's points, say."""
        before = self._steadied.get(frame.stream, {}).get(face.track_id)
        return before.roll(face) if before else face.roll

    def _steady(self, result: Result, looks: Looks) -> Result:
        """Smooth what was found of each track, and leave out what turned out to be no face."""
        stream, now = result.frame.stream, result.frame.time
        before = self._steadied.get(stream, {})
        tracks = {face.track_id: before.get(face.track_id) or Steady(self.steady) for face in result.faces}
        # A track that is hidden for a moment comes back under its id.
        tracks |= {number: one for number, one in before.items() if number not in tracks and now - one.time < LONGEST}
        self._steadied[stream] = tracks
        faces = []
        for face in result.faces:
            steady, look = tracks[face.track_id], looks.get((stream, face.track_id))
            faces.append(steady.update(_with(face, *look), now) if look else steady.rest(face))
        return replace(result, faces=self._trackers[stream].review(faces, now))


def _sides(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N,) longer sides of boxes."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0), np.float32)


def _with(face: Face, found: Landmarks, row: int) -> Face:
    if not np.isfinite(found.points[row]).all():
        return face
    visibility = None if found.visibility is None else found.visibility[row]
    usable = None if found.usable is None else float(found.usable[row])
    return replace(face, landmarks=found.points[row], visibility=visibility, usable=usable)
