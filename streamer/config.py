"""Configuration: YAML files checked by frozen models, with one rule for overrides (`--set a.b=value`).

Configuration stops at `streamer.build`: classes take plain values.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import platformdirs
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from engines.errors import UserError, invalid
from streamer.explain.maps import MapName
from streamer.faces.steady_landmarks import SteadySettings
from streamer.faces.track import TrackerSettings
from streamer.faces.visibility import VisibilitySettings
from streamer.records.journal import JournalSettings
from streamer.shedding import SheddingSettings
from streamer.stages.hide import Blur
from streamer.stages.perceive import DetectionSettings
from streamer.stages.smoothing import ExpressionSettings

log = logging.getLogger(__name__)


class Section(BaseModel):
    """Be the base of every configuration section: immutable, and an unknown key is an error.

    What is said of a section changes those keys alone: its others stay those of the default here, which may be another
    than the section has by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keep_other_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        defaults = {name: field.default for name, field in cls.model_fields.items() if name in values}
        said = {name: one.model_dump(exclude_unset=True) for name, one in defaults.items() if isinstance(one, Section)}
        return {**values, **{name: _merged(default, values[name]) for name, default in said.items()}}


def _merged(default: Any, given: Any) -> Any:
    """Return what is given over a default, key by key."""
    if not isinstance(default, Mapping) or not isinstance(given, Mapping):
        return given
    return {**default, **{key: _merged(default.get(key), one) for key, one in given.items()}}


PRESETS = Path(__file__).resolve().parents[1] / "configs"  # by place: another may have that name
APP = "emotion-streamer"  # folder of its own in the user's cache
Precision = Literal["auto", "f32", "bf16", "f16", "int8"]


class DetectorConfig(Section):
    """Choose the face detector.

    kind: our own ('zoo'), dlib's ('hog', for faces that look at the camera) or YuNet from a file of yours. model: the
    ONNX file of kind 'yunet', or of 'zoo', which has a shipped one; `sha256` what it must be. min_face, threshold:
    each kind has its own where none is given. tile: pixels; larger pictures are searched in tiles of that side, for
    photos. budget: of kind 'zoo', seconds a picture, to which small faces are sacrificed.
    """

    kind: Literal["zoo", "hog", "yunet"] = "zoo"
    model: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    min_face: PositiveInt | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    tile: int | None = Field(default=None, ge=320)
    budget: PositiveFloat | None = None
    precision: Precision = "auto"

    @model_validator(mode="after")
    def _has_model(self) -> Self:
        if self.kind == "yunet" and self.model is None:
            raise ValueError("kind 'yunet' needs 'model', the path of its ONNX file")
        return self


class ClassifierConfig(Section):
    """Choose the expression network: a file, or `zoo/NAME` for a shipped one."""

    model: Path = Path("zoo/face.onnx")
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    precision: Precision = "auto"


class LandmarksConfig(Section):
    """Choose the 68 landmarks: the network of kind 'zoo', dlib's predictor (extra `dlib-landmarks`), or none.

    model: a file of yours instead; `sha256` what it must be. steady: how they are smoothed over time.
    """

    kind: Literal["zoo", "dlib", "none"] = "zoo"
    model: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    precision: Precision = "auto"
    steady: SteadySettings = SteadySettings()


class SourceConfig(Section):
    """Set deadlines of live sources and the pace of picture folders, in seconds; retries: null means for ever.
    patient: wait for a live source that is not there at the start.

    width, height, fps: what a webcam is asked for. decode: video on the processor or on a device, see `open_source`.
    """

    timeout: float = Field(default=3.0, gt=0, le=10)
    retries: int | None = Field(default=None, ge=0)
    patient: bool = False
    period: PositiveFloat = 1.0
    width: PositiveInt | None = None
    height: PositiveInt | None = None
    fps: PositiveFloat | None = None
    decode: Literal["auto", "cpu", "hw"] = "auto"


class MetricsConfig(Section):
    """Serve health and Prometheus metrics, on a listener of their own.

    port: 0 takes any free one; None is none for `streamer run`, and for `streamer serve` the one after `serve.port`.
    """

    port: int | None = Field(default=None, ge=0, le=65535)
    address: str = "127.0.0.1"


class OverlayConfig(Section):
    """Choose what is drawn over the picture.

    bars: the probabilities of few faces. cam: where the network looked, from its output `map`, of `label` (the shown
    one unless said); `model` is a network for that alone. interval, budget: see `MapSettings`.
    """

    bars: bool = True
    cam: bool = False
    map: MapName = "cam"
    label: str | None = None
    model: Path | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    interval: float = Field(default=0.05, ge=0)
    budget: PositiveFloat = 0.08


