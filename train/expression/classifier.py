"""An expression network that can be judged, whatever it was opened from; `open` opens one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines import EngineSpec, Outputs, View, tempered
from train.data import FaceSet
from train.expression.batches.cutting import recipe
from train.expression.batches.rows import labelled_rows
from train.expression.config import Data, Input


@dataclass(frozen=True)
class Classifier:
    """Answer (N, H, W, C) uint8 pictures, and know the data to be judged on.

    infer: gives 'probabilities' (N, classes) and, where there are, 'features', 'cam' and 'attention'. made: model, rule
    (of the updates) and init, where they are known. timed: whether it runs as it is served, so that the timing
    is meaningful. size: bytes of the artefact. epochs: the figures of each epoch of its training, where they are known.
    calibration: what the answers to single regions still need, for a network of several. apart: no photo that it is
    judged by was trained on, near-duplicates included.
    """

    name: str
    labels: tuple[str, ...]
    infer: Callable[[NDArray[np.uint8]], Outputs]
    data: Data
    input: Input
    made: Mapping[str, Any] = field(default_factory=dict)
    timed: bool = False
    size: int | None = None
    epochs: Sequence[Mapping[str, Any]] = ()
    calibration: Mapping[str, View] = field(default_factory=dict)
    apart: bool = False

    @cached_property
    def spec(self) -> EngineSpec:
        """Say, as an artefact does, how faces are cut out for this network. Raises UserError where it cannot serve."""
        height, width = self.input.shape
        return EngineSpec(
            name=self.name,
            task="expression",
            height=height,
            width=width,
            channels=self.input.channels,
            crop=recipe(self.input),
            labels=self.labels,
            outputs=("probabilities",),
            views=self.calibration,
        )

    def classify(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (N, classes) probabilities."""
        found = self.infer(images)["probabilities"]
        view = self.calibration.get(self.input.region)
        return found if view is None else tempered(found, view.temperature)

    def views(self) -> list[Classifier]:
        """Return this network once for every region that it has learned."""
        regions = self.input.regions or (self.input.region,)
        return [replace(self, input=self.input.model_copy(update={"region": region})) for region in regions]

    def alone(self) -> list[Classifier]:
        """Return this network once for every set that it has learned, and every way to cut its faces."""
        if not self.data.sets:
            return [self]
        return [
            replace(
                self,
                name=f"{self.name}, {one.set}" + (f" by {way}" if len(one.face_box) > 1 else ""),
                data=self.data.alone(one),
                input=self.input.model_copy(update={"face_box": way}),
                apart=True,
            )
            for one in self.data.sets
            if one.loss != "teacher"
            for way in one.face_box
        ]

    def split_of(self, wanted: str | None) -> str:
        """Return the split that is wanted, validation unless said; each of several sets has names of its own."""
        own = {"validation": self.data.validation, "test": self.data.test} if self.apart else {}
        return own.get(wanted or "validation", wanted or self.data.validation)

    def rows(self, split: str) -> FaceSet:
        """Load the rows of a split that have a label, cut as the classifier sees them.

        Raises UserError where the data have other classes than it answers.
        """
        return labelled_rows(self.data, self.input, split, self.labels, self.name)
