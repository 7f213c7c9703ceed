"""From the visibility of 68 landmarks to that of eyes, nose and mouth, and to the largest region that can be seen.

`part_visibility` says how far each part can be seen. `VisibleRegion`, one a track, turns that into the name of a region
of `streamer.faces.regions`, or None where no region can be judged; near a threshold it keeps its answer (hysteresis).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamer.faces.regions import PARTS, REGIONS

BROWS = 0.3  # what brows count within the eyes: lids tell more
# The largest region for each set of parts that can be seen: every set has exactly one.
LARGEST: Mapping[frozenset[str], str] = {
    frozenset(PARTS): "face",
    frozenset({"nose", "mouth"}): "nose_mouth",
    frozenset({"eyes", "nose"}): "nose_eyes",
    frozenset({"eyes", "mouth"}): "mouth_eyes",
    **{frozenset({part}): part for part in PARTS},
}


def _weights() -> NDArray[np.float32]:
    """Return the (3, 68) weights of the landmarks in eyes, nose and mouth; rows sum to 1."""
    weights = np.zeros((len(PARTS), 68), np.float32)
    for row, part in enumerate(PARTS):
        weights[row, REGIONS[part]] = 1 / len(REGIONS[part])
    weights[0, 17:27] = BROWS / 10
    weights[0, 36:48] = (1 - BROWS) / 12
    return weights


WEIGHTS = _weights()


@dataclass(frozen=True)
class VisibilitySettings:
    """Set what counts as seen; all in 0-1.

    seen: visibility from which a part is seen. least: where none is, the one seen best counts from this visibility on.
    usable: score below which there is no face to judge. hold: how far each must pass its threshold before the
    answer changes.
    """

    seen: float = 0.35
    least: float = 0.2
    usable: float = 0.2
    hold: float = 0.1

    def __post_init__(self) -> None:
        if not (0 < self.seen < 1 and 0 <= self.usable < 1 and 0 <= self.hold < min(self.seen, 1 - self.seen)):
            raise ValueError(f"expected 0 < seen < 1, 0 <= usable < 1 and hold less than both ends, found {self}")
        if not 0 < self.least <= self.seen:
            raise ValueError(f"expected 0 < least <= seen, found {self}")


def part_visibility(visibility: NDArray[np.float32]) -> dict[str, float]:
    """Return how far eyes, nose and mouth can be seen, 0-1, from the (68,) visibility of the landmarks."""
    return dict(zip(PARTS, (WEIGHTS @ visibility).clip(0, 1).tolist(), strict=True))


class VisibleRegion:
    """Follow what can be seen of one track's face.

    seen: the parts that can be seen. region: the largest region they make up, or None where no part can be seen or
    there is no usable face: then the answer is 'uncertain'.
    """

    def __init__(self, settings: VisibilitySettings = VisibilitySettings()) -> None:
        self.settings = settings
        self.seen: frozenset[str] = frozenset(PARTS)
        self.region: str | None = "face"
        self._usable = True
        self._fresh = True

    def update(self, visibility: NDArray[np.float32] | None, usable: float | None = None) -> str | None:
        """Take in what was found in a picture and return the region to judge by.

        visibility: (68,) in 0-1, or None where nobody looked: then everything counts as seen. usable: `Face.usable`.
        The first answer has no history and uses the plain thresholds.
        """
        hold = 0.0 if self._fresh else self.settings.hold
        self._fresh = False
        if usable is not None:
            self._usable = usable >= self.settings.usable + (-hold if self._usable else hold)
        shown = dict.fromkeys(PARTS, 1.0) if visibility is None else part_visibility(visibility)
        borders = {part: -hold if part in self.seen else hold for part in PARTS}
        found = {part for part in PARTS if shown[part] >= self.settings.seen + borders[part]}
        best = max(PARTS, key=lambda part: shown[part])
        if not found and shown[best] >= self.settings.least + borders[best]:
            found = {best}
        self.seen = frozenset(found)
        self.region = LARGEST.get(self.seen) if self._usable else None
        return self.region