class PrivacyConfig(Section):
    """Hide faces, or the whole frame, in everything that is written or served. Logs hold no pictures."""

    blur: Blur = "none"


class ServeConfig(Section):
    """Set the control server of `streamer serve`.

    streams: the most at once. load: busy share of the busiest stage, 0-1, above which no stream is added. requests: the
    most a second of one client. files: whether files of this machine may be added, beside cameras and URLs. state: file
    that keeps the streams that were added, over restarts; it may hold passwords of cameras.
    """

    address: str = "127.0.0.1"
    port: int = Field(default=8765, ge=0, le=65535)
    streams: PositiveInt = 64
    load: float = Field(default=0.9, gt=0, le=1)
    requests: PositiveInt = 20
    files: bool = False
    state: Path | None = None


class EventsConfig(Section):
    """Keep the events of `--events` on disk while the broker is away.

    spool: file, in the cache folder unless given. spool_bytes: the most that may wait. ca, certificate, key: PEM files
    for TLS, see `streamer.events.Tls`.
    """

    spool: Path | None = None
    spool_bytes: PositiveInt = 256 << 20
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class Config(Section):
    """Describe how the analyzer runs; `configs/default.yaml` explains every key.

    regions: judges the parts of partly hidden faces. attention: looks at whole photos where that is asked for. cache:
    folder for compiled models and what was measured on this machine; None keeps nothing.
    """

    source: SourceConfig = SourceConfig()
    detector: DetectorConfig = DetectorConfig()
    detection: DetectionSettings = DetectionSettings()
    tracker: TrackerSettings = TrackerSettings()
    landmarks: LandmarksConfig = LandmarksConfig()
    classifier: ClassifierConfig = ClassifierConfig()
    regions: ClassifierConfig | None = ClassifierConfig(model=Path("zoo/regions.onnx"))
    expression: ExpressionSettings = ExpressionSettings()
    visibility: VisibilitySettings = VisibilitySettings()
    log: JournalSettings = JournalSettings()
    events: EventsConfig = EventsConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    shedding: SheddingSettings = SheddingSettings()
    serve: ServeConfig = ServeConfig()
    metrics: MetricsConfig = MetricsConfig()
    cache: Path | None = None
    overlay: OverlayConfig = OverlayConfig()
    attention: ClassifierConfig = ClassifierConfig(model=Path("zoo/attention.onnx"))


Model = TypeVar("Model", bound=Section)


def load_config(model: type[Model], path: Path | str | None, overrides: Sequence[str] = ()) -> Model:
    """Read `path` (or the defaults), apply `a.b=value` overrides and check the result; text may name a preset.

    Raises UserError with one line that names each wrong key, and OSError where the file cannot be read.
    """
    path = preset(path) if isinstance(path, str) else path
    return check_config(model, _read(path) if path else {}, overrides, str(path or "configuration"))


def with_cache(config: Config) -> Config:
    """Return the configuration with the user's cache folder where it names none, and where the user has a home."""
    try:
        return config if config.cache else config.model_copy(update={"cache": Path(platformdirs.user_cache_dir(APP))})
    except RuntimeError as error:  # as in some containers
        log.warning("no cache for compiled models: %s", error)
        return config


def preset(name: str) -> Path:
    """Find a configuration by path or by the name of a shipped preset. Raises FileNotFoundError that lists those."""
    if Path(name).is_file():
        return Path(name)
    if (shipped := PRESETS / f"{name.removesuffix('.yaml')}.yaml").is_file():
        return shipped
    names = ", ".join(sorted(path.stem for path in PRESETS.glob("*.yaml")))
    raise FileNotFoundError(f"{name}: expected a YAML file or one of the presets {names}")


def check_config(model: type[Model], values: dict[str, Any], overrides: Sequence[str], source: str) -> Model:
    """Apply `a.b=value` overrides to `values` and check the result; `source` names them in a message.

    Raises UserError with one line that names each wrong key.
    """
    for override in overrides:
        _apply(values, override)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(source, error) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected keys and values at the top, found {type(values).__name__}")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {override}: expected a.b=value")
    *parents, last = key.split(".")
    for parent in parents:
        if values.get(parent) is None:
            values[parent] = {}
        child = values[parent]
        if not isinstance(child, dict):
            raise UserError(f"--set {override}: '{parent}' holds a value, not keys")
        values = child
    try:
        values[last] = text if _is_address(text) else yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not YAML") from error


def _is_address(text: str) -> bool:
    """Tell an IPv6 address, which YAML would take for a mapping or for a number to the base of 60."""
    try:
        return isinstance(ip_address(text), IPv6Address)
    except ValueError:
        return False
