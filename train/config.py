"""The configuration of one training run; `configs/train/*.yaml` hold one each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from streamer.config import Section


class Data(Section):
    """Say which faces are trained on, chosen on and reported on."""

    set: str = "fer"
    path: Path = Path("data/fer")
    labels: str = "ferplus_seed"
    train: str = "train"
    validation: str = "public"
    test: str = "private"


class Input(Section):
    """Say what the network sees: a region of the face, padded to a square and resized.

    margin, shift_y, padding: the crop recipe of `engines.Crop`. Where the pictures of a data set come already cut, it
    is the recipe that cuts a frame as they were cut.
    """

    region: str = "face"
    size: PositiveInt = 48
    channels: Literal[1, 3] = 1
    margin: float = Field(0.0, ge=-0.5, le=1)
    shift_y: float = Field(0.0, ge=-0.5, le=0.5)
    padding: int = Field(0, ge=0, le=255)


class Network(Section):
    """Name an entry of `train.models.BUILDERS` and its arguments."""

    name: str
    args: dict[str, Any] = {}


class Augment(Section):
    """Bound the random changes of a training picture; zero switches one off."""

    degrees: float = Field(12.0, ge=0)
    scale: float = Field(0.15, ge=0, lt=1)
    stretch: float = Field(0.08, ge=0, lt=1)
    shift: float = Field(0.08, ge=0, lt=1)
    flip: bool = True
    erase: float = Field(0.25, ge=0, le=1)
    blur: float = Field(0.1, ge=0, le=1)
    noise: float = Field(0.1, ge=0, le=1)


class Phase(Section):
    """Train `epochs` epochs on pictures of `size` pixels: small ones first are cheap (progressive resizing)."""

    epochs: PositiveInt
    size: PositiveInt


class Optimizer(Section):
    """Set the update rule and its one-cycle schedule."""

    rule: Literal["sgd", "momentum", "adam", "rmsprop"] = "momentum"
    rate: PositiveFloat = 0.1
    weight_decay: float = Field(5e-4, ge=0)
    batch: PositiveInt = 64
    warm_up: float = Field(0.1, ge=0, lt=1)
    average: float = Field(0.998, ge=0, lt=1)


class Serve(Section):
    """Say how the exported network answers: `flip` averages a picture with its mirror image, at twice the time."""

    flip: bool = False


class TrainConfig(Section):
    """Describe a run from data to artefact."""

    name: str
    seed: int = 1
    loss: Literal["distribution", "hard"] = "distribution"
    data: Data = Data()
    input: Input = Input()
    model: Network
    augment: Augment = Augment()
    optimizer: Optimizer = Optimizer()
    phases: tuple[Phase, ...] = Field(min_length=1)
    serve: Serve = Serve()
    runs: Path = Path("runs")

    @property
    def epochs(self) -> int:
        """Count the epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def size_at(self, epoch: int) -> int:
        """Return the picture size of an epoch, counted from 0."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase.size
            epoch -= phase.epochs
        raise ValueError(f"epoch {epoch} lies behind the last phase")
