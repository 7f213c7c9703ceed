"""Put a picture and its faces into a scene: scaled, turned, mirrored, cut to a region."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from train.detector.batches.pictures import Picture
from train.detector.teacher import MIRRORED

HIDDEN, PARTLY = 0.15, 0.5  # visible shares of a face below which it is none, and below which it is disputed
CUT = 0.75  # the same as PARTLY where another photo begins, not the scene ends

Region = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels of the scene


@dataclass
class Scene:
    """Hold a scene while it is painted: (S, S) uint8, and its faces; kind is 1 for a face, -1 for a disputed one."""

    image: NDArray[np.uint8]
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    points: list[NDArray[np.float32]] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Pose:
    """Say how a picture's face lands in a scene: centre and longer side in pixels, rotation in radians."""

    x: float
    y: float
    side: float
    angle: float = 0.0
    mirrored: bool = False
    stretch: float = 1.0


def place(
    scene: Scene, picture: Picture, anchor: NDArray[np.float32], pose: Pose, region: Region, outside: int
) -> None:
    """Draw a picture so that the box `anchor` of it takes the pose, and enter its faces; `outside` fills what it lacks.

    outside: grey level, or -1 to repeat the picture's border.
    """
    matrix = matrix_of(anchor, pose)
    x0, y0, x1, y1 = region
    scene.image[y0:y1, x0:x1] = _warp(picture.image, matrix, region, outside)
    enter(scene, picture, matrix, pose, region)


def cut_out(scene: Scene, picture: Picture, face: int, pose: Pose) -> None:
    """Draw one face alone, through a soft ellipse a little larger than its box."""
    matrix = matrix_of(picture.boxes[face], pose)
    reach = 0.8 * pose.side
    size = scene.image.shape[0]
    x0, x1 = (int(np.clip(round(pose.x + sign * reach), 0, size)) for sign in (-1, 1))
    y0, y1 = (int(np.clip(round(pose.y + sign * reach), 0, size)) for sign in (-1, 1))
    if x1 <= x0 or y1 <= y0:
        return
    patch = _warp(picture.image, matrix, (x0, y0, x1, y1), -1)
    low, high = _turned(picture.boxes[face], matrix, pose).reshape(2, 2)
    y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
    (cx, cy), (rx, ry) = (low + high) / 2, np.maximum(high - low, 2) / 2 * 1.12
    inside = np.clip((1.12 - np.hypot((x - cx) / rx, (y - cy) / ry)) / 0.15, 0, 1)
    below = scene.image[y0:y1, x0:x1].astype(np.float32)
    scene.image[y0:y1, x0:x1] = (inside * patch + (1 - inside) * below).astype(np.uint8)
    alone = Picture(picture.image, picture.boxes[face : face + 1], picture.points[face : face + 1],
                    picture.sure[face : face + 1], picture.source)  # fmt: skip
    enter(scene, alone, matrix, pose, (0, 0, size, size))


def matrix_of(anchor: NDArray[np.float32], pose: Pose) -> NDArray[np.float64]:
    """Return the (2, 3) map from the picture to the scene that gives a box its pose."""
    width, height = anchor[2:] - anchor[:2]
    scale = pose.side / max(width, height, 1e-3)
    cos, sin = np.cos(pose.angle), np.sin(pose.angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([scale * (-1 if pose.mirrored else 1), scale * pose.stretch])
    centre = (anchor[:2] + anchor[2:]) / 2
    return np.concatenate([turn, (np.array([pose.x, pose.y]) - turn @ centre)[:, None]], axis=1)


def enter(scene: Scene, picture: Picture, matrix: NDArray[np.float64], pose: Pose, region: Region) -> None:
    """Note the faces of a picture that was drawn into a region, and whether they can be judged."""
    for box, points, sure in zip(picture.boxes, picture.points, picture.sure, strict=True):
        turned = _turned(box, matrix, pose)
        low, high = np.maximum(turned[:2], region[:2]), np.minimum(turned[2:], region[2:])
        seen = np.prod(np.maximum(high - low, 0)) / max(float(np.prod(turned[2:] - turned[:2])), 1e-6)
        if seen < HIDDEN:
            continue
        where = points @ matrix[:, :2].T + matrix[:, 2]
        judged = bool(sure) and seen >= (CUT if region != (0, 0, *scene.image.shape[::-1]) else PARTLY)
        if not judged:
            turned = np.concatenate([low, high])  # what lies beyond belongs to others
        scene.boxes.append(turned.astype(np.float32))
        scene.points.append(where[MIRRORED].astype(np.float32) if pose.mirrored else where.astype(np.float32))
        scene.kind.append(1 if judged else -1)


def _turned(box: NDArray[np.float32], matrix: NDArray[np.float64], pose: Pose) -> NDArray[np.float64]:
    """Return the upright box around the ellipse that a face's box holds, after the map."""
    x, y = matrix[:, :2] @ ((box[:2] + box[2:]) / 2) + matrix[:, 2]
    half = np.abs(matrix[:, :2]) ** 2 @ (((box[2:] - box[:2]) / 2) ** 2)
    rx, ry = np.sqrt(half)
    return np.array([x - rx, y - ry, x + rx, y + ry])


def _warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], region: Region, outside: int) -> NDArray[np.uint8]:
    """Draw the part of an image that falls into a region; what is shrunk is averaged first."""
    x0, y0, x1, y1 = region
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    shift = matrix - np.array([[0, 0, x0], [0, 0, y0]])
    back = cv2.invertAffineTransform(shift)
    corners = np.array([[0, 0], [x1 - x0, 0], [0, y1 - y0], [x1 - x0, y1 - y0]]) @ back[:, :2].T + back[:, 2]
    low = np.clip(np.floor(corners.min(axis=0)) - 2, 0, np.array(image.shape[::-1]) - 1).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2, low + 1, image.shape[::-1]).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    shift[:, 2] += shift[:, :2] @ low
    if scale < 0.7:
        size = max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale))
        shift[:, :2] *= np.array([part.shape[1] / size[0], part.shape[0] / size[1]])
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    border = cv2.BORDER_REPLICATE if outside < 0 else cv2.BORDER_CONSTANT
    target = (x1 - x0, y1 - y0)
    drawn = cv2.warpAffine(
        part, shift, target, flags=cv2.INTER_LINEAR, borderMode=border, borderValue=(max(outside, 0),)
    )
    return np.asarray(drawn, np.uint8)
