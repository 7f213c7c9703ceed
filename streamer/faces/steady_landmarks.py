"""Steady landmarks: noise is taken out of faces that keep still, motion is followed without lag; rolls are theirs.

The One-Euro filter (Casiez et al. 2012): a low-pass whose cut-off frequency rises with the speed. Speeds are in sides
of the face a second, so that near and far faces are treated alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.faces.roll import roll_of
from streamer.types import Face

LONGEST = 0.5  # seconds without a look after which a face starts anew
SETTLED = 1.0  # seconds for which a face must have been looked at in every frame before a look may be left out
REST = 0.25  # seconds for which what was seen last is good enough
TOLD = 0.5  # `usable` from which on landmarks tell how far a face is turned: those of a hidden one may lie anyhow


@dataclass(frozen=True)
class SteadySettings:
    """Set how much landmarks are smoothed.

    cutoff: Hz, of a face that keeps still; 0 smooths nothing. follow: Hz more for each side of the face a second.
    speed: Hz, cut-off of the speed itself. visibility: seconds, time constant of visibility and usable.
    """

    cutoff: float = 1.5
    follow: float = 12.0
    speed: float = 3.0
    visibility: float = 0.12

    def __post_init__(self) -> None:
        if min(self.cutoff, self.follow, self.visibility) < 0 or self.speed <= 0:
            raise ValueError(f"expected cutoff, follow and visibility >= 0 and speed > 0, found {self}")


class Steady:
    """Follow what is located of one track."""

    def __init__(self, settings: SteadySettings) -> None:
        self.settings = settings
        self.time = -math.inf
        self._face: Face | None = None  # as returned by the last look
        self._began = math.inf
        self._rested = False
        self._velocity = np.zeros((68, 2), np.float32)

    def roll(self, face: Face) -> float:
        """Return how far a track's face, of which the detector alone has told, is likely to be turned."""
        return face.roll if self._face is None else self._face.roll

    def may_rest(self, time: float) -> bool:
        """Tell whether a face that is known well need not be looked at in the picture at `time`: in every other one."""
        seen = self._face is not None and self._face.landmarks is not None
        return seen and not self._rested and time - self._began >= SETTLED and time - self.time <= REST

    def rest(self, face: Face) -> Face:
        """Give a face that may rest what was seen of it last, moved with its box."""
        before = self._face
        assert before is not None
        assert before.landmarks is not None
        self._rested = True
        size, side = (float((one.box[2:] - one.box[:2]).max()) for one in (before, face))
        middle, now = (one.box.reshape(2, 2).mean(axis=0) for one in (before, face))
        points = (before.landmarks - middle) * (side / max(size, 1.0)) + now
        return replace(
            face,
            landmarks=points.astype(np.float32),
            visibility=before.visibility,
            usable=before.usable,
            roll=before.roll,
        )

    def update(self, face: Face, time: float) -> Face:
        """Take in a face with what was located in the picture at `time`; return it steadied, with the roll of that.

        A face without landmarks is returned as it is and forgotten.
        """
        gap, before = time - self.time, self._face
        self.time, self._face, self._rested = time, face, False
        if face.landmarks is None or before is None or before.landmarks is None or not 0 < gap <= LONGEST:
            self._velocity, self._began = np.zeros((68, 2), np.float32), time
            self._face = None if face.landmarks is None else _with_roll(face)
            return self._face or face
        seen, usable = face.visibility, face.usable
        kept = math.exp(-gap / self.settings.visibility) if self.settings.visibility else 0.0
        if seen is not None and before.visibility is not None:
            seen = np.asarray(kept * before.visibility + (1 - kept) * seen, np.float32)
        if usable is not None and before.usable is not None:
            usable = kept * before.usable + (1 - kept) * usable
        points = self._points(before.landmarks, face, face.landmarks, gap) if self.settings.cutoff else face.landmarks
        self._face = _with_roll(replace(face, landmarks=points, visibility=seen, usable=usable))
        return self._face

    def _points(
        self, before: NDArray[np.float32], face: Face, found: NDArray[np.float32], gap: float
    ) -> NDArray[np.float32]:
        side = max(1.0, float((face.box[2:] - face.box[:2]).max()))
        self._velocity += _share(self.settings.speed, gap) * ((found - before) / (gap * side) - self._velocity)
        cutoff = self.settings.cutoff + self.settings.follow * np.linalg.norm(self._velocity, axis=1, keepdims=True)
        return np.asarray(before + _share(cutoff, gap) * (found - before), np.float32)


def _with_roll(face: Face) -> Face:
    """Return a face with the roll that its landmarks tell, or its own where they cannot."""
    if face.landmarks is None or (face.usable is not None and face.usable < TOLD):
        return face
    return replace(face, roll=float(roll_of(face.landmarks[None])[0]))


def _share(cutoff: Any, gap: float) -> Any:
    """Return the weight of what is new in a first-order low-pass of a cut-off in Hz (Casiez et al., Eq. 4)."""
    angle = 2 * math.pi * cutoff * gap
    return angle / (angle + 1)
