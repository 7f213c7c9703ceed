"""From the answers for one track to the label that is shown: moving average, thresholds and hysteresis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from streamer.types import NO_REGION

GRACE = 0.1  # a label comes out of 'uncertain' so far above the threshold at which it goes, half way to 1 at most


@dataclass(frozen=True)
class ExpressionSettings:
    """Set cadence, smoothing and thresholds; all times in seconds of stream time.

    interval: a face is classified again when its last answer is so old. most: faces classified a tick on live streams,
    those with the oldest answers first. smoothing: time constant of the moving average of probabilities. hold: how long
    another label must lead before it is shown; 0 judges every answer by itself. settle: how long a label must have been
    shown to be called stable. threshold: confidence below which a face is 'uncertain'. routing: judge a partly hidden
    face by the largest region that can be seen, where a network knows that region; else always by the same one.
    labels: those that may be answered, None for all that the network knows. prior: how common each of them is where the
    pictures come from, in shares of any sum, or 'even'; None leaves the prior that the network states.
    """

    interval: float = 0.05
    most: int = 16
    smoothing: float = 0.65
    hold: float = 0.1
    settle: float = 0.5
    threshold: float = 0.4
    routing: bool = True
    labels: tuple[str, ...] | None = None
    prior: Literal["even"] | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if min(self.interval, self.smoothing, self.hold, self.settle) < 0:
            raise ValueError(f"expected interval, smoothing, hold and settle >= 0, found {self}")
        if self.most < 1 or not 0 <= self.threshold <= 1:
            raise ValueError(f"expected most >= 1 and 0 <= threshold <= 1, found {self}")
        if self.labels is not None and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise ValueError(f"labels: expected two different ones at least, found {', '.join(self.labels) or 'none'}")
        if isinstance(self.prior, Mapping) and not all(0 < share < math.inf for share in self.prior.values()):
            found = ", ".join(f"{label} {share:g}" for label, share in self.prior.items())
            raise ValueError(f"prior: expected shares above 0 (labels leaves out a label), found {found}")

    @property
    def as_measured(self) -> bool:
        """Tell whether the network's answers are those that its reliabilities were measured for."""
        return self.labels is None and self.prior is None


class _Lead:
    """Remember who leads, and since when."""

    def __init__(self) -> None:
        self.who = -1
        self.since = -math.inf

    def follow(self, who: int, since: float) -> None:
        """Take in who leads now; a new leader has done so `since` then."""
        if who != self.who:
            self.who, self.since = who, since


class Smoother:
    """Turn the answers for one track into a label that leads and does not flicker.

    shown: the label that has the highest of `probabilities`, or -1, 'uncertain', where none does clearly. A label that
    no longer leads or falls below the threshold goes at once. Another one takes its place at once where it has led the
    answers themselves, before averaging, for the holding time; else, and after 'uncertain', it is shown when it has
    been `GRACE` above the threshold for the holding time. The first answer does not wait, and without a holding time
    the threshold alone counts: hysteresis is for streams, not for photos.
    """

    def __init__(self, settings: ExpressionSettings) -> None:
        self.settings = settings
        self.classified_at = -math.inf
        self.probabilities: NDArray[np.float64] | None = None
        self.shown = -1
        self.region: str | None = None
        self._shown_since = 0.0
        self._answered = _Lead()
        self._clear = _Lead()

    def update(self, probabilities: NDArray[np.float32], time: float, region: str = "face") -> None:
        """Take in an answer (C,) to a region of the picture at `time`, which must not lie before the last one."""
        self.region = region
        fresh = probabilities.astype(np.float64)
        fresh /= fresh.sum()
        # A leader may have led since the last answer: pictures far apart must not wait for a second one.
        since, kept = self.classified_at, 0.0
        if self.probabilities is None:
            since, self.probabilities = -math.inf, fresh
        elif self.settings.smoothing:
            kept = math.exp(-(time - since) / self.settings.smoothing)
        self.probabilities = kept * self.probabilities + (1 - kept) * fresh
        self._answered.follow(int(fresh.argmax()), since)
        self._clear.follow(self._leader(GRACE), since)
        self._show(self._next(time), time)
        self.classified_at = time

    def lose_sight(self, time: float) -> None:
        """Record that no region was visible at `time`: no label is shown, and the next answer starts anew."""
        if self.region != NO_REGION:
            self._shown_since = time
        self.region, self.probabilities, self.shown = NO_REGION, None, -1
        self.classified_at = time

    def stable(self, time: float) -> bool:
        """Tell whether what is shown has settled."""
        return time - self._shown_since >= self.settings.settle

    def _leader(self, above: float = 0.0) -> int:
        """Return the likeliest label, -1 where it is not so far above the threshold."""
        assert self.probabilities is not None
        leader, threshold = int(self.probabilities.argmax()), self.settings.threshold
        return leader if self.probabilities[leader] >= threshold + min(above, (1 - threshold) / 2) else -1

    def _next(self, time: float) -> int:
        """Return what is to be shown after the newest answer."""
        leader, hold = self._leader(), self.settings.hold
        if leader == self.shown or not hold:
            return leader
        evidence = self._clear if self.shown < 0 else self._answered
        return leader if evidence.who == leader and time - evidence.since >= hold else -1

    def _show(self, label: int, time: float) -> None:
        if label != self.shown or self.classified_at == -math.inf:
            self.shown, self._shown_since = label, time
