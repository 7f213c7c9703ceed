"""The configuration of one training run of a landmark network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from streamer.config import Section
from train.config import Optimizer, RunConfig
from train.occluders import EVALUATION_ONLY, FAMILIES, TRAINING


class Source(Section):
    """Name a data set of `train.data.LOADERS` and how many faces of each batch come from it.

    set: or one of faces in the detector's labelled pictures (path: the file they are kept in): 'taught' for those with
    the points of MediaPipe's landmarker (teacher: its file), 'found' for all that detectors find (detectors: their
    files, the shipped one unless said), faces and things. labels: the loader's label rule. train: the split to learn
    from. cache: folder of what dlib, the teacher or detectors find; without it the set brings its own landmarks. shift:
    how far the labels lie to the right of what they mark, in distances of the outer eye corners; it is taken back.
    Where training mirrors faces, nothing else tells such a shift from noise. bias: a CSV file that says so point by
    point instead.
    """

    set: str
    path: Path
    labels: str = "none"
    train: str = "train"
    share: float = Field(gt=0, le=1)
    cache: Path | None = None
    teacher: Path | None = None
    detectors: tuple[Path, ...] = ()
    shift: float = 0.0
    bias: Path | None = None


class Architecture(Section):
    """Set the sizes of `train.models.landmarks`; size: side of the crop in pixels."""

    name: Literal["landmarks"] = "landmarks"
    size: PositiveInt = 80
    widths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (24, 40, 80, 128)
    blocks: tuple[PositiveInt, PositiveInt, PositiveInt] = (2, 2, 1)
    squeeze: PositiveInt = 32
    dropout: float = Field(default=0.1, ge=0, lt=1)


class Changes(Section):
    """Bound the random changes of a face; shares of the crop's side unless said.

    degrees: deviation of the rotation. shift, scale: how far the box may be wrong. stretch: height against width.
    occlude: share of faces that get an occluder, drawn evenly from `families`; `held_out` are for reports alone. blur,
    small, noise, dark: share of faces with the flaw. negatives: share of a batch that is no usable face: pieces of
    background, faces cut in two, far too large or too small, on their side or upside down.
    """

    degrees: float = Field(default=14, ge=0, le=60)
    shift: float = Field(default=0.18, ge=0, lt=1)
    scale: float = Field(default=0.24, ge=0, lt=1)
    stretch: float = Field(default=0.06, ge=0, lt=1)
    occlude: float = Field(default=0.5, ge=0, le=1)
    blur: float = Field(default=0.15, ge=0, le=1)
    small: float = Field(default=0.25, ge=0, le=1)
    noise: float = Field(default=0.25, ge=0, le=1)
    dark: float = Field(default=0.15, ge=0, le=1)
    negatives: float = Field(default=0.12, ge=0, lt=1)
    families: tuple[str, ...] = TRAINING
    held_out: tuple[str, ...] = EVALUATION_ONLY

    @model_validator(mode="after")
    def _families_exist_and_are_apart(self) -> Self:
        if unknown := {*self.families, *self.held_out} - set(FAMILIES):
            raise ValueError(f"unknown occluders {sorted(unknown)}: expected some of {', '.join(FAMILIES)}")
        if both := set(self.families) & {*self.held_out, *EVALUATION_ONLY}:
            raise ValueError(f"occluders {sorted(both)} are held out for reports: expected them in held_out alone")
        return self


class LandmarksConfig(RunConfig):
    """Describe a run from faces to artefact.

    margin: of the crop around the canonical face box. steps: batches an epoch. points, usable: weights of these parts
    of the loss against that of visibility, which counts 1. detector: YuNet's file, whose boxes `evaluate` judges by.
    media: the folder with `photos/dlib` and `masks`, which are for evaluation. artefact: the file that `evaluate`
    judges; the zoo's of that name unless said.
    """

    PLACES: ClassVar[Any] = {
        "runs": True,
        "detector": True,
        "media": True,
        "artefact": True,
        "sources": {"__all__": {"path", "cache", "teacher", "detectors"}},
    }

    task: Literal["landmarks"]
    margin: float = Field(default=0.15, ge=0, le=1)
    steps: PositiveInt = 500
    points: float = Field(default=12.0, gt=0)
    usable: float = Field(default=0.5, ge=0)
    sources: tuple[Source, ...] = Field(min_length=1)
    changes: Changes = Changes()
    model: Architecture = Architecture()
    optimizer: Optimizer = Optimizer(rule="adam", rate=2e-3, batch=64, weight_decay=0.02, warm_up=0.05)
    detector: Path | None = None
    media: Path | None = None
    artefact: Path | None = None
