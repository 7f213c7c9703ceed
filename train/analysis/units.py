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
from engines.errors import UserError
from streamer.build import load_landmarker
from streamer.config import LandmarksConfig
from streamer.drawing.heat import colour
from train.data import FaceSet
from train.markdown import table

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
TONES = ((66, 228, 240), (240, 190, 96), (120, 178, 26), (124, 124, 240), (214, 124, 190), (232, 232, 232))  # BGR
SAMPLE = 400  # faces that the mean landmarks are taken of
SIDE = 96  # pixels of the map of regions
SPREAD = 0.04  # of the side, by which an outline grows: skin around it moves too


def write(probabilities: NDArray[np.float32], maps: Outputs, rows: FaceSet, folder: Path) -> None:
    """Write `units.md`, `units.json` and `units.png`, which shows the regions over the mean face.

    maps: (N, h, w) by name, of each row's own label.
    """
    masks = region_masks(mean_landmarks(rows))
    right = probabilities.argmax(axis=1) == rows.labels
    inside = {name: shares(heat[right], rows[right], masks) for name, heat in maps.items()}
    values = {"area": {name: round(float(mask.mean()), 4) for name, mask in masks.items()}, "maps": inside}
    (folder / "units.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "units.md").write_text(to_markdown(values), encoding="utf-8")
    cv2.imwrite(str(folder / "units.png"), outlined(rows.images.mean(axis=0).astype(np.uint8), masks))


def mean_landmarks(rows: FaceSet) -> NDArray[np.float32]:
    """Return the mean (68, 2) landmarks of the faces, in shares of the picture's width and height."""
    landmarker = load_landmarker(LandmarksConfig())
    if landmarker is None:
        raise UserError("expected a landmark network, found none")
    images = [colour(image) for image in rows.images[:SAMPLE]]
    try:
        found = landmarker.look(images, [middle_square(image)[None] for image in images])
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


def middle_square(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the box of a face in a picture that was padded to its shape: (4,) xyxy."""
    height, width = image.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    return np.array([left, top, left + side, top + side], np.float32)


def shares(
    maps: NDArray[np.float32], rows: FaceSet, masks: Mapping[str, NDArray[np.bool_]]
) -> dict[str, dict[str, float]]:
    """Return the share of each emotion's mean map, from its lowest value up, that lies inside each region.

    maps: (N, h, w) of the rows; their means are brought to the size of the masks first, as a coarse position covers
    more than one region.
    """
    found = {}
    for number, label in enumerate(rows.classes):
        own = rows.labels == number
        if not own.any():
            continue
        level = cv2.resize(maps[own].mean(axis=0), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)  # cubic would ring
        level -= level.min()
        total = max(float(level.sum()), 1e-9)
        found[label] = {region: round(float(level[mask].sum()) / total, 4) for region, mask in masks.items()}
    return found


def outlined(face: NDArray[np.uint8], masks: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Draw the outlines of regions over a (H, W, C) face, with their names: (384, 384, 3) BGR."""
    side = 4 * SIDE
    drawn = cv2.resize(colour(face), (side, side), interpolation=cv2.INTER_CUBIC)
    for number, (name, mask) in enumerate(masks.items()):
        large = cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        tone = TONES[number % len(TONES)]
        cv2.drawContours(drawn, outlines, -1, tone, 2)
        left, top = max(outlines, key=cv2.contourArea).min(axis=0)[0].tolist()
        for colour_of, thickness in (((0, 0, 0), 3), (tone, 1)):
            place = left + 6, top + 18
            cv2.putText(drawn, name, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour_of, thickness, cv2.LINE_AA)
    return np.asarray(drawn, np.uint8)


def to_markdown(values: Mapping[str, Any]) -> str:
    """Write the tables; regions in which an emotion's Action Units act are bold, with share over area in brackets."""
    text = ["# Emotions, Action Units and where the maps lie"]
    text.append(
        "Share of each emotion's mean map (rightly answered faces, brought to the size of the picture) inside each "
        "region, in percent, and in brackets how often its share of the area: above 1 the map favours the region. "
        "Bold: regions in which the emotion's Action Units act (Sun et al.)."
    )
    area = values["area"]
    for name, emotions in values["maps"].items():
        lines = []
        for label, inside in emotions.items():
            units, acting = UNITS.get(label, ((), ()))
            cells = [f"{100 * share:.1f} ({share / max(area[region], 1e-9):.1f})" for region, share in inside.items()]
            marked = [f"**{cell}**" if region in acting else cell for region, cell in zip(inside, cells, strict=True)]
            lines.append((label, " + ".join(map(str, units)) or "none", *marked))
        text.append(f"## {name}\n\n{table(('emotion', 'Action Units', *area), lines)}")
    return "\n\n".join([*text, "![regions](units.png)"]) + "\n"
