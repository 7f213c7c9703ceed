"""What a network's outputs say: calibrated for what it was shown, for the labels and the prior that are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines import EngineSpec, tempered
from engines.errors import UserError
from streamer.stages.smoothing import ExpressionSettings


def answered(
    probabilities: NDArray[np.float32], views: Sequence[str], spec: EngineSpec, settings: ExpressionSettings
) -> NDArray[np.float32]:
    """Return (N, C) probabilities, as the network gave them for N faces, as they are to be answered; rows sum to 1.

    views: the region of each face that was shown. Labels that may not be answered get 0.
    """
    temperatures = np.array([spec.view(view).temperature for view in views]).reshape(-1, 1)
    calibrated = tempered(probabilities, temperatures)
    if settings.as_measured:
        return calibrated
    weighed = calibrated * weights(spec, settings)
    return np.asarray(weighed / np.maximum(weighed.sum(axis=1, keepdims=True), 1e-30), np.float32)


def weights(spec: EngineSpec, settings: ExpressionSettings) -> NDArray[np.float32]:
    """Return the (C,) factors of a network's probabilities.

    By Bayes' rule a probability for one prior becomes that for another by the ratio of the label's shares. Raises
    UserError where the network does not know a label, or does not say for which prior it answers.
    """
    known, wanted = spec.labels, settings.prior
    if settings.as_measured:
        return np.ones(len(known), np.float32)
    if unknown := set(settings.labels or ()) - set(known):
        raise UserError(f"expression.labels: expected some of {', '.join(known)}, found {', '.join(sorted(unknown))}")
    may = [label for label in known if settings.labels is None or label in settings.labels]
    if wanted is None:
        return np.array([label in may for label in known], np.float32)
    if not spec.prior:
        raise UserError(
            f"expression.prior: expected a network whose card gives the prior that it answers for, found '{spec.name}'"
        )
    if wanted != "even" and not set(may) <= set(wanted) <= set(known):
        raise UserError(f"expression.prior: expected 'even' or a share of {', '.join(may)}, found {', '.join(wanted)}")
    shares = {label: 1.0 if wanted == "even" else wanted[label] for label in may}
    return np.array([shares[label] / spec.prior[label] if label in may else 0.0 for label in known], np.float32)
