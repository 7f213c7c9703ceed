"""Face detectors. A detector takes several streams' pictures at once and belongs to one thread.

All boxes are canonical face boxes: forehead to chin, about ear to ear, as YuNet draws them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine, EngineSpec
from streamer.faces.landmarks import HOG_TO_FACE
from streamer.types import Detections

OVERLAP = 0.3  # of two boxes with a larger IoU only the better one is kept
LARGEST_BATCH = 8  # pictures a call of a network
STRIDE = 32  # of the networks' coarsest level: their input is padded to a multiple


class Detector(Protocol):
    """Find faces."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Return the faces of each (H, W, 3) uint8 BGR picture, best score first."""
        ...

    def close(self) -> None:
        """Free what the detector holds."""
        ...


class HogDetector:
    """Run dlib's frontal face detector (Dalal & Triggs 2005 features, King 2015 training) on a scaled grey picture.

    min_face: smallest face wanted, pixels; its 80-pixel window sets the scale, so larger values are faster.
    threshold: lowest score, 0-1; scores are 0.5 at the classifier's border and 1 at a margin of 2.
    """

    WINDOW = 80

    def __init__(self, min_face: int = 80, threshold: float = 0.4) -> None:
        import dlib

        self._detector: Any = dlib.get_frontal_face_detector()
        self._scale = self.WINDOW / min_face
        self._margin = 4 * (threshold - 0.5)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Search each picture on its own."""
        return [self._detect(image) for image in images]

    def _detect(self, image: NDArray[np.uint8]) -> Detections:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if self._scale != 1:
            size = (max(1, round(side * self._scale)) for side in grey.shape[::-1])
            grey = cv2.resize(grey, tuple(size), interpolation=cv2.INTER_AREA if self._scale < 1 else cv2.INTER_LINEAR)
        found, margins, _ = self._detector.run(grey, 0, self._margin)
        if not len(found):
            return Detections.empty()
        corners = np.array([(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in found], np.float64)
        centre, side = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        centre = centre + side * HOG_TO_FACE[:2]
        side = side * HOG_TO_FACE[2:]
        boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1) / self._scale
        scores = np.clip(0.5 + 0.25 * np.array(margins), 0, 1)
        return Detections(boxes.astype(np.float32), scores.astype(np.float32))

    def close(self) -> None:
        """Nothing is held."""


YUNET = EngineSpec(
    name="yunet",
    task="detection",
    height=None,
    width=None,
    channels=3,
    outputs=tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)),
)


class NetworkDetector:
    """Hold what all detectors on engines share: scaling, and batches of pictures that have one size.

    scale: input pixels per pixel of the picture. threshold: lowest score, 0-1.
    """

    def __init__(self, engine: Engine, scale: float, threshold: float) -> None:
        self.engine = engine
        self._scale = scale
        self._threshold = threshold

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Search pictures of one size together."""
        prepared = [_fit(self._prepare(image), self._scale_for(image)) for image in images]
        found: list[Detections] = [Detections.empty()] * len(images)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for position, (picture, _) in enumerate(prepared):
            by_shape.setdefault(picture.shape, []).append(position)
        for positions in by_shape.values():
            for start in range(0, len(positions), LARGEST_BATCH):
                chunk = positions[start : start + LARGEST_BATCH]
                batch = np.stack([prepared[position][0] for position in chunk])
                for position, faces in zip(chunk, self._decode(batch), strict=True):
                    width, height = prepared[position][1]
                    scale = np.array([width, height], np.float32)
                    landmarks = None if faces.landmarks is None else faces.landmarks * scale
                    found[position] = Detections(faces.boxes * np.tile(scale, 2), faces.scores, landmarks)
        return found

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image

    def _scale_for(self, image: NDArray[np.uint8]) -> float:
        return self._scale

    def _decode(self, batch: NDArray[np.uint8]) -> list[Detections]:
        """Return the faces of each picture of an (N, H, W, ...) batch, in its pixels."""
        raise NotImplementedError


