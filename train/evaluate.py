"""Evaluate whatever maps uint8 pictures to probabilities: a checkpoint, a configuration's run or an engine file."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from engines import BACKENDS, EngineSpec, load_engine
from streamer.config import Section, check_config, load_config
from train.checkpoint import classes_of, load, restore
from train.config import Data, Input, TrainConfig
from train.fit import predict
from train.processes import first_device
from train.rows import judged_rows
from train.scores import Scores, fit_temperature, measure

Classify = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
# Rules that label the same pictures of one data set: a network trained by one is also reported by the other.
RULES = {"fer": ("ferplus_seed", "ferplus_majority")}


class Judged(Section):
    """Say which rows an engine file is judged on; `--set` overrides its keys."""

    data: Data
    input: Input


@dataclass(frozen=True)
class Classifier:
    """Answer (N, H, W, C) uint8 pictures with (N, classes) probabilities, and know the data it is judged on.

    timed: whether `classify` runs as it is served, so that its time says something. size: bytes of the artefact.
    """

    name: str
    labels: tuple[str, ...]
    classify: Classify
    data: Data
    input: Input
    timed: bool = False
    size: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """Hold what was measured on one split.

    scores: by rows judged, the configured label rule first. temperature: what the logits would have to be divided by
    on top, fitted on the validation split. probabilities (N, classes), truth (N,): the rows of the first scores.
    milliseconds: a picture at batch 8 on one thread, median, or None.
    """

    name: str
    data: Data
    split: str
    labels: tuple[str, ...]
    scores: dict[str, Scores]
    temperature: float
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]
    milliseconds: float | None
    size: int | None

    @property
    def first(self) -> Scores:
        """Return the scores of all rows by the configured label rule."""
        return next(iter(self.scores.values()))


def open_classifier(source: Path, overrides: Sequence[str] = ()) -> Classifier:
    """Open a checkpoint (`.pt`), the checkpoint of a configuration's run (`.yaml`) or an engine file.

    Raises ValueError or OSError with one line where the file is none of these or does not fit.
    """
    if source.suffix in BACKENDS:
        return _open_engine(source, overrides)
    config, labels, network = open_network(source, overrides)
    device = first_device()
    network.to(device)
    return Classifier(
        name=config.name,
        labels=labels,
        classify=lambda images: predict(network, images, device).softmax(dim=1).numpy(),
        data=config.data,
        input=config.input,
    )


def open_network(source: Path, overrides: Sequence[str] = ()) -> tuple[TrainConfig, tuple[str, ...], nn.Module]:
    """Build the averaged network of a checkpoint or a configuration's run, on the CPU; return it with its labels.

    Raises FileNotFoundError where nothing was trained yet, ValueError where the weights do not fit.
    """
    if source.suffix in {".yaml", ".yml"}:
        config = load_config(TrainConfig, source, overrides)
        source = config.runs / config.name / "checkpoint.pt"
        checkpoint = load(source)
    elif source.suffix == ".pt":
        checkpoint = load(source)
        config = check_config(TrainConfig, checkpoint["config"], overrides, str(source))
    else:
        raise ValueError(
            f"{source}: expected a configuration (.yaml), a checkpoint (.pt) or a model ({', '.join(BACKENDS)})"
        )
    return config, classes_of(checkpoint), restore(source, checkpoint, config)


def _open_engine(source: Path, overrides: Sequence[str]) -> Classifier:
    engine = load_engine(source, "expression")
    spec = engine.spec
    judged = check_config(Judged, _judged_by(spec), overrides, str(source))
    return Classifier(
        name=spec.name,
        labels=spec.labels,
        classify=lambda images: engine.infer(images)["probabilities"],
        data=judged.data,
        input=judged.input,
        timed=True,
        size=source.stat().st_size,
    )


def _judged_by(spec: EngineSpec) -> dict[str, object]:
    if spec.height is None or spec.width is None:
        raise ValueError(f"{spec.name}: expected a fixed input size to evaluate, found any")
    seen = {"size": spec.height, "width": spec.width, "channels": spec.channels, **spec.crop.model_dump()}
    return {"data": dict(spec.training.get("data", {})), "input": {**spec.training.get("input", {}), **seen}}


def evaluate(classifier: Classifier, split: str) -> Evaluation:
    """Judge a classifier on every row of a split that has a label, by each label rule of the set."""
    data = classifier.data
    rows = judged_rows(data, classifier.input, split)
    if tuple(rows.classes) != classifier.labels:
        raise ValueError(f"{classifier.name}: answers {classifier.labels}, '{data.set}' has {tuple(rows.classes)}")
    probabilities = classifier.classify(rows.images)
    scores: dict[str, Scores] = {}
    for rule in label_rules(data):
        labels = rows.labels if rule == data.labels else judged_rows(data, classifier.input, split, rule).labels
        for name, chosen in subsets(labels, rows.leaked, rows.classes).items():
            scores[f"{rule}, {name}"] = measure(probabilities[chosen], labels[chosen], rows.classes)
    labelled = rows.labels >= 0
    return Evaluation(
        name=classifier.name,
        data=data,
        split=split,
        labels=classifier.labels,
        scores=scores,
        temperature=validation_temperature(classifier),
        probabilities=probabilities[labelled],
        truth=rows.labels[labelled],
        milliseconds=milliseconds(classifier) if classifier.timed else None,
        size=classifier.size,
    )


def label_rules(data: Data) -> tuple[str, ...]:
    """List the label rules to report by, the configured one first."""
    known = RULES.get(data.set, ())
    return (data.labels, *(rule for rule in known if rule != data.labels)) if data.labels in known else (data.labels,)


def subsets(
    labels: NDArray[np.int64], leaked: NDArray[np.bool_], classes: Sequence[str]
) -> dict[str, NDArray[np.bool_]]:
    """Choose the rows to report on: all, those without a twin in another split, those of the seven basic emotions."""
    labelled = labels >= 0
    chosen = {"all rows": labelled}
    if (leaked & labelled).any():
        chosen["without duplicates"] = labelled & ~leaked
    if "contempt" in classes and (contempt := labels == classes.index("contempt")).any():
        chosen["without contempt"] = labelled & ~contempt
    return chosen


def validation_temperature(classifier: Classifier) -> float:
    """Fit the temperature that the answers still need on the validation split."""
    rows = judged_rows(classifier.data, classifier.input, classifier.data.validation)
    rows = rows[rows.labels >= 0]
    return fit_temperature(classifier.classify(rows.images), rows.labels)


def milliseconds(classifier: Classifier, runs: int = 40) -> float:
    """Return the median time a picture takes at batch 8."""
    shape = (8, *classifier.input.shape, classifier.input.channels)
    batch = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    classifier.classify(batch)
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        classifier.classify(batch)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times) / len(batch)
