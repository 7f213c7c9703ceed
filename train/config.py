"""What every training run says of itself, whatever it trains; `configs/train/*.yaml` hold one run each."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from streamer.config import Section


class Phase(Section):
    """Train `epochs` epochs on pictures of `size` pixels: small ones first are cheap (progressive resizing)."""

    epochs: PositiveInt
    size: PositiveInt


class Optimizer(Section):
    """Set the update rule and how its rate changes.

    schedule: 'one_cycle' warms up over the share `warm_up` of the run and falls as a cosine; 'plateau' multiplies the
    rate by `factor` after `patience` epochs without a new best validation accuracy. 'momentum' is Nesterov's, 'adam'
    decays the weights apart from its steps (AdamW). average: decay of the moving
    average of the weights; 0 keeps the last ones.
    """

    rule: Literal["sgd", "momentum", "adam", "rmsprop"] = "momentum"
    rate: PositiveFloat = 0.1
    weight_decay: float = Field(default=5e-4, ge=0)
    batch: PositiveInt = 64
    schedule: Literal["one_cycle", "plateau", "constant"] = "one_cycle"
    warm_up: float = Field(default=0.1, ge=0, lt=1)
    patience: PositiveInt = 3
    factor: float = Field(default=0.3, gt=0, lt=1)
    average: float = Field(default=0.998, ge=0, lt=1)


class RunConfig(Section):
    """Hold what every run has, whatever it trains: the loop, its rates and its checkpoints need no more.

    precision: 'auto' computes in bf16 where the processor has it. keep: judge the averaged weights of the 'last' epoch
    or of the 'best' on what is chosen by. early_stop: end after so many epochs without a new best; 0 never. PLACES:
    keys that only say where things lie on a machine, or how many of its processes take part, as pydantic names what to
    leave out.
    """

    PLACES: ClassVar[Any] = {"runs": True}

    name: str
    seed: int = 1
    precision: Literal["auto", "f32", "bf16"] = "auto"
    model: Section
    optimizer: Optimizer = Optimizer()
    phases: tuple[Phase, ...] = Field(min_length=1)
    keep: Literal["last", "best"] = "last"
    early_stop: int = Field(default=0, ge=0)
    runs: Path = Path("runs")

    def told(self) -> dict[str, Any]:
        """Return plain values that say what is run, on whatever machine: without its places, files by their names."""
        values: dict[str, Any] = _plain(self.model_dump(exclude=self.PLACES))
        return values

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


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; of a path its name, and the folder where that tells more: a run's, or the zoo."""
    if isinstance(value, Path):
        kept = 2 if value.name == "checkpoint.pt" or value.parent.name == "zoo" else 1
        return Path(*value.parts[-kept:]).as_posix()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
