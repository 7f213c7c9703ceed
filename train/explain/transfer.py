"""Do answers carry over to photos that nobody aligned (Rao & Li, section 5)? With and without finding the face first.

There are no labels: what is measured is whether the answer stays when the photo is shifted, and how sure it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine
from streamer.build import load_detector, preset
from streamer.config import Config, load_config
from streamer.faces.detect import Detector
from streamer.faces.regions import crops
from train.data import FaceSet
from train.data.regions import whole
from train.report import table

SHIFT = 0.08  # of the photo's sides, by which it is shifted

Find = Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]


def write(engine: Engine, photos: FaceSet, folder: Path) -> dict[str, Any]:
    """Write `transfer.md` and `.json` for photos of one face each; return what the JSON holds."""
    detector = load_detector(load_config(Config, preset("photos")).detector)
    try:
        found = {
            name: judge(engine, photos, find)
            for name, find in {"with detection": _finder(detector), "without detection": whole}.items()
        }
    finally:
        detector.close()
    first, second = (answers[:, 0] for answers in found.values())
    both = np.isfinite(first[:, 0]) & np.isfinite(second[:, 0])
    same = float((first[both].argmax(axis=1) == second[both].argmax(axis=1)).mean()) if both.any() else 0.0
    values = {"photos": len(photos), "same": same} | {name: figures(answers) for name, answers in found.items()}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "transfer.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "transfer.md").write_text(to_markdown(engine.spec.name, values), encoding="utf-8")
    return values


def to_markdown(name: str, values: Mapping[str, Any]) -> str:
    """Write the figures as a table."""
    rows = [
        (way, *(f"{100 * value:.1f}" for value in one.values())) for way, one in values.items() if isinstance(one, dict)
    ]
    head = (
        f"{values['photos']:,} photos that nobody aligned. Found: a face to look at. Stays: of those, the answer is "
        f"the same when the photo is shifted by {100 * SHIFT:.0f} % of its sides. Confidence: mean. Of the photos "
        f"with both answers, {100 * values['same']:.1f} % are answered alike with and without detection. Without "
        "labels, nothing here says which answer is right."
    )
    written = table(("", "found %", "stays %", "confidence %"), rows)
    return f"# {name}: transfer\n\n{head}\n\n{written}\n"


def judge(engine: Engine, photos: FaceSet, find: Find) -> NDArray[np.float32]:
    """Answer each photo and its shifted copy: (N, 2, classes) probabilities, NaN where a face was not found in both."""
    answers = np.full((len(photos), 2, len(engine.spec.labels)), np.nan, np.float32)
    for row, photo in enumerate(photos.images):
        image = np.asarray(cv2.cvtColor(photo, cv2.COLOR_GRAY2BGR) if photo.shape[2] == 1 else photo, np.uint8)
        moved = shifted(image)
        before, after = find(image), find(moved)
        if before is not None and after is not None:
            cut = [crops(image, before[None], engine.spec), crops(moved, after[None], engine.spec)]
            answers[row] = engine.infer(np.concatenate(cut))["probabilities"]
    return answers


def figures(answers: NDArray[np.float32]) -> dict[str, float]:
    """Return the share of photos with a face, the share of those whose answer stays, and the mean confidence."""
    known = answers[np.isfinite(answers[:, 0, 0])]
    if not len(known):
        return {"found": 0.0, "stays": 0.0, "confidence": 0.0}
    leading = known.argmax(axis=2)
    return {
        "found": len(known) / len(answers),
        "stays": float((leading[:, 0] == leading[:, 1]).mean()),
        "confidence": float(known[:, 0].max(axis=1).mean()),
    }


def shifted(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Move a (H, W, 3) picture right and down; what comes in repeats the edge."""
    height, width = image.shape[:2]
    move = np.array([[1, 0, round(SHIFT * width)], [0, 1, round(SHIFT * height)]], np.float32)
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
