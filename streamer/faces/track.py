"""Follow faces from frame to frame under stable ids: predict, prune, associate, correct, spawn.

Written from SORT (Bewley et al. 2016: Kalman filter, optimal assignment) and ByteTrack (Zhang et al. 2022: low scores
get a second pass, but never found a track), with likeness as a gate, so that no face takes over another's id where they
cross or where one enters as another leaves, and as what knows again who comes back elsewhere; it is told of cuts. A
tracker follows one stream and belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import dlib
import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import areas, inside, iou
from streamer.faces.likeness import CELLS, blend, compare, describe, visible
from streamer.faces.motion import Motion
from streamer.faces.roll import roll_of
from streamer.types import Detections, Face, Frame

HELD = 0.5  # share of a face in a new box from which on that is no other one; 4 of 2,954 marked faces share so much

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TrackerSettings:
    """Set the rules of a tracker; times in seconds of the stream, scores as the detector gives them.

    coast: a face is shown this long after its last detection, and until the next ones are there. max_age: a lost face
    can be taken up again this long.
    low_score: detections below are ignored. belief: how sure it must be that a detection is a face for it to found a
    track; where nobody but the detector can say, those below high_score may continue one but not found it. sure_score:
    a track founded at this score is shown at once, any other at its second detection; in the first detection of a
    stream, or after max_age without any, all are shown at once. doubt: `usable` below which a track is no face after
    all; one that stays above it for `proof` seconds has proved to be a face, and may be hidden for as long as it likes.

    A track and a detection may belong together by min_iou, their overlap, or max_distance, that of their centres in
    standard deviations (low scores: by min_iou_low alone), where neither is max_growth times as large as the other,
    lengthwise, and they look alike. likeness: how much they must, -1 to 1; full overlap makes up for `trust` of it, and
    `forget` seconds out of sight for 63 %. refresh: share of the newest picture in a track's running
    mean, settle: in a slow one, which still knows the face when something has come before it. A face that
    is out of sight may also come back farther off, as far as it can go at `speed`, in its sizes a second, where it
    looks alike by sure_likeness.
    """

    coast: float = 0.2
    max_age: float = 1.0
    low_score: float = 0.1
    high_score: float = 0.5
    sure_score: float = 0.7
    min_iou: float = 0.1
    max_distance: float = 5.0
    min_iou_low: float = 0.4
    max_growth: float = 1.6
    likeness: float = 0.58
    trust: float = 0.25
    forget: float = 2.0
    refresh: float = 0.5
    settle: float = 0.15
    sure_likeness: float = 0.65
    speed: float = 8.0
    belief: float = 0.8
    doubt: float = 0.3
    proof: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.coast < self.max_age:
            raise ValueError(f"tracker: expected 0 <= coast < max_age, found {self.coast} and {self.max_age}")
        if not self.low_score <= self.high_score <= self.sure_score:
            found = f"{self.low_score}, {self.high_score}, {self.sure_score}"
            raise ValueError(f"tracker: expected low_score <= high_score <= sure_score, found {found}")
        if not (0 <= self.belief <= 1 and 0 <= self.doubt <= 1 and self.proof >= 0):
            found = f"{self.belief}, {self.doubt} and {self.proof}"
            raise ValueError(f"tracker: expected belief and doubt in 0-1 and proof >= 0, found {found}")
        if not (0 <= self.settle <= self.refresh <= 1 and self.speed >= 0):
            found = f"{self.settle}, {self.refresh} and {self.speed}"
            raise ValueError(f"tracker: expected 0 <= settle <= refresh <= 1 and speed >= 0, found {found}")
        if self.max_growth < 1 or self.forget <= 0:
            found = f"{self.max_growth} and {self.forget}"
            raise ValueError(f"tracker: expected max_growth >= 1 and forget > 0, found {found}")


class Tracker:
    """Keep the tracks of one stream as a struct of arrays, one row a track.

    last_id: the number that was given last; no number is given twice.
    """

    def __init__(self, settings: TrackerSettings = TrackerSettings()) -> None:
        self.settings = settings
        self._time: float | None = None
        self._detection_time = -np.inf
        self._fresh = True  # nobody searched for long: all that is found has been there
        self.last_id = 0
        self._motion = Motion(np.zeros((0, 4), np.float32))
        self._ids = np.zeros(0, np.int64)  # 0 until confirmed: ids count the faces that were shown
        self._scores = np.zeros(0, np.float32)
        self._seen = np.zeros(0, np.float64)  # time of the last detection
        self._rolls = np.zeros(0, np.float32)  # as the points of the last detection say
        self._looks = describe(np.zeros((1, 1, 3), np.uint8), np.zeros((0, 4), np.float32))
        self._settled = self._looks  # the slow mean
        self._known = np.zeros((0, CELLS * CELLS), np.float32)  # which cells of the looks were ever seen
        self._plausible = np.zeros(0, bool)  # detected, or the picture still looks like the face
        self._founded = np.zeros(0, np.float64)  # time of the first detection
        self._looked = np.zeros(0, np.float64)  # time of the first look at it
        self._proved = np.zeros(0, bool)  # long enough seen to be a face

    def update(self, frame: Frame, detections: Detections | None) -> tuple[Face, ...]:
        """Take in a frame and return the faces to show in it, ordered by id.

        detections: what the detector found in this very frame, or None where it did not run. Raises ValueError where
        the frame is older than the one before.
        """
        self.start(frame, self.follow(frame, detections))
        return self.faces(frame)

    def follow(self, frame: Frame, detections: Detections | None) -> Detections:
        """Take in a frame and return those of its detections that belong to no track yet; else as `update`."""
        self._predict(frame)
        self._prune(frame.time)
        if detections is None:
            return Detections.empty()
        self._fresh = frame.time - self._detection_time >= self.settings.max_age
        taken = usable(detections, frame) & (detections.scores >= self.settings.low_score)
        return self._detect(frame, detections[taken])

    def start(self, frame: Frame, detections: Detections, beliefs: NDArray[np.float32] | None = None) -> Ids:
        """Found tracks on detections of this frame that belong to none; return the (N,) ids, 0 where none is shown yet.

        beliefs: (N,) in 0-1, how sure it is that each is a face, or None where only the scores can say.
        """
        settings = self.settings
        sure, border = (detections.scores, settings.high_score) if beliefs is None else (beliefs, settings.belief)
        new = np.asarray((sure >= border) & ~self._holds_a_face(detections.boxes, sure, border), np.bool_)
        ids = np.zeros(len(detections), np.int64)
        ids[new] = self._spawn(frame, detections[new])
        return ids

    def _holds_a_face(self, boxes: NDArray[np.float32], sure: NDArray[np.float32], border: float) -> NDArray[np.bool_]:
        """Tell which of (N, 4) new boxes hold a face that is followed or surer, as one box around two heads does."""
        surer = (sure[:, None] > sure) & (sure[:, None] >= border)
        held = (inside(boxes, boxes) >= HELD) & surer
        followed = self._motion.boxes[(self._ids > 0) & self._in_view()]
        return np.asarray(held.any(axis=0) | (inside(followed, boxes) >= HELD).any(axis=0))

    def review(self, faces: Sequence[Face], time: float) -> tuple[Face, ...]:
        """Return which faces may be shown, and forget those that turned out to be none.

        faces: of the frame at `time`, with steadied `usable`. A face that has proved to be one stays whatever hides it.
        """
        rows = dict(zip(self._ids.tolist(), range(len(self._ids)), strict=True))
        none: list[int] = []
        for face in faces:
            row = rows[face.track_id]
            self._looked[row] = min(self._looked[row], time)
            if not self._proved[row] and face.usable is not None and face.usable < self.settings.doubt:
                none.append(face.track_id)
            else:
                self._proved[row] |= time - self._looked[row] >= self.settings.proof
        if none:
            self._keep(~np.isin(self._ids, none))
        return tuple(face for face in faces if face.track_id not in none)

    def cut(self) -> None:
        """Forget all faces, since another shot begins: its first detections are shown at once, under new ids."""
        self._keep(np.zeros(len(self._ids), bool))
        self._detection_time = -np.inf

    def _predict(self, frame: Frame) -> None:
        elapsed = 0.0 if self._time is None else frame.time - self._time
        if not elapsed >= 0:
            raise ValueError(f"{frame.stream}: frame {frame.index} lies {-elapsed:.3f} s before the one before it")
        self._time = frame.time
        self._motion.predict(elapsed)
        self._motion.keep_near(*frame.image.shape[1::-1])

    def _prune(self, now: float) -> None:
        """Forget what is too old or was not confirmed; before association, so that a jump in time revives nobody."""
        kept = ((self._ids > 0) | self._in_view()) & (self._ages(now) < self.settings.max_age)
        if not kept.all():
            self._keep(kept)

    def _keep(self, rows: NDArray[np.bool_]) -> None:
        self._motion.keep(rows)
        for name in (
            "_ids",
            "_scores",
            "_seen",
            "_rolls",
            "_looks",
            "_settled",
            "_known",
            "_plausible",
            "_founded",
            "_looked",
            "_proved",
        ):
            setattr(self, name, getattr(self, name)[rows])

    def _detect(self, frame: Frame, detections: Detections) -> Detections:
        """Go on with the tracks; return what is left."""
        looks, shown = describe(frame.image, detections.boxes), visible(frame.image, detections.boxes)
        tracks, found = self._associate(frame.time, detections, looks, shown)
        self._correct(frame.time, tracks, detections[found], looks[found], shown[found])
        self._recheck(frame, tracks)
        self._detection_time = frame.time
        self._rejoin(frame.time)
        return detections[np.setdiff1d(np.arange(len(detections)), found)]

    def _associate(
        self, now: float, detections: Detections, looks: NDArray[np.float32], shown: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pair tracks with detections: all with high scores first, what is left with low ones.

        Of the high ones, faces that are shown and in view come first; a track that nothing has confirmed yet may be one
        of them a second time, found where a detection was off. At last a face may be one that is found farther off.
        """
        settings, boxes = self.settings, self._motion.boxes
        overlap = iou(boxes, detections.boxes)
        distance = self._motion.distances(detections.boxes)
        likeness = self._likeness(looks, shown)
        near = (overlap >= settings.min_iou) | (distance <= settings.max_distance**2)
        alike = likeness + settings.trust * overlap >= self._asked(now)[:, None] * shown.mean(axis=1)
        possible = near & alike & self._fits(detections.boxes)
        far = self._went(now, detections.boxes, likeness)
        # Every pair is worth more than nothing, so that a pair is given up only where it makes a better one possible.
        worth = 2 + overlap + np.exp(-distance / 2) + likeness
        high = detections.scores >= settings.high_score
        low = alike & (overlap >= settings.min_iou_low)
        confirmed, viewed = (self._ids > 0)[:, None], self._in_view()[:, None]
        pairs = []
        for allowed in (possible & high & confirmed & viewed, possible & high, far & high & confirmed, low & ~high):
            rows, columns = assign(np.where(allowed, worth, 0))
            worth[rows], worth[:, columns] = 0, 0
            pairs.append((rows, columns))
        tracks, found = (np.concatenate(indices) for indices in zip(*pairs, strict=True))
        return tracks, found

    def _likeness(self, looks: NDArray[np.float32], shown: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (T, N) likeness of what is known of the tracks with N looks."""
        now = compare(self._looks, self._known, looks, shown)
        return np.maximum(now, compare(self._settled, self._known, looks, shown))

    def _fits(self, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which tracks (T, 1) are about as large as (N, 4) boxes."""
        growth = np.abs(np.log(areas(self._motion.boxes)[:, None] / areas(boxes)[None])) / 2
        return np.asarray(growth <= np.log(self.settings.max_growth))

    def _went(self, now: float, boxes: NDArray[np.float32], likeness: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which tracks (T, 1) may have gone to (N, 4) boxes, however far, since those look like them."""
        reach = self.settings.speed * self._ages(now)[:, None]
        near = self._motion.strides(boxes) <= reach
        return np.asarray(near & (likeness >= self.settings.sure_likeness) & self._fits(boxes))

    def _rejoin(self, now: float) -> None:
        """Give new tracks the ids of lost ones that they turn out to be, as of who steps out from behind a pillar."""
        shown, viewed = self._ids > 0, self._in_view()
        new = shown & viewed & (now - self._founded <= self.settings.coast)
        possible = (shown & ~viewed)[:, None] & new & (self._seen[:, None] < self._founded)
        if not possible.any():
            return
        likeness = self._likeness(self._looks, self._known)
        old, new_rows = assign(np.where(possible & self._went(now, self._motion.boxes, likeness), likeness, 0))
        for values in (self._ids, self._looked, self._proved):
            values[new_rows] = values[old]
        self._keep(~np.isin(np.arange(len(self._ids)), old))

    def _ages(self, now: float) -> NDArray[np.float64]:
        """Return the seconds since each track was detected, rounded so that 0.8 - 0.6 is not older than 0.2."""
        return np.asarray(np.round(now - self._seen, 6))

    def _in_view(self) -> NDArray[np.bool_]:
        """Return which tracks the newest detections hold."""
        return np.asarray(self._seen >= self._detection_time)

    def _asked(self, now: float) -> NDArray[np.float64]:
        """Return the likeness asked of each track: the longer unseen, the more a face may have turned."""
        return np.asarray(self.settings.likeness * np.exp(-self._ages(now) / self.settings.forget))

    def _correct(
        self,
        now: float,
        tracks: NDArray[np.int64],
        detections: Detections,
        looks: NDArray[np.float32],
        shown: NDArray[np.float32],
    ) -> None:
        self._motion.correct(tracks, detections.boxes)
        self._scores[tracks] = detections.scores
        self._rolls[tracks] = roll_of(detections.landmarks, len(detections))
        self._seen[tracks] = now
        # What is hidden now is still known from before.
        for means, share in ((self._looks, self.settings.refresh), (self._settled, self.settings.settle)):
            shares = share * shown * shown.mean(axis=1, keepdims=True)
            means[tracks] = blend(means[tracks], looks, np.where(self._known[tracks] > 0, shares, shown))
        self._known[tracks] = np.maximum(self._known[tracks], shown)
        self._confirm(tracks[self._ids[tracks] == 0])

    def _recheck(self, frame: Frame, tracks: NDArray[np.int64]) -> None:
        """Go on showing a missed face only where the picture still looks like it: not where it left or is hidden."""
        self._plausible[:] = True
        missed = np.setdiff1d(np.flatnonzero(self._ages(frame.time) <= self.settings.coast), tracks)
        if len(missed):
            boxes = self._motion.boxes[missed]
            shown = visible(frame.image, boxes)
            likeness = compare(self._looks[missed], self._known[missed], describe(frame.image, boxes), shown).diagonal()
            self._plausible[missed] = likeness >= self._asked(frame.time)[missed] * shown.mean(axis=1)

    def _spawn(self, frame: Frame, detections: Detections) -> Ids:
        start, n = len(self._ids), len(detections)
        self._motion.extend(Motion(detections.boxes))
        self._ids = np.concatenate([self._ids, np.zeros(n, np.int64)])
        self._scores = np.concatenate([self._scores, detections.scores])
        self._seen = np.concatenate([self._seen, np.full(n, frame.time)])
        self._rolls = np.concatenate([self._rolls, roll_of(detections.landmarks, n)])
        looks = describe(frame.image, detections.boxes)
        self._looks = np.concatenate([self._looks, looks])
        self._settled = np.concatenate([self._settled, looks])
        self._known = np.concatenate([self._known, visible(frame.image, detections.boxes)])
        self._plausible = np.concatenate([self._plausible, np.ones(n, bool)])
        self._founded = np.concatenate([self._founded, np.full(n, frame.time)])
        self._looked = np.concatenate([self._looked, np.full(n, np.inf)])
        self._proved = np.concatenate([self._proved, np.zeros(n, bool)])
        self._confirm(start + np.flatnonzero(self._fresh | (detections.scores >= self.settings.sure_score)))
        return self._ids[start:]

    def _confirm(self, rows: NDArray[np.int64]) -> None:
        self._ids[rows] = self.last_id + 1 + np.arange(len(rows))
        self.last_id += len(rows)

    def faces(self, frame: Frame) -> tuple[Face, ...]:
        """Return the faces to show in the frame that was taken in last, ordered by id."""
        boxes = self._motion.boxes
        recent = self._in_view() | (self._ages(frame.time) <= self.settings.coast)
        shown = (self._ids > 0) & recent & self._plausible
        rows = np.flatnonzero(shown & _inside(boxes, frame))
        order = rows[np.argsort(self._ids[rows])]
        told = zip(*(one[order].tolist() for one in (self._ids, self._scores, self._seen, self._rolls)), strict=True)
        return tuple(
            Face(number, box, score, seen, roll=roll)
            for box, (number, score, seen, roll) in zip(boxes[order], told, strict=True)
        )


def assign(worth: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with columns of an (R, C) matrix so that the summed worth is greatest; zero means never.

    Returns rows and columns of the pairs, each once at most. Worth counts to six decimals.
    """
    rows, columns = np.flatnonzero(worth.any(axis=1)), np.flatnonzero(worth.any(axis=0))
    size = max(len(rows), len(columns))
    if size == 0:
        return rows, columns
    square = np.zeros((size, size), np.int64)
    square[: len(rows), : len(columns)] = np.rint(worth[np.ix_(rows, columns)] * 1e6)
    chosen = np.array(dlib.max_cost_assignment(dlib.matrix(square.tolist())), np.int64)[: len(rows)]
    paired = square[np.arange(len(rows)), chosen] > 0
    return rows[paired], columns[chosen[paired]]


def _inside(boxes: NDArray[np.float32], frame: Frame) -> NDArray[np.bool_]:
    """Return which boxes share pixels with the picture."""
    height, width = frame.image.shape[:2]
    return np.asarray((boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < [width, height]).all(axis=1))


def usable(detections: Detections, frame: Frame) -> NDArray[np.bool_]:
    """Return which boxes are numbers, of one pixel at least, and in the picture."""
    sound = (np.abs(detections.boxes) < 1e6).all(axis=1) & np.isfinite(detections.scores)
    boxes = np.where(sound[:, None], detections.boxes, 0)
    return np.asarray((boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1) & _inside(boxes, frame))
