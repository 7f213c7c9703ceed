"""The configuration of one training run of an expression network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from streamer.config import Section
from train.config import RunConfig

Loss = Literal["distribution", "soft", "hard"]
FaceBox = Literal["picture", "detector", "landmarks"]
LabelMap = Annotated[
    tuple[tuple[str, str | None], ...],
    BeforeValidator(lambda value: tuple(value.items()) if isinstance(value, Mapping) else value),
]


class OneSet(Section):
    """Name a data set among several; `Data` says what its keys are.

    path: where it lies, a folder of its name in `data.path` unless said. share: of an epoch, against the other sets'
    shares; rows come again as often as it takes. loss: what is trained towards, see `TrainConfig`, or the answers of
    the 'teacher' alone, for faces without labels; then nothing is chosen or reported by the set. face_box: the ways to
    cut its faces, see `Input`; one of them is drawn for each picture, and it is judged by each.
    """

    set: str
    path: Path | None = None
    labels: str
    train: str = "train"
    validation: str | None = None
    test: str | None = None
    map: LabelMap = ()
    share: PositiveFloat
    loss: Loss | Literal["teacher"] = "soft"
    face_box: tuple[FaceBox, ...] = Field(default=("picture",), min_length=1)

    @model_validator(mode="after")
    def _is_judged_by_labels(self) -> Self:
        judged = self.validation is not None and self.test is not None
        if self.loss != "teacher" and not judged:
            raise ValueError(
                f"{self.set}: expected a validation and a test split, found {self.validation}, {self.test}"
            )
        if self.loss == "teacher" and (self.validation or self.test):
            raise ValueError(f"{self.set}: expected no split to judge by, as it has the teacher's answers alone")
        return self


class JudgedSet(Section):
    """Name a data set that is judged on alone: no photo of it is trained on."""

    set: str
    path: Path | None = None
    labels: str
    split: str


class Data(Section):
    """Say which faces are trained on, chosen on and reported on.

    set: a name of `train.data.LOADERS`. labels: the loader's label rule. map: emotions for labels that the set calls
    otherwise; null leaves their rows out. landmarks: what finds them in pictures that come without, dlib's predictor or
    a landmark network, a file or zoo/NAME. finder: what finds faces whose place is not known, HOG or the detector that
    we ship, as it looks at photos. cache: where faces that had to be found and landmarks of dlib are kept. sets:
    several sets to train on at once, in place of the one. judged: sets that have no part in training.
    """

    set: str = "fer"
    path: Path = Path("data/fer")
    labels: str = "ferplus_seed"
    train: str = "train"
    validation: str = "public"
    test: str = "private"
    map: LabelMap = ()
    landmarks: Path = Path("dlib")
    finder: Literal["hog", "zoo"] = "hog"
    cache: Path = Path("data/cache")
    sets: tuple[OneSet, ...] = ()
    judged: tuple[JudgedSet, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _lies_below_one_folder(cls, values: Any) -> Any:
        """Look for several sets below `data` where nothing is said."""
        several = isinstance(values, Mapping) and values.get("sets") and "path" not in values
        return {**values, "path": Path("data")} if several else values

    def alone(self, one: OneSet) -> Data:
        """Return what is said of one of several sets as of a set alone."""
        own = one.model_dump(include={"set", "labels", "train", "validation", "test", "map"}, exclude_none=True)
        return self.model_copy(update={**own, "path": self.place(one), "sets": (), "judged": ()})

    def place(self, one: OneSet | JudgedSet) -> Path:
        """Return where one of several sets lies."""
        return one.path or self.path / one.set


class Input(Section):
    """Say what the network sees: a region of the face, padded to a square and resized.

    size, width: height and width in pixels; without a width the picture is square. margin, shift_y, padding: the crop
    recipe of `engines.Crop`. Where the pictures of a data set come already cut, it is the recipe that cuts a frame as
    they were cut. face_box: what the region 'face' is cut by: the picture as it comes, the box that the set or a
    detector gives, or the tight box of the 68 landmarks, as Lian et al. do; all other regions go by landmarks. mode:
    'pad' to a square, 'centre', a square out of the region without padding, at a random place in training, or 'mask':
    the whole face, of which those of eyes, nose and mouth that the region lacks are hidden. regions: for one network
    that learns several regions: one of them is drawn for every training picture, and it is judged by `region` or by
    each. eyes: 'both', or the one eye of Lian et al., Table 4. align: turn and scale the picture so that the eyes lie
    in fixed places.
    """

    region: str = "face"
    regions: tuple[str, ...] = ()
    size: PositiveInt = 48
    width: PositiveInt | None = None
    channels: Literal[1, 3] = 1
    margin: float = Field(default=0.0, ge=-0.5, le=1)
    shift_y: float = Field(default=0.0, ge=-0.5, le=0.5)
    padding: int = Field(default=0, ge=0, le=255)
    face_box: FaceBox = "picture"
    mode: Literal["pad", "centre", "mask"] = "pad"
    view_margin: float = Field(default=0.1, ge=0, le=0.5)
    eyes: Literal["both", "paper"] = "both"
    align: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Return height and width in pixels."""
        return self.size, self.width or self.size


class Network(Section):
    """Name an entry of `train.models.BUILDERS` and its arguments."""

    name: str
    args: dict[str, Any] = Field(default_factory=dict)


