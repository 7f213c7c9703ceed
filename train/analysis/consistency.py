"""Does an answer hold when only the picture changes? Faces mirrored, moved, turned, lit, compressed, small and blurred.

Every change is made to the picture that the network is given, so what is measured is the network alone: the same face,
another answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data import FaceSet
from train.expression.classifier import Classifier
from train.expression.scores import limited, wilson
from train.markdown import table

Pictures = NDArray[np.uint8]
Change = Callable[[Pictures], Pictures]


def write(classifier: Classifier, rows: FaceSet, folder: Path) -> list[dict[str, Any]]:
    """Write `consistency.md` and `.json` for labelled rows as the network sees them; return what the JSON holds.

    rows: their classes are asked for alone.
    """
    found = measure(classifier, rows)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "consistency.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    cells = [
        (
            one["change"],
            f"{100 * one['changed']:.1f} ({100 * one['low']:.1f}-{100 * one['high']:.1f})",
            f"{100 * one['accuracy']:.2f}",
            f"{one['difference']:.3f}",
        )
        for one in found
    ]
    head = ("change", "answers changed %, 95 % interval", "accuracy %", "mean change of the answer's probability")
    text = f"# {classifier.name}: consistency\n\n{len(rows):,} faces.\n\n{table(head, cells)}\n"
    (folder / "consistency.md").write_text(text, encoding="utf-8")
    return found


def measure(classifier: Classifier, rows: FaceSet) -> list[dict[str, Any]]:
    """Return for every change the share of answers that it changes, its Wilson interval and the accuracy under it.

    A change with two directions counts each face twice.
    """

    def ask(pictures: Pictures) -> NDArray[np.float32]:
        return limited(classifier.classify(np.ascontiguousarray(pictures)), classifier.labels, rows.classes)

    before = ask(rows.images)
    answers = before.argmax(axis=1)
    found = [_line("none", before[None], before, answers, rows.labels)]
    for name, directions in CHANGES.items():
        after = np.stack([ask(change(rows.images)) for change in directions])
        found.append(_line(name, after, before, answers, rows.labels))
    return found


def _line(
    name: str,
    after: NDArray[np.float32],
    before: NDArray[np.float32],
    answers: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> dict[str, Any]:
    """Compare (directions, N, classes) answers with those of the unchanged pictures."""
    changed = after.argmax(axis=2) != answers
    low, high = wilson(int(changed.sum()), changed.size)
    each = np.arange(len(answers))
    return {
        "change": name,
        "changed": float(changed.mean()),
        "low": low,
        "high": high,
        "accuracy": float((after.argmax(axis=2) == labels).mean()),
        "difference": float(np.abs(after[:, each, answers] - before[each, answers]).mean()),
    }


def mirrored(pictures: Pictures) -> Pictures:
    """Mirror (N, H, W, C) pictures."""
    return pictures[:, :, ::-1]


def moved(
    pictures: Pictures, right: float = 0.0, down: float = 0.0, degrees: float = 0.0, zoom: float = 1.0
) -> Pictures:
    """Turn, enlarge and shift pictures, by shares of their sides; what comes in repeats the edge."""
    height, width = pictures.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, zoom)
    matrix[:, 2] += right * width, down * height
    warped = [
        cv2.warpAffine(one, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for one in pictures
    ]
    return np.asarray(np.stack(warped).reshape(pictures.shape), np.uint8)


def lit(pictures: Pictures, gain: float) -> Pictures:
    """Multiply grey levels; what is too bright is clipped."""
    return np.asarray(np.clip(np.round(pictures * gain), 0, 255), np.uint8)


def compressed(pictures: Pictures, quality: int) -> Pictures:
    """Write pictures as JPEG and read them again."""
    read = []
    for one in pictures:
        written = cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        read.append(np.asarray(cv2.imdecode(written, cv2.IMREAD_UNCHANGED), np.uint8))
    return np.stack(read).reshape(pictures.shape)


def shrunk(pictures: Pictures, pixels: int) -> Pictures:
    """Make faces of so many pixels a side, and enlarge them as a crop is enlarged."""
    height, width = pictures.shape[1:3]
    small = [
        cv2.resize(
            cv2.resize(one, (pixels, round(pixels * height / width)), interpolation=cv2.INTER_AREA),
            (width, height),
            interpolation=cv2.INTER_LINEAR,
        )
        for one in pictures
    ]
    return np.asarray(np.stack(small), np.uint8).reshape(pictures.shape)


def blurred(pictures: Pictures, share: float) -> Pictures:
    """Blur by a Gaussian whose deviation is a share of the side."""
    deviation = share * pictures.shape[1]
    soft = [cv2.GaussianBlur(one, (0, 0), deviation) for one in pictures]
    return np.asarray(np.stack(soft), np.uint8).reshape(pictures.shape)


def _both(change: Callable[..., Pictures], **one_way: float) -> tuple[Change, Change]:
    return partial(change, **one_way), partial(change, **{name: -value for name, value in one_way.items()})


CHANGES: dict[str, tuple[Change, ...]] = {
    "mirrored": (mirrored,),
    "5 % to one side": _both(moved, right=0.05),
    "5 % up or down": _both(moved, down=0.05),
    "10 % closer or further": (partial(moved, zoom=1.1), partial(moved, zoom=1 / 1.1)),
    "roll of 10°": _both(moved, degrees=10.0),
    "roll of 20°": _both(moved, degrees=20.0),
    "roll of 30°": _both(moved, degrees=30.0),
    "gain 1.6, clipped": (partial(lit, gain=1.6),),
    "gain 0.3": (partial(lit, gain=0.3),),
    "JPEG of quality 20": (partial(compressed, quality=20),),
    "24 pixels": (partial(shrunk, pixels=24),),
    "16 pixels": (partial(shrunk, pixels=16),),
    "blur of 4 %": (partial(blurred, share=0.04),),
}
