"""What an artefact says about itself: `EngineSpec` travels inside the file, nothing is guessed from names or shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

from engines.errors import UserError, invalid

Side = Annotated[int, Field(gt=0, le=4096)]
Task = Literal["expression", "detection", "landmarks"]


class Strict(BaseModel):
    """Be immutable and refuse unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Crop(Strict):
    """Say how the network's picture is cut out of a frame.

    region: name of the face region. margin: added on every side, as a share of the region's longer side. shift_y: moves
    the crop down by this share of its side. padding: grey level of the constant outside the region. mode: 'pad' to the
    shape of the input, cut the 'centre' out instead, or 'mask': the whole face is cut, and those of eyes, nose and
    mouth that the region lacks are hidden, and where one part is left, all around landmarks that cannot be seen too.
    view_margin: in that mode, what is hidden around the parts' landmarks, as a share of the longer side. eyes: 'both',
    or the one side that Lian et al. print.
    """

    region: str = "face"
    margin: float = Field(default=0.0, ge=-0.5, le=1.0)
    shift_y: float = Field(default=0.0, ge=-0.5, le=0.5)
    padding: int = Field(default=0, ge=0, le=255)
    mode: Literal["pad", "centre", "mask"] = "pad"
    view_margin: float = Field(default=0.1, ge=0, le=0.5)
    eyes: Literal["both", "paper"] = "both"


class View(Strict):
    """Describe how a network of several regions answers when it is shown one of them.

    temperature: still to be applied to the logits behind its probabilities (`engines.tempered`). reliability:
    measured precision of each label as it is then answered, 0-1.
    """

    temperature: PositiveFloat = 1.0
    reliability: Mapping[str, float] = {}


class Condition(Strict):
    """Test whether a feature before the last layer lies above a threshold, or not above it."""

    feature: int = Field(ge=0)
    above: bool
    threshold: float


class Rule(Strict):
    """Say in readable conditions when a network answers a label (Liu, section 2.4).

    alternatives: a disjunction of conjunctions of conditions. fidelity: share of rows not fitted on
    where rule and network agree; baseline: of never giving the label; balanced: mean over rows with and without it.
    """

    label: str
    alternatives: tuple[tuple[Condition, ...], ...]
    fidelity: float = Field(ge=0, le=1)
    baseline: float = Field(ge=0, le=1)
    balanced: float = Field(ge=0, le=1)

    def holding(self, features: NDArray[np.float32]) -> tuple[Condition, ...] | None:
        """Return the alternative that holds for (K,) features, None where none does."""
        for alternative in self.alternatives:
            if all((features[one.feature] > one.threshold) == one.above for one in alternative):
                return alternative
        return None

    def text(self) -> str:
        """Return the rule in one line."""
        return " or ".join(f"({text_of(alternative)})" for alternative in self.alternatives) or "never"


def text_of(conditions: Sequence[Condition]) -> str:
    """Return a conjunction of conditions in one line."""
    parts = [f"feature {one.feature} {'>' if one.above else '<='} {one.threshold:.3f}" for one in conditions]
    return " and ".join(parts) or "always"


class EngineSpec(Strict):
    """Describe a network: its input, its outputs, how it was made and how far it can be trusted.

    height, width: input size in pixels, or None where any size fits. resizable: any size fits too, a whole photo say;
    height and width are those of a face. channels: 1 grey, 3 BGR. outputs: names in the
    order of the graph. temperature: the logits were divided by it before the softmax. reliability: measured precision
    of each label as this network answers it, 0-1. prior: the shares of the labels that it answers for, where that was
    chosen; empty where it is the prior of what it was trained on. views: by region, for a network that can be shown any
    one of them. rules: a readable approximation of the last layer. prototypes: by label, a PNG in base64 of what a face
    that is answered so typically looks like, the mean of many.
    """

    name: str
    task: Task
    version: str = "1"
    height: Side | None
    width: Side | None
    resizable: bool = False
    channels: Literal[1, 3]
    crop: Crop = Crop()
    labels: tuple[str, ...] = ()
    outputs: tuple[str, ...] = Field(min_length=1)
    temperature: PositiveFloat = 1.0
    reliability: Mapping[str, float] = {}
    prior: Mapping[str, float] = {}
    views: Mapping[str, View] = {}
    rules: tuple[Rule, ...] = ()
    prototypes: Mapping[str, str] = {}
    metrics: Mapping[str, float] = {}
    training: Mapping[str, Any] = {}

    @property
    def taken(self) -> tuple[int | None, int | None, int]:
        """Return the height, width and channels of an input picture; None where any will do."""
        return (None, None, self.channels) if self.resizable else (self.height, self.width, self.channels)

    @property
    def trial(self) -> tuple[int, int, int, int]:
        """Return the shape of one picture for a trial run, 64x64 where any size will do."""
        return (1, self.height or 64, self.width or 64, self.channels)

    @classmethod
    def parse(cls, text: str, source: str) -> EngineSpec:
        """Read a spec from JSON. Raises UserError that names the artefact and the wrong key."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise invalid(f"{source}: its spec is not valid", error) from error

    def require(self, task: Task, source: str) -> None:
        """Raise UserError where the network was made for something else than `task`."""
        if self.task != task:
            raise UserError(f"{source}: expected a network for {task}, found one for {self.task}")

    def view(self, region: str) -> View:
        """Return how the network answers when it is shown a region."""
        return self.views.get(region, View(reliability=self.reliability))


def tempered(probabilities: NDArray[np.float32], temperature: float | NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Divide the logits behind (N, C) probabilities by a temperature, or by (N, 1) of them (Guo et al. 2017)."""
    logits = np.log(np.maximum(probabilities, 1e-30)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
