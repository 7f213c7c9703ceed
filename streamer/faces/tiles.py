"""Search large photos piece by piece, so that small faces are found with bounded memory. Belongs to one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.detect import Detector, keep_best
from streamer.types import Detections

EDGE = 3  # pixels; a face so near to a cut is taken for cut through


@dataclass(frozen=True, eq=False)
class Piece:
    """Hold a part of a picture: picture pixels per pixel of the piece, and x0, y0, x1, y1 in the picture."""

    image: NDArray[np.uint8]
    scale: float
    region: tuple[int, int, int, int]


class TiledDetector:
    """Let a detector search overlapping tiles and, for the large faces, the whole picture shrunk to one tile.

    tile: side of a tile in pixels of the picture; smaller pictures are searched as they are. overlap: pixels that
    neighbours share; faces up to that size are whole in one of them.
    """

    def __init__(self, detector: Detector, tile: int = 640, overlap: int = 160) -> None:
        if not 0 <= overlap < tile:
            raise ValueError(f"overlap {overlap}: expected at least 0 and less than the tile's {tile} pixels")
        self.detector, self.tile, self.overlap = detector, tile, overlap

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Search each (H, W, 3) uint8 BGR picture; the tiles of all of them share batches."""
        pictures = [self._cut(image) for image in images]
        found = iter(self.detector.detect([piece.image for pieces in pictures for piece in pieces]))
        return [
            _join([_in_picture(next(found), piece, image.shape[:2]) for piece in pieces])
            for image, pieces in zip(images, pictures, strict=True)
        ]

    def close(self) -> None:
        """Close the detector."""
        self.detector.close()

    def _cut(self, image: NDArray[np.uint8]) -> list[Piece]:
        height, width = image.shape[:2]
        if max(height, width) <= self.tile:
            return [Piece(image, 1.0, (0, 0, width, height))]
        shrink = max(height, width) / self.tile
        size = max(1, round(width / shrink)), max(1, round(height / shrink))
        whole = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        pieces = [Piece(whole, shrink, (0, 0, width, height))]
        for y in self._starts(height):
            for x in self._starts(width):
                part = image[y : y + self.tile, x : x + self.tile]
                pieces.append(Piece(part, 1.0, (x, y, x + part.shape[1], y + part.shape[0])))
        return pieces

    def _starts(self, length: int) -> list[int]:
        """Spread tiles evenly over a side."""
        if length <= self.tile:
            return [0]
        count = int(np.ceil((length - self.overlap) / (self.tile - self.overlap)))
        return [int(start) for start in np.linspace(0, length - self.tile, count).round()]


def _in_picture(faces: Detections, piece: Piece, shape: tuple[int, ...]) -> Detections:
    """Move faces to where they are in the picture; those that a cut goes through are whole in another piece."""
    x0, y0, x1, y1 = piece.region
    shift = np.array([x0, y0], np.float32)
    landmarks = None if faces.landmarks is None else faces.landmarks * piece.scale + shift
    moved = Detections(faces.boxes * piece.scale + np.tile(shift, 2), faces.scores, landmarks)
    low = np.array([x0 + EDGE if x0 else -np.inf, y0 + EDGE if y0 else -np.inf])
    high = np.array([x1 - EDGE if x1 < shape[1] else np.inf, y1 - EDGE if y1 < shape[0] else np.inf])
    whole = ((moved.boxes[:, :2] >= low) & (moved.boxes[:, 2:] <= high)).all(axis=1)
    return moved[np.asarray(whole, np.bool_)]


def _join(parts: Sequence[Detections]) -> Detections:
    """Put the faces of all pieces together; of two that cover each other the surer stays."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return Detections.empty()
    landmarks = [part.landmarks for part in parts if part.landmarks is not None]
    return keep_best(
        Detections(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate(landmarks) if len(landmarks) == len(parts) else None,
        ),
        0.0,
    )
