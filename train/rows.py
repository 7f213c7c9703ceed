"""Rows of a data set as a run uses them: trained on without twins of what is judged, judged at the network's size."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
from numpy.typing import NDArray

from train.config import Data, Input, TrainConfig
from train.data import FaceSet, load
from train.losses import has_target


def judged_rows(data: Data, seen: Input, split: str, labels: str | None = None) -> FaceSet:
    """Load a split by the label rule (the configured one unless given) with pictures of the network's size."""
    rows = load(data.set, data.path, split, labels or data.labels)
    return FaceSet(
        rows.classes, rows.names, resized(rows.images, seen.shape), rows.labels, rows.distribution, rows.leaked
    )


def training_rows(config: TrainConfig) -> tuple[FaceSet, dict[str, int]]:
    """Load the rows to train on, those with a label and no twin among the rows judged on, and what was counted."""
    rows = load(config.data.set, config.data.path, config.data.train, config.data.labels)
    judged = {
        digest
        for split in {config.data.validation, config.data.test} - {config.data.train}
        for digest in digests(load(config.data.set, config.data.path, split, config.data.labels).images)
    }
    twin = np.array([digest in judged for digest in digests(rows.images)])
    usable = has_target(rows, config.loss)
    kept = usable & ~twin
    counts = {
        "read": len(rows),
        "unlabelled": int((~usable).sum()),
        "twins": int((twin & usable).sum()),
        "used": int(kept.sum()),
    }
    return rows[kept], counts


def resized(images: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize (N, H, W, C) pictures to (N, height, width, C), averaging where they shrink."""
    if images.shape[1:3] == shape:
        return images
    how = cv2.INTER_AREA if shape[0] < images.shape[1] else cv2.INTER_LINEAR
    scaled = np.stack([cv2.resize(image, shape[::-1], interpolation=how) for image in images])
    return np.asarray(scaled, np.uint8).reshape(len(images), *shape, images.shape[3])


def digests(images: NDArray[np.uint8]) -> list[bytes]:
    """Return a hash of each picture's pixels: equal hashes are twins."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
