"""The configuration of one training run of a face detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from streamer.config import Section
from train.config import Optimizer, RunConfig


class DetectorData(Section):
    """Say where the sources and the teacher lie, and where the labelled pictures are kept.

    root: the folder with `data/faces`, `data/fer`, `data/landmarks`, `media/masks`, `media/photos/groups`,
    `media/videos`, and `data/scenes` where there is one. teacher: the ONNX file of YuNet. witness: that of CenterFace,
    the second teacher, or None. backgrounds: a folder of pictures without people, or None. fonts: a folder of fonts
    that print is drawn with, or None. cache: one npz, made on the first use. most: at most so many pictures a source,
    evenly chosen; 0 takes all.
    """

    root: Path = Path("data/detector")
    teacher: Path = Path("data/face_detection_yunet_2023mar.onnx")
    witness: Path | None = None
    backgrounds: Path | None = None
    fonts: Path | None = None
    cache: Path = Path("data/cache/detector.npz")
    most: int = Field(default=0, ge=0)


class Scenes(Section):
    """Bound the random scenes that are trained on; sizes in pixels of the scene, the rest are shares of all scenes.

    smallest, largest: longer side of a face. degrees: of rotation. occlude: share of faces that get something over
    mouth, eyes or one side. blur, coarse, noise, jpeg, dark, glare: share of scenes with the flaw; coarse: they are
    shown enlarged from few pixels.
    """

    smallest: float = Field(default=12, gt=0)
    largest: float = Field(default=320, gt=0)
    degrees: float = Field(default=75, ge=0, le=180)
    occlude: float = Field(default=0.2, ge=0, le=1)
    blur: float = Field(default=0.25, ge=0, le=1)
    coarse: float = Field(default=0.12, ge=0, le=1)
    noise: float = Field(default=0.25, ge=0, le=1)
    jpeg: float = Field(default=0.2, ge=0, le=1)
    dark: float = Field(default=0.2, ge=0, le=1)
    glare: float = Field(default=0.1, ge=0, le=1)


class Architecture(Section):
    """Set the widths of `train.models.detector`: the stem and the three levels of strides 8, 16 and 32.

    normalised: with batch norms, for a start from nothing; without them a step takes 0.57 of the time.
    """

    name: Literal["detector"] = "detector"
    stem: PositiveInt = 24
    widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (48, 80, 96)
    blocks: tuple[int, int, int] = (2, 3, 2)
    pyramid: PositiveInt = 48
    normalised: bool = True


class Losses(Section):
    """Weigh the parts of the loss against the score's, which counts 1."""

    box: float = Field(default=2.0, ge=0)
    points: float = Field(default=0.5, ge=0)


class DetectorConfig(RunConfig):
    """Describe a run from sources to artefact.

    task: what tells this configuration from that of an expression network. steps: batches an epoch; scenes are drawn
    anew in each. init: an artefact to go on from, of the same or smaller widths; blocks that it lacks start small.
    echo: how often a scene is shown, every second time mirrored. mine: before each epoch the network looks for its own
    false alarms in the training pictures, and parts of scenes show them. phases: scenes of growing side. workers:
    processes that draw scenes; 0 draws them in the trainer. artefact: the file that `evaluate` judges; the zoo's of
    that name unless said.
    """

    PLACES: ClassVar[Any] = {
        "runs": True,
        "workers": True,
        "artefact": True,
        "data": {"root", "teacher", "witness", "backgrounds", "fonts", "cache"},
    }

    task: Literal["detection"]
    precision: Literal["auto", "f32", "bf16"] = "f32"
    steps: PositiveInt = 250
    init: Path | None = None
    echo: PositiveInt = 1
    mine: bool = False
    workers: int = Field(default=0, ge=0)
    artefact: Path | None = None
    data: DetectorData = DetectorData()
    scenes: Scenes = Scenes()
    model: Architecture = Architecture()
    losses: Losses = Losses()
    optimizer: Optimizer = Optimizer(rule="adam", rate=2e-3, batch=16, weight_decay=1e-3)
