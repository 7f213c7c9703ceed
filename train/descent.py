"""One epoch of drawn batches, for networks whose loss has several parts; reads in the order in which things happen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from torch import Tensor, nn

from train import processes
from train.checkpoint import State
from train.expression.config import RunConfig
from train.expression.fit import update_average
from train.schedule import rate


def descend(
    config: RunConfig,
    steps: int,
    state: State,
    batches: Iterator[Any],
    losses: Callable[[Any], dict[str, Tensor]],
    clip: float,
) -> dict[str, float]:
    """Learn from the next `steps` batches; return the mean of each part of the loss, of which 'total' is followed.

    losses: answers a batch and says what is wrong with it. clip: the longest gradient. Raises RuntimeError where the
    loss is not finite.
    """
    epoch, sums = len(state.epochs), dict[str, float]()
    for step, batch in enumerate(islice(batches, steps)):
        done = epoch * steps + step
        for group in state.optimizer.param_groups:
            group["lr"] = rate(config.optimizer, done / (config.epochs * steps), state.history)
        parts = losses(batch)
        values = {name: processes.mean(part) for name, part in parts.items()}
        if not math.isfinite(values["total"]):
            raise RuntimeError(
                f"epoch {epoch + 1}, step {step}: the loss is {values}; the last good checkpoint is kept"
            )
        state.optimizer.zero_grad(set_to_none=True)
        parts["total"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(state.model.parameters(), clip)
        state.optimizer.step()
        update_average(state.average, state.model, min(config.optimizer.average, (1 + done) / (10 + done)))
        sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
    return {name: round(value / steps, 5) for name, value in sums.items()}
