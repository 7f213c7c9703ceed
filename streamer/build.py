"""Turn a configuration into the parts of a pipeline: the one place that knows both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path

from engines import ZOO, Engine, load_engine
from streamer.config import ClassifierConfig, Config, DetectorConfig
from streamer.emotion import Expresser
from streamer.faces.detect import YUNET, Detector, HogDetector, YuNetDetector
from streamer.faces.landmarks import DlibLandmarker
from streamer.faces.track import Tracker
from streamer.metrics import Metrics
from streamer.perception import Perceiver
from streamer.pipeline import OnState, Pipeline
from streamer.sources import Source


def build_pipeline(
    config: Config,
    sources: Sequence[Source],
    metrics: Metrics | None = None,
    on_state: OnState | None = None,
    on_poll: Callable[[], None] | None = None,
) -> Pipeline:
    """Load the models and put the stages together; nothing runs yet.

    Raises ValueError, OSError or ImportError with one line that says what to change.
    """
    landmarker = DlibLandmarker(config.landmarks.model) if config.landmarks.kind == "dlib" else None
    detector, engine = load_detector(config.detector), load_classifier(config.classifier)
    perceive = Perceiver(detector, partial(Tracker, config.tracker), config.detection, landmarker)
    express = Expresser(engine, config.expression)
    return Pipeline(sources, perceive, express, metrics=metrics, on_state=on_state, on_poll=on_poll)


def load_detector(config: DetectorConfig) -> Detector:
    """Open the detector that was chosen."""
    if config.kind == "hog":
        return HogDetector(config.min_face, config.threshold)
    assert config.model is not None  # the configuration was checked
    engine = load_engine(config.model, "detection", spec=YUNET, sha256=config.sha256, precision=config.precision)
    return YuNetDetector(engine, config.min_face, config.threshold)


def load_classifier(config: ClassifierConfig) -> Engine:
    """Open the expression network that was chosen."""
    return load_engine(in_zoo(config.model), "expression", sha256=config.sha256, precision=config.precision)


def in_zoo(model: Path) -> Path:
    """Turn `zoo/NAME` into the path of a shipped model; leave any other path as it is."""
    return ZOO / model.name if model.parent == Path("zoo") else model


def preset(name: str) -> Path:
    """Find a configuration by path or by the name of a shipped preset. Raises FileNotFoundError that lists those."""
    if Path(name).is_file():
        return Path(name)
    folder = Path(str(files("configs")))
    if (shipped := folder / f"{name.removesuffix('.yaml')}.yaml").is_file():
        return shipped
    names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise FileNotFoundError(f"{name}: expected a YAML file or one of the presets {names}")
