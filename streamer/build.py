"""Turn a configuration into the parts of a pipeline: the one place that knows both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from engines import ZOO, Engine, EngineSpec, load_engine
from engines.errors import UserError
from engines.finite import Finite
from streamer.config import ClassifierConfig, Config, DetectorConfig, LandmarksConfig, OverlayConfig
from streamer.explain.maps import Explainer, MapSettings, check_maps
from streamer.faces.decode import YUNET
from streamer.faces.detect import Detector, HogDetector, Searcher, YuNetDetector, ZooDetector
from streamer.faces.landmarks import DlibLandmarker, Landmarker, ZooLandmarker, installed_predictor
from streamer.faces.regions import REGIONS
from streamer.faces.track import Tracker
from streamer.pipeline import Closable, OnState, Pipeline
from streamer.shedding import SheddingSettings
from streamer.sources import Source
from streamer.stages.express import Expresser
from streamer.stages.hide import Hiding
from streamer.stages.perceive import Perceiver
from streamer.watching.metrics import Metrics

TUNABLE = ("detection", "expression", "privacy")  # sections that `Stages.retune` takes over while running
SHIPPED_DETECTOR = Path("zoo/detector.onnx")
SHIPPED_LANDMARKS = Path("zoo/landmarks.onnx")

Settings = TypeVar("Settings")
Part = TypeVar("Part")


def build_pipeline(
    config: Config, sources: Sequence[Source], metrics: Metrics | None = None, on_state: OnState | None = None
) -> Pipeline:
    """Load the models and put the stages together; nothing runs yet.

    Raises UserError or OSError with one line that says what to change.
    """
    return build_stages(config).pipeline(sources, metrics, on_state)


@dataclass(frozen=True)
class Stages:
    """Hold what is called with frames, and what to close when it is called no longer.

    finish: calls `express`, and hides what is not to be seen. shedding, checks: see `Pipeline`.
    """

    perceive: Perceiver
    express: Expresser
    finish: Hiding
    owned: Sequence[Closable]
    shedding: SheddingSettings
    checks: Sequence[Finite] = ()

    def pipeline(
        self,
        sources: Sequence[Source],
        metrics: Metrics | None = None,
        on_state: OnState | None = None,
        on_poll: Callable[[], None] | None = None,
        *,
        keep_open: bool = False,
    ) -> Pipeline:
        """Return a pipeline that calls these stages, and closes what they own at its end."""
        return Pipeline(
            sources,
            self.perceive,
            self.finish,
            metrics=metrics,
            on_state=on_state,
            on_poll=on_poll,
            keep_open=keep_open,
            owned=self.owned,
            shedding=self.shedding,
            checks=self.checks,
        )

    def retune(self, config: Config) -> None:
        """Take over new settings of the sections in `TUNABLE` while running; they hold for faces in view too.

        The settings are frozen, and each is handed over by one assignment, which a stage sees at its next call. Raises
        UserError, and changes nothing, where a network cannot answer as they ask.
        """
        self.express.check(config.expression)
        self.perceive.settings, self.express.settings = config.detection, config.expression
        self.finish.blur = config.privacy.blur

    def forget(self, stream: str) -> None:
        """Drop what all stages know of a stream that has ended; for a caller without threads."""
        self.perceive.forget(stream)
        self.finish.forget(stream)

    def close(self) -> None:
        """Close engines and detectors; a pipeline does so itself."""
        for one in self.owned:
            one.close()


@dataclass(frozen=True)
class Parts:
    """Hold the opened models that stages call, by one set of stages at a time.

    regions: judges partly hidden faces. maps: a network for maps alone. owned: those that were opened here, which
    stages close with themselves.
    """

    detector: Detector
    landmarker: Landmarker | None
    classifier: Engine
    regions: Engine | None = None
    maps: Engine | None = None
    owned: Sequence[Closable] = ()

    def stages(self, config: Config) -> Stages:
        """Make what is called with frames, with nothing known of any stream yet."""
        steady = config.landmarks.steady
        min_face = self.detector.min_face if isinstance(self.detector, Searcher) else config.detector.min_face or 1
        tracker, settings = partial(Tracker, config.tracker), config.detection
        perceive = Perceiver(self.detector, tracker, settings, self.landmarker, steady, min_face)
        explainer = Explainer(_map_settings(config.overlay), self.maps) if config.overlay.cam else None
        express = Expresser(self.classifier, config.expression, explainer, config.visibility, self.regions)
        hiding = Hiding(express, config.privacy.blur, config.tracker.max_age)
        parts = self.detector, self.landmarker, explainer, express
        checks = [part.finite for part in parts if isinstance(part, Searcher | ZooLandmarker | Explainer | Expresser)]
        return Stages(perceive, express, hiding, self.owned, config.shedding, checks)

    def close(self) -> None:
        """Close what was opened here."""
        for one in self.owned:
            one.close()


def build_stages(config: Config) -> Stages:
    """Load the models and make what is called with frames.

    Raises UserError or OSError with one line that says what to change.
    """
    parts = load_parts(config)
    try:
        return parts.stages(config)
    except BaseException:
        parts.close()
        raise


def load_parts(
    config: Config,
    *,
    detector: Detector | None = None,
    landmarker: Landmarker | None = None,
    classifier: Engine | None = None,
) -> Parts:
    """Open the models that a configuration names, but for those that are given, which stay the caller's to close.

    Raises UserError or OSError with one line that says what to change.
    """
    owned: list[Closable] = []

    def own(part: Part) -> Part:
        """Have a part closed with the others, or where a later one is refused."""
        owned.extend([part] if isinstance(part, Closable) else [])
        return part

    try:
        looks = landmarker or own(load_landmarker(config.landmarks, config.cache))
        finds = detector or own(load_detector(config.detector, config.cache))
        judges = classifier or own(load_classifier(config.classifier, config.cache))
        check_use(judges.spec, looks is not None)
        regions = own(load_regions(config, judges.spec))
        maps = own(load_maps(config.overlay, judges.spec, config.cache))
    except BaseException:
        for one in owned:
            one.close()
        raise
    return Parts(finds, looks, judges, regions, maps, owned)


@dataclass(frozen=True)
class Kind(Generic[Settings, Part]):
    """Say how a part of one kind is opened, with a folder to cache in, and which file it reads: none unless said."""

    open: Callable[[Settings, Path | None], Part]
    file: Callable[[Settings], Path | None] = lambda config: None


def load_detector(config: DetectorConfig, cache: Path | None = None) -> Searcher:
    """Open the detector that was chosen."""
    return DETECTORS[config.kind].open(config, cache)


def load_landmarker(config: LandmarksConfig, cache: Path | None = None) -> Landmarker | None:
    """Open the landmarker that was chosen, None for the kind 'none'."""
    return LANDMARKERS[config.kind].open(config, cache)


def _detection(config: DetectorConfig, cache: Path | None, spec: EngineSpec | None = None) -> Engine:
    model = in_zoo(config.model or SHIPPED_DETECTOR)
    return load_engine(model, "detection", spec=spec, sha256=config.sha256, precision=config.precision, cache=cache)


def _chosen(config: DetectorConfig) -> dict[str, Any]:
    return config.model_dump(include={"min_face", "threshold", "tile"}, exclude_none=True)


def _open_zoo_landmarker(config: LandmarksConfig, cache: Path | None) -> ZooLandmarker:
    model = in_zoo(config.model or SHIPPED_LANDMARKS)
    engine = load_engine(model, "landmarks", sha256=config.sha256, precision=config.precision, cache=cache)
    try:
        return ZooLandmarker(engine)
    except UserError:
        engine.close()
        raise


DETECTORS: dict[str, Kind[DetectorConfig, Searcher]] = {
    "zoo": Kind(
        lambda config, cache: ZooDetector(_detection(config, cache), budget=config.budget, **_chosen(config)),
        lambda config: in_zoo(config.model or SHIPPED_DETECTOR),
    ),
    "hog": Kind(lambda config, cache: HogDetector(**_chosen(config))),
    "yunet": Kind(
        lambda config, cache: YuNetDetector(_detection(config, cache, YUNET), **_chosen(config)),
        lambda config: config.model and in_zoo(config.model),
    ),
}
LANDMARKERS: dict[str, Kind[LandmarksConfig, Landmarker | None]] = {
    "zoo": Kind(_open_zoo_landmarker, lambda config: in_zoo(config.model or SHIPPED_LANDMARKS)),
    "dlib": Kind(
        lambda config, cache: DlibLandmarker(config.model), lambda config: config.model or installed_predictor()
    ),
    "none": Kind(lambda config, cache: None),
}


def load_classifier(config: ClassifierConfig, cache: Path | None = None) -> Engine:
    """Open the expression network that was chosen."""
    return load_engine(
        in_zoo(config.model), "expression", sha256=config.sha256, precision=config.precision, cache=cache
    )


def load_regions(config: Config, classifier: EngineSpec) -> Engine | None:
    """Open the network for partly hidden faces, where something tells what is hidden. Raises UserError for no such."""
    if config.regions is None or config.landmarks.kind != "zoo":
        return None
    engine = load_classifier(config.regions, config.cache)
    if engine.spec.labels != classifier.labels or not engine.spec.views:
        engine.close()
        raise UserError(
            f"regions '{engine.spec.name}': expected several regions and the labels of '{classifier.name}'; with "
            "regions=null the classifier judges partly hidden faces too"
        )
    return engine


def models(config: Config) -> list[Path]:
    """Return the model files that a run of this configuration reads."""
    detector, landmarks = config.detector, config.landmarks
    networks = [config.classifier.model]
    if config.overlay.cam and config.overlay.model:
        networks.append(config.overlay.model)
    if config.regions and landmarks.kind == "zoo":
        networks.append(config.regions.model)
    parts = DETECTORS[detector.kind].file(detector), LANDMARKERS[landmarks.kind].file(landmarks)
    return [*map(in_zoo, networks), *filter(None, parts)]


def load_maps(config: OverlayConfig, classifier: EngineSpec, cache: Path | None = None) -> Engine | None:
    """Open the network for maps alone, where one is named. Raises UserError where nothing gives the maps wanted."""
    if not config.cam:
        return None
    own = ClassifierConfig(model=config.model, sha256=config.sha256) if config.model else None
    engine = load_classifier(own, cache) if own else None
    try:
        check_maps(_map_settings(config), engine.spec if engine else classifier)
    except UserError:
        if engine:
            engine.close()
        raise
    return engine


def _map_settings(config: OverlayConfig) -> MapSettings:
    return MapSettings(config.map, config.label, config.interval, config.budget)


def check_use(spec: EngineSpec, located: bool) -> None:
    """Raise UserError where the pipeline cannot give an expression network what its spec asks for.

    located: whether landmarks are looked for.
    """
    if spec.height is None or spec.width is None:
        raise UserError(f"classifier '{spec.name}': expected a fixed input size in its spec, found none")
    if spec.crop.region not in REGIONS:
        raise UserError(f"classifier '{spec.name}': unknown region '{spec.crop.region}' in its spec")
    if spec.crop.region != "face" and not located:
        raise UserError(f"classifier '{spec.name}' sees the {spec.crop.region}: set landmarks.kind")


def in_zoo(model: Path) -> Path:
    """Turn `zoo/NAME` into the path of a shipped model; leave any other path as it is."""
    return ZOO / model.name if model.parent == Path("zoo") else model