class ZooDetector(NetworkDetector):
    """Run our own detector (`train/detector`): grey pictures in, decoded boxes out.

    min_face: smallest face wanted, pixels; the network finds most faces from 20 pixels on, which sets the scale. Below
    that pictures are enlarged. threshold: lowest score; scores are 0.5 at the working point chosen on held-back
    scenes. budget: seconds a picture; where the measured pace says that the scale costs more, smaller faces are given
    up. None searches at the same scale always, so that a file gives the same answer twice.
    """

    SMALLEST = 20

    def __init__(self, engine: Engine, min_face: int = 32, threshold: float = 0.4, budget: float | None = None) -> None:
        super().__init__(engine, self.SMALLEST / min_face, threshold)
        self._budget = budget
        self._pace = 0.0  # seconds an input pixel, smoothed

    def _prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take grey and 16-bit pictures as well: photos come so."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return np.asarray(grey // 256 if grey.dtype == np.uint16 else grey, np.uint8)

    def _scale_for(self, image: NDArray[np.uint8]) -> float:
        """Take the wanted scale, or what the budget bears in quarter octaves: each new input size costs once."""
        if self._budget is None or not self._pace:
            return self._scale
        bearable = np.sqrt(self._budget / (self._pace * image.shape[0] * image.shape[1]))
        return self._scale if bearable >= self._scale else float(2 ** (np.floor(4 * np.log2(bearable)) / 4))

    def _decode(self, batch: NDArray[np.uint8]) -> list[Detections]:
        started = time.monotonic()
        outputs = self.engine.infer(batch[..., None])
        pace = (time.monotonic() - started) / batch.size
        self._pace = 0.8 * self._pace + 0.2 * pace if self._pace else pace
        parts = zip(outputs["boxes"], outputs["scores"], outputs["points"], strict=True)
        return [keep_best(Detections(*rows), self._threshold) for rows in parts]


class YuNetDetector(NetworkDetector):
    """Run YuNet (Wu et al. 2023) on an engine, with the decoding here.

    min_face: smallest face wanted, pixels; the network finds faces from about 16 pixels on, which sets the scale.
    threshold: lowest score, 0-1.
    """

    SMALLEST = 16

    def __init__(self, engine: Engine, min_face: int = 40, threshold: float = 0.6) -> None:
        super().__init__(engine, min(1.0, self.SMALLEST / min_face), threshold)

    def _decode(self, batch: NDArray[np.uint8]) -> list[Detections]:
        """Turn the maps into faces: boxes and points are offsets from the cell, in strides (sizes as logs)."""
        outputs = self.engine.infer(batch)
        count, height, width = batch.shape[:3]
        scores, boxes, points = [], [], []
        for stride in (8, 16, 32):
            cells = np.stack(np.meshgrid(np.arange(width // stride), np.arange(height // stride)), axis=-1).reshape(
                -1, 2
            )
            maps = {
                kind: outputs[f"{kind}_{stride}"].reshape(count, len(cells), -1)
                for kind in ("cls", "obj", "bbox", "kps")
            }
            scores.append(np.sqrt(np.clip(maps["cls"], 0, 1) * np.clip(maps["obj"], 0, 1))[..., 0])
            centre = (cells + maps["bbox"][..., :2]) * stride
            half = np.exp(np.minimum(maps["bbox"][..., 2:], 8)) * stride / 2
            boxes.append(np.concatenate([centre - half, centre + half], axis=-1))
            points.append((maps["kps"].reshape(count, len(cells), 5, 2) + cells[:, None]) * stride)
        return [
            keep_best(Detections(*(np.asarray(part, np.float32) for part in parts)), self._threshold)
            for parts in zip(
                np.concatenate(boxes, axis=1),
                np.concatenate(scores, axis=1),
                np.concatenate(points, axis=1),
                strict=True,
            )
        ]


def keep_best(faces: Detections, threshold: float) -> Detections:
    """Drop faces below the threshold and those that a better one overlaps (non-maximum suppression)."""
    faces = faces[faces.scores >= threshold]
    if not len(faces):
        return faces
    corners = faces.boxes.astype(np.float64)
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(sides.tolist(), faces.scores.tolist(), threshold, OVERLAP)
    return faces[np.asarray(kept, np.int64).reshape(-1)]


def _fit(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Scale a picture and pad it below and to the right; also return frame pixels per input pixel (x, y)."""
    height, width = image.shape[:2]
    small_h, small_w = max(1, round(height * scale)), max(1, round(width * scale))
    if (small_h, small_w) != (height, width):
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (small_w, small_h), interpolation=kind), np.uint8)
    below, right = -small_h % STRIDE, -small_w % STRIDE
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)
    return np.asarray(padded, np.uint8), (width / small_w, height / small_h)
