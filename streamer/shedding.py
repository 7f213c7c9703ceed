"""The shedding ladder: what is left out, one step after another, while live results come too late.

A pipeline owns one, which the caller's thread feeds; the thread of perceive reads `step` and hands it to the stage.
Offline sources are never shed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from streamer.types import Step

log = logging.getLogger(__name__)

WINDOW = 0.5  # seconds of results that a decision is based on
FEWEST = 3  # results that a window needs; with fewer it is extended
WINDOWS = 4  # windows that it is extended to at most
NEAR = 0.8  # share of the budget above which a step is taken
FAR = 0.6  # share of the budget below which a step may be given back
ROOM = 0.7  # busy share of the busiest stage below which a step may be given back
LONGEST = 60.0  # seconds of patience at most
TICKS = 4  # a frame waits for a tick of perceive, is in it, waits for express and is in it


@dataclass(frozen=True)
class SheddingSettings:
    """Set the latency that live results keep. budget: seconds from capture to result, 95th percentile.

    patience: seconds of calm before a step is given back; doubled each time that this came too early.
    """

    budget: float = 0.12
    patience: float = 3.0

    def __post_init__(self) -> None:
        if self.budget <= 0 or self.patience < 0:
            raise ValueError(f"expected budget > 0 and patience >= 0, found {self}")


class Ladder:
    """Take a step when the latency nears the budget, give it back after calm; measure how busy the stages are.

    A single late window takes no step: compiling a graph or a slow disk can cause one.

    step: what is left out now. load: 0-1, share of the time that the busiest stage works, over about 2 s.
    """

    def __init__(self, settings: SheddingSettings | None = None) -> None:
        self.settings = settings or SheddingSettings()
        self.step = Step.NONE
        self.load = 0.0
        self._latencies: list[float] = []
        self._since: float | None = None
        self._busy: dict[str, float] = {}
        self._late = False
        self._calm_since: float | None = None
        self._patience = self.settings.patience
        self._given_back = -LONGEST

    def observe(self, latency: float) -> None:
        """Note the seconds from capture to result of one live frame."""
        self._latencies.append(latency)

    def look(self, now: float, busy: Mapping[str, float]) -> None:
        """Decide, once a window; busy: seconds that each stage has worked so far, now: monotonic seconds."""
        if self._since is None:
            self._since, self._busy = now, dict(busy)
            return
        passed = now - self._since
        if passed < WINDOW * (WINDOWS if len(self._latencies) < FEWEST else 1):
            return
        share = max((busy[name] - self._busy.get(name, 0.0) for name in busy), default=0.0) / passed
        kept = 0.7 ** (passed / WINDOW)
        self.load = kept * self.load + (1 - kept) * min(share, 1.0)
        self._since, self._busy = now, dict(busy)
        if self._latencies:  # a window without results says neither late nor calm
            late, self._latencies = float(np.quantile(self._latencies, 0.95)), []
            self._decide(late, share, now)

    def frames(self, seconds: float) -> int | None:
        """Return how many frames a tick may hold that takes `seconds` a frame; None for any number."""
        if self.step < Step.FRAMES or not seconds:
            return None
        return max(1, int(self.settings.budget / TICKS / seconds))

    def _decide(self, late: float, share: float, now: float) -> None:
        calm = late < FAR * self.settings.budget and share < ROOM
        self._calm_since = (self._calm_since or now) if calm else None
        before, self._late = self._late, late > NEAR * self.settings.budget
        if before and self._late and self.step < Step.FRAMES:
            if now - self._given_back < self._patience:
                self._patience = min(2 * self._patience, LONGEST)
            self._go(Step(self.step + 1), f"results come after {1000 * late:.0f} ms")
        elif self._calm_since is not None and self.step and now - self._calm_since >= self._patience:
            self._given_back, self._calm_since = now, now
            self._go(Step(self.step - 1), f"results come after {1000 * late:.0f} ms again")

    def _go(self, step: Step, reason: str) -> None:
        self.step = step
        log.info("shedding: %s (%s)", step.words or "nothing any more", reason)
