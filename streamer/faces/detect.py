"""Face detectors. A detector takes several streams' pictures at once and belongs to one thread.

All boxes are canonical face boxes: forehead to chin, about ear to ear, as YuNet draws them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine
from engines.finite import Finite, placed
from streamer.faces.copies import COARSE, STRIDE, Copy, copies_of
from streamer.faces.decode import decode_yunet, keep_best
from streamer.faces.landmarks import HOG_TO_FACE
from streamer.types import Detections

LARGEST_BATCH = 8  # copies a call of a network


class Detector(Protocol):
    """Find faces."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Return the faces of each (H, W, 3) uint8 BGR picture, best score first."""
        ...

    def close(self) -> None:
        """Free what the detector holds."""
        ...


class Searcher:
    """Hold what all detectors share: the copies of pictures that are searched, and batches of those of one shape.

    min_face: smallest face wanted, pixels; smaller ones may be among the answers. scale: pixels of the finest copy per
    pixel of the picture. threshold: lowest score, 0-1. tile, coarse: see `copies_of`. finite: counts answers that are
    no numbers, and so no faces.
    """

    def __init__(
        self, min_face: int, scale: float, threshold: float, tile: int | None = None, coarse: Sequence[int] = COARSE
    ) -> None:
        self.min_face = min_face
        self.finite = Finite()
        self._scale, self._threshold, self._tile, self._coarse = scale, threshold, tile, coarse

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Search all copies of one shape together, whichever picture they show."""
        pictures = [self._prepare(image) for image in images]
        found: list[list[Detections]] = [[] for _ in images]
        by_shape: dict[tuple[int, int], list[tuple[int, Copy]]] = {}
        for number, picture in enumerate(pictures):
            for copy in self._copies(*picture.shape[:2]):
                by_shape.setdefault(copy.shape, []).append((number, copy))
        for wanted in by_shape.values():
            for start in range(0, len(wanted), LARGEST_BATCH):
                chunk = wanted[start : start + LARGEST_BATCH]
                batch = np.stack([copy.cut(pictures[number]) for number, copy in chunk])
                for (number, copy), faces in zip(chunk, self._decode(batch), strict=True):
                    found[number].append(copy.in_picture(faces, pictures[number]))
        return [keep_best(_joined(parts), self._threshold) for parts in found]

    def close(self) -> None:
        """Free what is held; nothing here."""

    def _prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return image

    def _copies(self, height: int, width: int) -> list[Copy]:
        return copies_of(height, width, self._scale, self._tile, self._coarse)

    def _decode(self, batch: NDArray[np.uint8]) -> list[Detections]:
        """Return the faces of each picture of an (N, H, W, ...) batch, in its pixels."""
        raise NotImplementedError

    def _best(self, network: str, faces: Detections) -> Detections:
        """Return the faces of one picture that a network is sure enough of, the best of each."""
        points = () if faces.landmarks is None else (placed(faces.landmarks),)
        return keep_best(faces[self.finite(network, (placed(faces.boxes), faces.scores, *points))], self._threshold)


class HogDetector(Searcher):
    """Run dlib's frontal face detector (Dalal & Triggs 2005 features, King 2015 training) on a scaled grey picture.

    min_face: smallest face wanted, pixels; its 80-pixel window sets the scale, so larger values are faster.
    threshold: lowest score, 0-1; scores are 0.5 at the classifier's border and 1 at a margin of 2. It searches all
    sizes by itself: a coarse copy is only needed for faces that are larger than tiles can show.
    """

    WINDOW = 80

    def __init__(self, min_face: int = 80, threshold: float = 0.4, tile: int | None = None) -> None:
        import dlib

        super().__init__(min_face, self.WINDOW / min_face, threshold, tile, COARSE[:1] if tile else ())
        self._detector: Any = dlib.get_frontal_face_detector()

    def _prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)

    def _decode(self, batch: NDArray[np.uint8]) -> list[Detections]:
        return [self._run(grey) for grey in batch]

    def _run(self, grey: NDArray[np.uint8]) -> Detections:
        found, margins, _ = self._detector.run(grey, 0, 4 * (self._threshold - 0.5))
        if not len(found):
            return Detections.empty()
        corners = np.array([(box.left(), box.top(), box.right() + 1, box.bottom() + 1) for box in found], np.float64)
        centre, side = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        centre = centre + side * HOG_TO_FACE[:2]
        side = side * HOG_TO_FACE[2:]
        boxes = np.concatenate([centre - side / 2, centre + side / 2], axis=1)
        scores = np.clip(0.5 + 0.25 * np.array(margins), 0, 1)
        return Detections(boxes.astype(np.float32), scores.astype(np.float32))


class ZooDetector(Searcher):
    """Run our own detector (`train/detector`): grey pictures in, decoded boxes out.

    min_face: smallest face wanted, pixels; the network finds most faces from 20 pixels on, which sets the scale. Below
    that pictures are enlarged. threshold: lowest score; scores are 0.5 at the working point chosen on held-back
    scenes. budget: seconds a picture; where the measured pace says that its copies cost more, smaller faces are given
    up. None searches at the same scale always, so that a file gives the same answer twice.
    """

    SMALLEST = 20

    def __init__(
        self,
        engine: Engine,
        min_face: int = 32,
        threshold: float = 0.1,
        tile: int | None = None,
        coarse: Sequence[int] = COARSE,
        budget: float | None = None,
    ) -> None:
        super().__init__(min_face, self.SMALLEST / min_face, threshold, tile, coarse)
        self.engine = engine
        self._budget = budget
        self._pace = 0.0  # seconds a pixel of copies, smoothed
        self._spent = np.zeros(2)  # seconds and pixels of this call

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Search all copies of one shape together, and take the pace of it."""
        self._spent[:] = 0
        found = super().detect(images)
        if self._spent[1]:
            pace = float(self._spent[0] / self._spent[1])
            self._pace = 0.8 * self._pace + 0.2 * pace if self._pace else pace
        return found

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take grey and 16-bit pictures as well: photos come so."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return np.asarray(grey // 256 if grey.dtype == np.uint16 else grey, np.uint8)

    def _copies(self, height: int, width: int) -> list[Copy]:
        """Take the wanted scale, or what the budget bears in quarter octaves: each new input size costs once."""
        copies = super()._copies(height, width)
        steps = math.ceil(4 * math.log2(self._scale))
        smallest = (STRIDE, STRIDE)  # as small as a copy gets: tiles are as many at every scale
        while self._over_budget(copies) and any(copy.shape != smallest for copy in copies):
            steps -= 1
            copies = copies_of(height, width, 2 ** (steps / 4), self._tile, self._coarse)
        return copies

    def _over_budget(self, copies: Sequence[Copy]) -> bool:
        return self._budget is not None and self._pace * _pixels(copies) > self._budget

    def _decode(self, batch: NDArray[np.uint8]) -> list[Detections]:
        started = time.monotonic()
        outputs = self.engine.infer(batch[..., None])
        self._spent += time.monotonic() - started, batch.size
        parts = zip(outputs["boxes"], outputs["scores"], outputs["points"], strict=True)
        return [self._best(self.engine.spec.name, Detections(*rows)) for rows in parts]