class Augment(Section):
    """Bound the random changes of a training picture; zero switches one off.

    degrees: rotation. scale, stretch: zoom, and height against width, as shares. shift: translation as a share of the
    side. crop: training pictures are cut larger by this share of the side, and a random window of them is seen. erase,
    blur, noise: the share of pictures that get it. mixup: concentration of the blend of two pictures and their targets.
    occlude: the share of pictures that get one of `train.occluders.TRAINING` over the face, where a network learns
    several regions: it is shown the one that the occluder leaves. light, small, jpeg: the share of pictures that are
    made brighter or darker with what is too bright clipped, that come from a face of 12 to 32 pixels, and that were
    compressed.
    """

    degrees: float = Field(default=12.0, ge=0)
    scale: float = Field(default=0.15, ge=0, lt=1)
    stretch: float = Field(default=0.08, ge=0, lt=1)
    shift: float = Field(default=0.08, ge=0, lt=1)
    crop: float = Field(default=0.0, ge=0, lt=1)
    flip: bool = True
    erase: float = Field(default=0.25, ge=0, le=1)
    blur: float = Field(default=0.1, ge=0, le=1)
    noise: float = Field(default=0.1, ge=0, le=1)
    mixup: float = Field(default=0.0, ge=0)
    occlude: float = Field(default=0.0, ge=0, le=1)
    light: float = Field(default=0.0, ge=0, le=1)
    small: float = Field(default=0.0, ge=0, le=1)
    jpeg: float = Field(default=0.0, ge=0, le=1)


class Prior(Section):
    """Say for which prior of the labels a network of several sets answers (Menon et al. 2021, Eq. 10).

    Each set's own prior, taken out of its loss to the power `tau`, gives way to that of `answers`: the 'mean' of the
    sets' priors, all labels 'even', or the shares that are given. 0 leaves the priors as they are.
    """

    tau: float = Field(default=1.0, ge=0, le=2)
    answers: Literal["mean", "even"] | Mapping[str, PositiveFloat] = "mean"


class Serve(Section):
    """Say how the exported network answers: `flip` averages a picture with its mirror image, at twice the time.

    int8: write a quantised form beside it too, which serves where it is the fastest. resizable: let it take pictures of
    any size, whole photos too. prior: shares of the labels that it answers for, where a network of several sets shall
    answer for others than it was trained to (`prior.answers`).
    """

    flip: bool = False
    prior: Mapping[str, PositiveFloat] | None = None
    int8: bool = False
    resizable: bool = False


class Teacher(Section):
    """Mix the answers of trained networks into the targets: `share` of them, the rest from the taggers."""

    weights: tuple[Path, ...] = Field(min_length=1)
    share: float = Field(default=0.5, ge=0, le=1)


class TrainConfig(RunConfig):
    """Describe a run from data to artefact.

    loss: targets are the taggers' 'distribution', the 'hard' label, or the label made 'soft' by `smoothing`. balance:
    draw the classes equally often ('sample') or weigh them by their rarity ('loss'). init: weights to start from, a
    checkpoint, safetensors or an exported ONNX. freeze: parameters whose names start so keep those weights.
    """

    PLACES: ClassVar[Any] = {
        "runs": True,
        "data": {"path": True, "cache": True, "sets": {"__all__": {"path"}}, "judged": {"__all__": {"path"}}},
    }

    task: Literal["expression"] = "expression"
    loss: Loss = "distribution"
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    balance: Literal["none", "sample", "loss"] = "none"
    init: Path | None = None
    freeze: tuple[str, ...] = ()
    teacher: Teacher | None = None
    prior: Prior = Prior()
    data: Data = Data()
    input: Input = Input()
    model: Network
    augment: Augment = Augment()
    serve: Serve = Serve()

    @model_validator(mode="after")
    def _all_that_is_asked_for_can_be_done(self) -> Self:
        if self.teacher and self.loss != "distribution" and not self.data.sets:
            raise ValueError(
                f"teacher: answers are mixed into the taggers' votes: expected loss 'distribution', found '{self.loss}'"
            )
        if self.augment.occlude and not self.input.regions:
            raise ValueError("augment.occlude: expected the regions in input.regions that may be left, found none")
        if not self.teacher and (untold := [one.set for one in self.data.sets if one.loss == "teacher"]):
            raise ValueError(f"data.sets: {untold[0]} has loss 'teacher': expected one in teacher.weights, found none")
        if self.data.sets and (unfit := self._with_one_set()):
            raise ValueError(f"data.sets: expected none of {', '.join(unfit)}: they are for a set alone")
        if self.input.regions and (unfit := self._without_regions()):
            raise ValueError(
                "input.regions: a network of several regions learns grey faces, one region of each as serving "
                f"shows it; expected none of {', '.join(unfit)}"
            )
        return self

    def _with_one_set(self) -> list[str]:
        """List what is asked for that is not done where several sets are learned."""
        seen = self.input
        asked = {
            "balance": self.balance != "none",
            "input.regions": bool(seen.regions),
            "input.mode=centre": seen.mode == "centre",
        }
        return [name for name, wanted in asked.items() if wanted]

    def _without_regions(self) -> list[str]:
        """List what is asked for that is not done where several regions are learned."""
        seen, augment = self.input, self.augment
        asked = {
            "input.channels=3": seen.channels == 3,
            "input.width": seen.width is not None,
            "input.mode=centre": seen.mode == "centre",
            "input.face_box=landmarks": seen.face_box == "landmarks",
            "input.align": seen.align,
            "augment.crop": augment.crop > 0,
            "augment.mixup": augment.mixup > 0,
        }
        return [name for name, wanted in asked.items() if wanted]
