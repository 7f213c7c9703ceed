"""Everything that engines alone can say about one answer to one face."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine
from engines.spec import Rule
from streamer.explain.maps import colour, heated
from streamer.explain.occlusion import grid_of

PANEL = 224  # pixels, side of a picture in a sheet


@dataclass(frozen=True, eq=False)
class Explanation:
    """Say why a face got its answer.

    picture: (H, W, C) uint8, what the network saw. label, following: the most likely emotion and the next one.
    probabilities: by label. maps: (h, w) float32 by name, 'cam' (of the label) and 'attention' where there are. grid:
    (4, 4, 6) change of the label's probability where a cell is filled with one of six grey levels. rules: those stored
    in the artefact that stand for this label, and whether they hold for this face.
    """

    picture: NDArray[np.uint8]
    label: str
    following: str
    probabilities: Mapping[str, float]
    maps: Mapping[str, NDArray[np.float32]]
    grid: NDArray[np.float32]
    rules: tuple[tuple[Rule, bool], ...]

    def to_json(self) -> dict[str, Any]:
        """Return all but the picture as JSON values."""
        return {
            "label": self.label,
            "next": self.following,
            "probabilities": {name: round(value, 4) for name, value in self.probabilities.items()},
            "maps": {name: np.round(values.astype(float), 4).tolist() for name, values in self.maps.items()},
            "occlusion": np.round(self.grid.astype(float), 4).tolist(),
            "rules": [rule.model_dump(mode="json") | {"holds": holds} for rule, holds in self.rules],
        }

    def panels(self) -> dict[str, NDArray[np.uint8]]:
        """Return (224, 224, 3) BGR pictures by name: the face, its maps, and where hiding takes the answer away."""
        size = (PANEL, PANEL)
        large = np.asarray(cv2.resize(colour(self.picture), size, interpolation=cv2.INTER_CUBIC), np.uint8)
        found = {"face": large} | {name: heated(large, values) for name, values in self.maps.items()}
        lost = np.kron(-self.grid.mean(axis=2), np.ones((16, 16), np.float32))
        found["occlusion"] = heated(large, lost.clip(0).astype(np.float32))
        return found


def explain_face(engine: Engine, picture: NDArray[np.uint8]) -> Explanation:
    """Explain the answer to one (H, W, C) uint8 picture, cut as the engine's spec says."""
    spec, outputs = engine.spec, engine.infer(picture[None])
    probabilities = outputs["probabilities"][0]
    order = np.argsort(-probabilities, kind="stable")
    maps = {"cam": outputs["cam"][0, order[0]]} if "cam" in outputs else {}
    maps |= {"attention": outputs["attention"][0]} if "attention" in outputs else {}
    label = spec.labels[order[0]]
    features = outputs["features"][0] if "features" in outputs else np.zeros(0, np.float32)
    return Explanation(
        picture=picture,
        label=label,
        following=spec.labels[order[1]],
        probabilities={name: float(value) for name, value in zip(spec.labels, probabilities, strict=True)},
        maps=maps,
        grid=grid_of(engine, picture, int(order[0])),
        rules=tuple((rule, rule.holds(features)) for rule in spec.rules if rule.label == label and len(features)),
    )
