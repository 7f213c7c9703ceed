"""Do answers carry over to photos that nobody aligned (Rao & Li, section 5)? With and without finding the face first.

There are no labels: what is measured is whether a photo that is shifted, or taken from further away, still gets the
answer that its face gets where it fills the picture, as it does in training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine
from streamer.build import load_detector
from streamer.config import Config, load_config
from streamer.drawing.heat import colour, heated
from streamer.faces.detect import Detector
from streamer.faces.regions import crops
from train.analysis.maps import draw_grid
from train.data import FaceSet
from train.expression.batches.cutting import whole
from train.markdown import table

SHIFT = 0.08  # of the photo's sides, by which it is shifted
FURTHER = 2.5  # times the sides of the photo, of a picture taken from further away
PICTURES = ("as it is", "shifted", "further away")

Find = Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]


class Answered(NamedTuple):
    """Hold what a network answers to N pictures.

    probabilities: (N, classes), NaN where no face was found. mean: (H, W, 3) uint8 BGR, the mean of what the network
    was given, and over it of where it looked for its answers.
    """

    probabilities: NDArray[np.float32]
    mean: NDArray[np.uint8]


def write(engine: Engine, photos: FaceSet, folder: Path) -> dict[str, Any]:
    """Write `transfer.md`, `.json` and `.png` for photos that one face each fills; return what the JSON holds.

    Only means over all photos are drawn.
    """
    detector = load_detector(load_config(Config, "photos").detector)
    try:
        ways = {"with detection": _finder(detector), "without detection": whole}
        answers = {name: judge(engine, photos, find) for name, find in ways.items()}
    finally:
        detector.close()
    reference = answers["without detection"]["as it is"].probabilities.argmax(axis=1)
    found = {
        way: {name: figures(one.probabilities, reference) for name, one in pictures.items()}
        for way, pictures in answers.items()
    }
    values = {"photos": len(photos), "ways": found}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transfer.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "transfer.md").write_text(to_markdown(engine.spec.name, values), encoding="utf-8")
    means = {way: [one.mean for one in pictures.values()] for way, pictures in answers.items()}
    draw_grid(means, folder / "transfer.png", PICTURES)
    return values


def to_markdown(name: str, values: Mapping[str, Any]) -> str:
    """Write the figures as a table."""
    rows = [
        (way, picture, *(f"{100 * value:.1f}" for value in one.values()))
        for way, pictures in values["ways"].items()
        for picture, one in pictures.items()
    ]
    head = (
        f"{values['photos']:,} photos, each filled by one face: as it is, shifted by {100 * SHIFT:.0f} % of its sides, "
        f"and further away, somewhere in a picture with sides {FURTHER} times as long. Found: a face to look at. Same: "
        "of those, the answer is the one that the photo as it is gets when all of it is looked at. Confidence: mean. "
        "Without labels, nothing here says which answer is right."
    )
    written = table(("", "picture", "found %", "same %", "confidence %"), rows)
    below = "Mean of what the network was given, and over it of where it looked:\n\n![means](transfer.png)"
    return f"# {name}: transfer\n\n{head}\n\n{written}\n\n{below}\n"


def judge(engine: Engine, photos: FaceSet, find: Find) -> dict[str, Answered]:
    """Answer each photo as it is, shifted and further away."""
    random, images = np.random.default_rng(0), [colour(photo) for photo in photos.images]
    kinds = (images, [shifted(image) for image in images], [further(image, random) for image in images])
    return {name: _answer(engine, own, find) for name, own in zip(PICTURES, kinds, strict=True)}


def _answer(engine: Engine, pictures: Sequence[NDArray[np.uint8]], find: Find) -> Answered:
    spec = engine.spec
    found = {row: box for row, picture in enumerate(pictures) if (box := find(picture)) is not None}
    rows = list(found)
    cut = np.zeros((len(rows), spec.height or 0, spec.width or 0, spec.channels), np.uint8)
    for place, (row, box) in enumerate(found.items()):
        cut[place] = crops(pictures[row], box[None], spec)[0]
    outputs = engine.infer(cut)
    probabilities = np.full((len(pictures), len(spec.labels)), np.nan, np.float32)
    probabilities[rows] = outputs["probabilities"]
    mean = colour(cut.mean(axis=0).astype(np.uint8)) if rows else np.zeros((*cut.shape[1:3], 3), np.uint8)
    if rows and "cam" in outputs:
        mean = heated(mean, outputs["cam"][np.arange(len(rows)), outputs["probabilities"].argmax(axis=1)].mean(axis=0))
    return Answered(probabilities, mean)


def figures(answers: NDArray[np.float32], reference: NDArray[np.int64]) -> dict[str, float]:
    """Return the share of photos with a face, the share of those answered as the reference, and the mean confidence."""
    known = np.isfinite(answers[:, 0])
    if not known.any():
        return {"found": 0.0, "same": 0.0, "confidence": 0.0}
    return {
        "found": float(known.mean()),
        "same": float((answers[known].argmax(axis=1) == reference[known]).mean()),
        "confidence": float(answers[known].max(axis=1).mean()),
    }


def shifted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Move a (H, W, 3) picture right and down; what comes in repeats the edge."""
    height, width = image.shape[:2]
    return placed(image, round(SHIFT * width), round(SHIFT * height), width, height)


def further(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Put a (H, W, 3) picture somewhere into a larger one; what is around it repeats its edge."""
    height, width = image.shape[:2]
    across, down = round(FURTHER * width), round(FURTHER * height)
    x, y = (int(random.integers(room + 1)) for room in (across - width, down - height))
    return placed(image, x, y, across, down)


def placed(image: NDArray[np.uint8], x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
    """Put a picture at a place of one of a size."""
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return np.asarray(cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _finder(detector: Detector) -> Find:
    def find(image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Return the box whose middle is nearest to the photo's."""
        boxes = detector.detect([image])[0].boxes
        if not len(boxes):
            return None
        middle = np.array(image.shape[1::-1], np.float32) / 2
        away = np.hypot(*((boxes[:, :2] + boxes[:, 2:]) / 2 - middle).T)
        return np.asarray(boxes[int(away.argmin())], np.float32)

    return find
