"""Everything that engines alone can say about one answer to one face."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine
from engines.spec import Condition, Rule
from streamer.drawing.heat import heated
from streamer.explain.hidden_cells import grid_of
from streamer.faces.regions import crop, crops_of, face_square, moved_with, part_boxes, rolls_of, seen_boxes
from streamer.faces.roll import middles_of, upright_boxes
from streamer.stages.answers import answered, weights
from streamer.stages.smoothing import ExpressionSettings
from streamer.types import Face

PANEL = 224  # pixels, side of a picture in a sheet
AROUND = 0.15  # of the face's side, shown on every side of it
FRAME = (250, 250, 250)  # around the judged region
AS_IT_IS = ExpressionSettings()  # all labels of the network, and its prior


@dataclass(frozen=True, eq=False)
class Explanation:
    """Say why a face got its answer.

    network, region: which network answered, and what it was shown of the face. shown: the label that the face got,
    'uncertain' where none was likely enough. label, following: the most likely emotion and the next one.
    probabilities: by label. face: (224, 224, 3) uint8 BGR, the face, turned upright where networks are shown it so.
    part: (4,) xyxy of the region in it. seen: (h, w, C) uint8, what the network was given, padded. box: (4,) xyxy
    that this covers in `face`. maps: (h, w) float32 over the box by name, 'cam' (of `label`) and 'attention' where
    there are. grid: (4, 4, 6) change of the label's probability where a cell of what was seen is filled with one of
    six grey levels. rules: those stored in the artefact that stand for this label, with the conditions by which
    they hold here, None where they do not. typical: (H, W, C) uint8, what faces with this answer typically look
    like, the mean of many, where the artefact holds it.
    """

    network: str
    region: str
    shown: str
    label: str
    following: str
    probabilities: Mapping[str, float]
    face: NDArray[np.uint8]
    part: NDArray[np.float32]
    seen: NDArray[np.uint8]
    box: NDArray[np.float32]
    maps: Mapping[str, NDArray[np.float32]]
    grid: NDArray[np.float32]
    rules: tuple[tuple[Rule, tuple[Condition, ...] | None], ...]
    typical: NDArray[np.uint8] | None

    def to_json(self) -> dict[str, Any]:
        """Return all but the pictures as JSON values."""
        return {
            "network": self.network,
            "region": self.region,
            "shown": self.shown,
            "label": self.label,
            "next": self.following,
            "probabilities": {name: round(value, 4) for name, value in self.probabilities.items()},
            "maps": {name: np.round(values.astype(float), 4).tolist() for name, values in self.maps.items()},
            "occlusion": np.round(self.grid.astype(float), 4).tolist(),
            "rules": [rule.model_dump(mode="json") | {"holds": why is not None} for rule, why in self.rules],
        }

    def panels(self) -> dict[str, NDArray[np.uint8]]:
        """Return (224, 224, 3) BGR pictures by name: the face, what was seen of it, and over it where that counted."""
        lost = np.kron(-self.grid.mean(axis=2), np.ones((16, 16))).clip(0).astype(np.float32)
        maps = {**self.maps, "occlusion": lost}
        found = {"face": self._framed(), "seen": _fitted(self.seen)}
        found |= {name: heated(self.face, values, self.box) for name, values in maps.items()}
        return found if self.typical is None else found | {"typical": _fitted(self.typical)}

    def _framed(self) -> NDArray[np.uint8]:
        """Return the face with a line around the judged region, where that is not the whole face."""
        face = self.face.copy()
        if self.region != "face":
            x1, y1, x2, y2 = np.rint(self.part).astype(int).tolist()
            cv2.rectangle(face, (x1, y1), (x2, y2), FRAME, 1)
        return face


def explain_face(
    engine: Engine, image: NDArray[np.uint8], face: Face, settings: ExpressionSettings = AS_IT_IS
) -> Explanation:
    """Explain the answer that a network gave to a face of a (H, W, 3) uint8 BGR picture.

    settings: as it was asked: of which labels, for which prior. Raises ValueError where the face was not judged.
    """
    if face.expression is None or not face.expression.judged:
        raise ValueError(f"face {face.track_id}: expected one that was judged, found none to explain")
    spec, region = engine.spec, face.expression.region

    def classify(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return answered(engine.infer(pictures)["probabilities"], [region] * len(pictures), spec, settings)

    [seen] = crops_of(image, [face], spec, [region])
    outputs = engine.infer(seen[None])
    [probabilities] = answered(outputs["probabilities"], [region], spec, settings)
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    maps = {"cam": outputs["cam"][0, first]} if "cam" in outputs else {}
    maps |= {"attention": outputs["attention"][0]} if "attention" in outputs else {}
    label = spec.labels[first]
    features = outputs["features"][0] if "features" in outputs else np.zeros(0, np.float32)
    rolls = rolls_of([face])
    [square] = face_square(upright_boxes(face.box[None], rolls), AROUND, 0.0)
    part, box = (find([face], spec, [region])[0] for find in (part_boxes, seen_boxes))

    def in_panel(place: NDArray[np.float32]) -> NDArray[np.float32]:
        [level] = moved_with(place[None], middles_of(square[None]), -rolls)
        return np.asarray((level - np.tile(square[:2], 2)) * PANEL / (square[2] - square[0]), np.float32)

    return Explanation(
        network=spec.name,
        region=region,
        shown=face.expression.label,
        label=label,
        following=spec.labels[second],
        probabilities={spec.labels[row]: float(probabilities[row]) for row in np.flatnonzero(weights(spec, settings))},
        face=crop(image, square, PANEL, PANEL, 3, roll=face.roll),
        part=in_panel(part),
        seen=seen,
        box=in_panel(box),
        maps=maps,
        grid=grid_of(classify, seen, int(first)),
        rules=tuple((rule, rule.holding(features)) for rule in spec.rules if rule.label == label and len(features)),
        typical=_decoded(spec.prototypes.get(label)),
    )


def _fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a (H, W, C) picture to the size of a panel, padded."""
    height, width = picture.shape[:2]
    return crop(picture, np.array([0, 0, width, height], np.float32), PANEL, PANEL, 3, padding=24)


def _decoded(picture: str | None) -> NDArray[np.uint8] | None:
    if picture is None:
        return None
    data = np.frombuffer(base64.b64decode(picture), np.uint8)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
