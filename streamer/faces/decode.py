"""From a detector's output to boxes: YuNet's maps decoded, and of boxes on one face the best kept.

Our own network decodes inside its graph (`decode` of `train/models/detector.py`): what it answers are boxes.
"""

from __future__ import annotations

import cv2
import numpy as np

from engines import EngineSpec, Outputs
from streamer.faces.boxes import inside
from streamer.types import Detections

OVERLAP = 0.3  # of two boxes with a larger IoU only the better one is kept
INSIDE = 0.7  # a box of which a larger share lies inside a better one is a part of that face

YUNET = EngineSpec(
    name="yunet",
    task="detection",
    height=None,
    width=None,
    channels=3,
    outputs=tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in (8, 16, 32)),
)


def decode_yunet(outputs: Outputs, count: int, height: int, width: int) -> list[Detections]:
    """Turn the maps of (count, height, width, 3) pictures into the answer of every cell of each, in pixels.

    Boxes and points are offsets from the cell, in strides (sizes as logs).
    """
    scores, boxes, points = [], [], []
    for stride in (8, 16, 32):
        cells = np.stack(np.meshgrid(np.arange(width // stride), np.arange(height // stride)), axis=-1).reshape(-1, 2)
        maps = {
            kind: outputs[f"{kind}_{stride}"].reshape(count, len(cells), -1) for kind in ("cls", "obj", "bbox", "kps")
        }
        scores.append(np.sqrt(np.clip(maps["cls"], 0, 1) * np.clip(maps["obj"], 0, 1))[..., 0])
        centre = (cells + maps["bbox"][..., :2]) * stride
        half = np.exp(np.minimum(maps["bbox"][..., 2:], 8)) * stride / 2
        boxes.append(np.concatenate([centre - half, centre + half], axis=-1))
        points.append((maps["kps"].reshape(count, len(cells), 5, 2) + cells[:, None]) * stride)
    parts = (np.concatenate(part, axis=1).astype(np.float32) for part in (boxes, scores, points))
    return [Detections(*rows) for rows in zip(*parts, strict=True)]


def keep_best(faces: Detections, threshold: float) -> Detections:
    """Drop faces below the threshold, and of two that overlap or of which one holds the other, the worse."""
    faces = faces[faces.scores >= threshold]
    if not len(faces):
        return faces
    corners = faces.boxes.astype(np.float64)
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    kept = cv2.dnn.NMSBoxes(sides.tolist(), faces.scores.tolist(), threshold, OVERLAP)
    return _whole(faces[np.asarray(kept, np.int64).reshape(-1)])


def _whole(faces: Detections) -> Detections:
    """Drop faces that mostly lie inside a better one; the best come first."""
    within = inside(faces.boxes, faces.boxes) >= INSIDE
    kept = np.ones(len(faces), np.bool_)
    for row in np.flatnonzero(np.tril(within, -1).any(axis=1)):
        kept[row] = not (within[row, :row] & kept[:row]).any()
    return faces[kept]
