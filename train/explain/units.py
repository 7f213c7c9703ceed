"""Emotions, the Action Units that make them, and how much of each mean map lies where these act (Sun et al., Table 6).

Action Units after Ekman & Friesen's FACS; regions are drawn around the mean landmarks of the very faces.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Outputs
from streamer.build import load_landmarker
from streamer.config import LandmarksConfig
from train.data import FaceSet
from train.data.regions import whole
from train.report import table

# Emotion -> Action Units, and the regions in which Sun et al. list them.
UNITS: Mapping[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "happiness": ((6, 12), ("cheek", "lip")),
    "surprise": ((1, 2, 5, 26), ("brow", "lid", "jaw")),
    "sadness": ((1, 4, 15), ("brow", "lip")),
    "anger": ((4, 5, 7, 23), ("brow", "lid", "lip")),
    "disgust": ((9, 15, 16), ("nose", "lip")),
    "fear": ((1, 2, 4, 5, 7, 20, 26), ("brow", "lid", "lip", "jaw")),
    "contempt": ((12, 14), ("lip",)),
}
# Region -> outlines: points of the iBUG order, from 0.
OUTLINES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "brow": ((17, 18, 19, 20, 21), (22, 23, 24, 25, 26)),
    "lid": ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47)),
    "nose": ((27, 31, 33, 35),),
    "cheek": ((1, 3, 4, 48, 31, 40, 41, 36), (15, 13, 12, 54, 35, 47, 46, 45)),
    "lip": ((48, 50, 52, 54, 56, 58),),
    "jaw": ((5, 6, 7, 8, 9, 10, 11, 56, 57, 58),),
}
SAMPLE = 400  # faces that the mean landmarks are taken of
SIDE = 96  # pixels of the map of regions
SPREAD = 0.04  # of the side, by which an outline grows: skin around it moves too


def write(outputs: Outputs, rows: FaceSet, folder: Path) -> None:
    """Write `units.md` and `units.json` for each map that there is; nothing where faces are cut to a region."""
    landmarks = mean_landmarks(rows)
    masks = region_masks(landmarks)
    values: dict[str, Any] = {"area": {name: round(float(mask.mean()), 4) for name, mask in masks.items()}}
    for name in ("cam", "attention"):
        if name in outputs:
            values[name] = shares(outputs, rows, name, masks)
    (folder / "units.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "units.md").write_text(to_markdown(values), encoding="utf-8")


def mean_landmarks(rows: FaceSet) -> NDArray[np.float32]:
    """Return the mean (68, 2) landmarks of the faces, in shares of the picture's width and height."""
    landmarker = load_landmarker(LandmarksConfig())
    if landmarker is None:
        raise ValueError("expected a landmark network, found none")
    images = [_colour(image) for image in rows.images[:SAMPLE]]
    try:
        found = landmarker.look(images, [whole(image)[None] for image in images])
    finally:
        landmarker.close()
    points = np.concatenate([one.points for one in found]) / np.array(images[0].shape[1::-1], np.float32)
    return np.asarray(np.nanmean(points, axis=0), np.float32)


def region_masks(landmarks: NDArray[np.float32]) -> dict[str, NDArray[np.bool_]]:
    """Return (96, 96) masks of the regions around (68, 2) landmarks in shares of it; cheeks take what is left."""
    masks = {}
    width = 2 * round(SPREAD * SIDE) + 1
    for name, outlines in OUTLINES.items():
        drawn = np.zeros((SIDE, SIDE), np.uint8)
        for outline in outlines:
            corners = np.rint(landmarks[list(outline)] * SIDE).astype(np.int32)
            cv2.fillConvexPoly(drawn, cv2.convexHull(corners), 1)
        masks[name] = cv2.dilate(drawn, np.ones((width, width), np.uint8)) > 0
    others = np.any([mask for name, mask in masks.items() if name != "cheek"], axis=0)
    return masks | {"cheek": masks["cheek"] & ~others}


def shares(
    outputs: Outputs, rows: FaceSet, name: str, masks: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, float]]:
    """Return the share of each emotion's mean map, from its lowest value up, that lies inside each region."""
    answers = outputs["probabilities"].argmax(axis=1)
    found = {}
    for number, label in enumerate(rows.classes):
        own = np.flatnonzero((rows.labels == number) & (answers == number))
        if not len(own):
            continue
        mean = (outputs[name][own, number] if name == "cam" else outputs[name][own]).mean(axis=0)
        level = cv2.resize((mean - mean.min()).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        total = max(float(level.sum()), 1e-9)
        found[label] = {region: round(float(level[mask].sum()) / total, 4) for region, mask in masks.items()}
    return found


def to_markdown(values: Mapping[str, Any]) -> str:
    """Write the table; regions in which an emotion's Action Units act are bold, with share over area in brackets."""
    text = ["# Emotions, Action Units and where the maps lie"]
    text.append(
        "Share of each emotion's mean map (rightly answered faces) inside each region, in percent, and in brackets how "
        "often its share of the area. Bold: regions in which the emotion's Action Units act (Sun et al.)."
    )
    area = values["area"]
    for name in ("cam", "attention"):
        if name not in values:
            continue
        lines = []
        for label, inside in values[name].items():
            units, acting = UNITS.get(label, ((), ()))
            cells = [f"{100 * share:.1f} ({share / max(area[region], 1e-9):.1f})" for region, share in inside.items()]
            marked = [f"**{cell}**" if region in acting else cell for region, cell in zip(inside, cells, strict=True)]
            lines.append((label, " + ".join(map(str, units)) or "none", *marked))
        text.append(f"## {name}\n\n{table(('emotion', 'Action Units', *area), lines)}")
    return "\n\n".join(text) + "\n"


def _colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.shape[2] == 1 else image, np.uint8)
