"""Learning rates and the end of a run, as functions of what happened: a resumed run needs no state for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from train.config import Optimizer


def rate(settings: Optimizer, progress: float, history: Sequence[float]) -> float:
    """Return the learning rate; progress: 0-1 over all steps, history: validation accuracy of the epochs done."""
    if settings.schedule == "one_cycle":
        return settings.rate * one_cycle(progress, settings.warm_up)
    if settings.schedule == "plateau":
        return settings.rate * settings.factor ** drops(history, settings.patience)
    return settings.rate


def one_cycle(progress: float, warm_up: float) -> float:
    """Scale the rate: linear warm-up, then a cosine to zero; progress in 0-1."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / (1 - warm_up)))


def drops(history: Sequence[float], patience: int) -> int:
    """Count how often `patience` epochs went by without a new best accuracy since the last best or drop."""
    best, waited, found = -math.inf, 0, 0
    for accuracy in history:
        waited = 0 if accuracy > best else waited + 1
        best = max(best, accuracy)
        if waited == patience:
            found, waited = found + 1, 0
    return found


def is_over(history: Sequence[float], early_stop: int) -> bool:
    """Say whether `early_stop` epochs brought no new best accuracy; 0 never stops."""
    if not early_stop or not history:
        return False
    return len(history) - 1 - history.index(max(history)) >= early_stop


def is_best(history: Sequence[float]) -> bool:
    """Say whether the last epoch is better than all before it."""
    return len(history) > 0 and history[-1] > max(history[:-1], default=-math.inf)
