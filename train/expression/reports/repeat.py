"""Run one configuration several times, with other seeds or folds, and sum the runs up as mean and deviation."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engines.errors import UserError
from train.data.splits import FOLDS
from train.expression.classifier import Classifier
from train.expression.config import TrainConfig
from train.expression.evaluate import Evaluation, evaluate
from train.expression.fit import fit
from train.expression.open import fit_classic, open_classifier
from train.expression.reports.report import to_json
from train.expression.scores import Scores, measure
from train.models.classic import FEATURES

SHARED = ("data", "labels", "input", "made")  # what is the same in every run


@dataclass(frozen=True)
class Repeats:
    """Hold the evaluations of several runs; pooled: all their rows as one, where every row was judged once (folds)."""

    name: str
    runs: dict[str, Evaluation]
    pooled: Scores | None

    @property
    def accuracies(self) -> list[float]:
        """Return the accuracy of every run, 0-1."""
        return [found.first.accuracy for found in self.runs.values()]

    @property
    def mean(self) -> float:
        """Return the mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """Return the standard deviation of the accuracies between runs, 0 for a single one."""
        return statistics.stdev(self.accuracies) if len(self.runs) > 1 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        first = next(iter(self.runs.values()))
        return {
            **{key: value for key, value in to_json(first).items() if key in SHARED},
            "name": self.name,
            "mean": self.mean,
            "deviation": self.deviation,
            "runs": {name: found.first.to_json() for name, found in self.runs.items()},
            "pooled": self.pooled.to_json() if self.pooled else None,
        }


def with_seeds(config: TrainConfig, seeds: Sequence[int], split: str | None = None) -> list[tuple[TrainConfig, str]]:
    """Return the configuration once for every seed, each with its own folder and the split, if not validation."""
    copies = [config.model_copy(update={"name": f"{config.name}/seed-{seed}", "seed": seed}) for seed in seeds]
    return [(copy, split or copy.data.validation) for copy in copies]


def with_folds(config: TrainConfig) -> list[tuple[TrainConfig, str]]:
    """Return the configuration once for every fold of subjects, with the fold that it is tested on.

    Raises UserError where its splits are no folds ('not foldK' to train on, 'foldK' to judge on).
    """
    data = config.data
    if not all(
        re.fullmatch(r"(not )?fold\d(:rest|:tenth)?", split) for split in (data.train, data.validation, data.test)
    ):
        found = ", ".join((data.train, data.validation, data.test))
        raise UserError(f"{config.name}: expected splits like 'not fold0' and 'fold0' to cross-validate, found {found}")
    folded = []
    for k in range(FOLDS):
        splits = {name: re.sub(r"\d", str(k), getattr(data, name)) for name in ("train", "validation", "test")}
        update = {"name": f"{config.name}/fold-{k}", "data": data.model_copy(update=splits)}
        folded.append((config.model_copy(update=update), splits["test"]))
    return folded


def repeat(name: str, runs: Sequence[tuple[TrainConfig, str]]) -> Repeats:
    """Fit every configuration, or finish it, and judge it on the split given with it.

    Writes `repeats.json` into the folder of the runs.
    """
    found = {config.name: evaluate(_fitted(config), split) for config, split in runs}
    repeats = Repeats(name, found, _pooled(list(found.values())))
    path = runs[0][0].runs / name / "repeats.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(repeats.to_json(), indent=2) + "\n", encoding="utf-8")
    return repeats


def _fitted(config: TrainConfig) -> Classifier:
    if config.model.name in FEATURES:
        return fit_classic(config)
    here = [f"data.{name}={json.dumps(str(getattr(config.data, name)))}" for name in ("path", "cache")]
    return open_classifier(fit(config), here)  # a run that was finished knows where the data lay then


def _pooled(found: Sequence[Evaluation]) -> Scores | None:
    """Measure the rows of all folds as one, or return None where runs judged the same rows."""
    if len({evaluation.split for evaluation in found}) < max(len(found), 2):
        return None
    probabilities = np.concatenate([evaluation.probabilities for evaluation in found])
    return measure(probabilities, np.concatenate([evaluation.truth for evaluation in found]), found[0].labels)


def seeds_of(text: str) -> list[int]:
    """Read seeds like '1,2,3'. Raises UserError for anything else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise UserError(f"--seeds {text}: expected numbers like 1,2,3,4,5") from error
