"""Judge networks on what was held back from training, to choose between them; nothing that is reported on is touched.

Marked people by size, faces turned, blurred, in the dark and behind hands, and pictures without people: things, and
print in fonts and layouts never trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.types import Detections
from train.detector.batches import place, rendered
from train.detector.batches.damage import occlude
from train.detector.batches.pictures import Picture
from train.detector.batches.place import Pose, Scene
from train.detector.scores import Match, match

Grey = NDArray[np.uint8]
Finder = Callable[[Grey], Detections]

ALARMING = 0.02  # share of pictures without people that may be hit: it sets the threshold of a network
ENLARGED, REDUCED = 1.25, 0.625  # of the photos' preset and of the default
SIZES = {">=64": (64, np.inf), "32-64": (32, 64), "20-32": (20, 32)}
SIDE, WINDOW = 96, 224  # pixels of a face that is turned or damaged, and of the picture around it
TURNED_FACES, PRINTED = 80, 150
STEP = 32  # of the sides of what networks take


@dataclass(frozen=True, eq=False)
class Trial:
    """Hold one (H, W) picture with the faces to be found, (N, 4), and the places that do not count, (M, 4)."""

    image: Grey
    faces: NDArray[np.float32]
    disputed: NDArray[np.float32]


def trials(pictures: Sequence[Picture], fonts: Path | None) -> dict[str, list[Trial]]:
    """Return the sets by name, always the same ones; those without pictures are left out."""
    held = {name: [one for one in pictures if one.held and one.source == name] for name in ("people", "loose", "lfw")}
    things = [one for one in pictures if one.held and one.source == "things"]
    found = {
        "people": [_scaled(one, ENLARGED) for one in held["people"]],
        "people, default": [_scaled(one, REDUCED) for one in held["people"]],
        "loose": [_scaled(one, ENLARGED) for one in held["loose"]],
    }
    faces = held["lfw"][:: max(1, len(held["lfw"]) // TURNED_FACES)][:TURNED_FACES]
    found |= {name: [_damaged(one, change) for one in faces] for name, change in CHANGES.items()}
    found["things"] = [_scaled(one, ENLARGED) for one in things]
    if fonts is not None:
        files = rendered.fonts_in(fonts, unseen=True)
        drawn = [rendered.render(files, np.random.default_rng((1, n)), rendered.UNSEEN) for n in range(PRINTED)]
        found["print"] = [Trial(image, _no_boxes(), _no_boxes()) for image in drawn]
    return {name: rows for name, rows in found.items() if rows}


def judge(find: Finder, sets: dict[str, list[Trial]]) -> dict[str, float]:
    """Return the threshold of a network, its recall on each set there, and the share of empty pictures it hits.

    The threshold is the lowest at which few pictures without people are hit, in steps of 0.01.
    """
    found = {name: [_match(find, trial) for trial in trials] for name, trials in sets.items()}
    empty = {name: found.pop(name) for name in EMPTY_SETS if name in found}
    worsts = {name: np.array([one.scores[one.stray].max(initial=0) for one in rows]) for name, rows in empty.items()}
    worst = np.concatenate(list(worsts.values()))
    steps = np.arange(5, 100) / 100
    threshold = next((float(step) for step in steps if (worst >= step).mean() <= ALARMING), 1.0)
    figures = {"threshold": threshold}
    for name, matches in found.items():
        scale = SCALES.get(name)
        bounds = SIZES if scale else {"": (0, np.inf)}
        for size, (low, high) in bounds.items():
            figures[f"{name} {size}".strip()] = _recall(matches, threshold, (low * (scale or 1), high * (scale or 1)))
    for name, scores in worsts.items():
        figures |= {f"{name} hit at {step}": float((scores >= step).mean()) for step in (0.3, 0.5, 0.7)}
    return figures


def _match(find: Finder, trial: Trial) -> Match:
    height, width = trial.image.shape
    padded = cv2.copyMakeBorder(trial.image, 0, -height % STEP, 0, -width % STEP, cv2.BORDER_CONSTANT)
    return match(find(np.asarray(padded, np.uint8)), trial.faces, trial.disputed)


def _recall(matches: Sequence[Match], threshold: float, sizes: tuple[float, float]) -> float:
    sides = np.concatenate([one.sizes for one in matches])
    reached = np.concatenate([one.reached for one in matches])
    wanted = (sides >= sizes[0]) & (sides < sizes[1])
    return float((reached[wanted] >= threshold).mean()) if wanted.any() else float("nan")


def _scaled(picture: Picture, scale: float) -> Trial:
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(picture.image, None, fx=scale, fy=scale, interpolation=kind), np.uint8)
    boxes = picture.boxes * np.float32(scale)
    return Trial(image, boxes[picture.sure], boxes[~picture.sure])


def _damaged(picture: Picture, change: Callable[[Scene], None], degrees: float = 0.0) -> Trial:
    """Show one face at a known size, turned, and change the picture."""
    scene = Scene(np.zeros((WINDOW, WINDOW), np.uint8))
    face = int(np.argmax(picture.sure))
    degrees = getattr(change, "keywords", {}).get("degrees", degrees)
    pose = Pose(WINDOW / 2, WINDOW / 2, SIDE, np.deg2rad(degrees))
    place.place(scene, picture, picture.boxes[face], pose, (0, 0, WINDOW, WINDOW), -1)
    change(scene)
    boxes, kind = np.array(scene.boxes, np.float32).reshape(-1, 4), np.array(scene.kind, int)
    return Trial(scene.image, boxes[kind == 1], boxes[kind == -1])


def _turn(scene: Scene, degrees: float) -> None:
    """Leave the picture as it was placed."""


def _blur(scene: Scene, share: float) -> None:
    scene.image = np.asarray(cv2.GaussianBlur(scene.image, (0, 0), share * SIDE), np.uint8)


def _smear(scene: Scene, pixels: int) -> None:
    scene.image = np.asarray(cv2.blur(scene.image, (pixels, 1)), np.uint8)


def _darken(scene: Scene, gain: float) -> None:
    scene.image = (scene.image * gain).astype(np.uint8)


def _shrink(scene: Scene, side: int) -> None:
    """Show the picture so that its face has so many pixels."""
    scale = side / SIDE
    scene.image = np.asarray(cv2.resize(scene.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    scene.boxes = [box * np.float32(scale) for box in scene.boxes]


def _cover(scene: Scene) -> None:
    random = np.random.default_rng(int(scene.image.sum()))
    for box, points in zip(scene.boxes, scene.points, strict=True):
        occlude(scene.image, box, points, random)


def _no_boxes() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


CHANGES: dict[str, Callable[[Scene], None]] = {
    **{f"roll {degrees}": partial(_turn, degrees=degrees) for degrees in (0, 30, 45, 60, 75)},
    **{f"blur {round(100 * share)} %": partial(_blur, share=share) for share in (0.03, 0.06, 0.08)},
    "motion 17 px": partial(_smear, pixels=17),
    "gain 0.12": partial(_darken, gain=0.12),
    **{f"side {side}": partial(_shrink, side=side) for side in (12, 16, 24)},
    "covered": _cover,
}
SCALES = {"people": ENLARGED, "people, default": REDUCED, "loose": ENLARGED}
EMPTY_SETS = ("things", "print")