class YuNetDetector(Searcher):
    """Run YuNet (Wu et al. 2023) on an engine, with the decoding here.

    min_face: smallest face wanted, pixels; the network finds faces from about 16 pixels on, which sets the scale.
    threshold: lowest score, 0-1.
    """

    SMALLEST = 16

    def __init__(
        self,
        engine: Engine,
        min_face: int = 40,
        threshold: float = 0.6,
        tile: int | None = None,
        coarse: Sequence[int] = COARSE,
    ) -> None:
        super().__init__(min_face, min(1.0, self.SMALLEST / min_face), threshold, tile, coarse)
        self.engine = engine

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()

    def _decode(self, batch: NDArray[np.uint8]) -> list[Detections]:
        found = decode_yunet(self.engine.infer(batch), *batch.shape[:3])
        return [self._best(self.engine.spec.name, faces) for faces in found]


def _joined(parts: Sequence[Detections]) -> Detections:
    """Put the faces of all copies of a picture together."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return Detections.empty()
    landmarks = [part.landmarks for part in parts if part.landmarks is not None]
    return Detections(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(landmarks) if len(landmarks) == len(parts) else None,
    )


def _pixels(copies: Sequence[Copy]) -> int:
    return sum(copy.shape[0] * copy.shape[1] for copy in copies)
