"""Hide parts of faces, and damage scenes as light, lenses, sensors and codecs do."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.textures import textures
from train.detector.config import Scenes

# Corners in shares of the eye distance (x) and of the way from eyes to mouth (y), from the middle of the eyes.
GLASSES = np.array([(-0.85, -0.25), (0.85, -0.25), (0.85, 0.3), (-0.85, 0.3)])
MASK = np.array([(-0.9, 0.45), (0.0, 0.3), (0.9, 0.45), (0.7, 1.2), (0.0, 1.7), (-0.7, 1.2)])
SPREAD = 0.12  # of the corners
PRINTED = 0.3  # share of what hides parts of faces that looks like a photo


def occlude(
    image: NDArray[np.uint8], box: NDArray[np.float32], points: NDArray[np.float32], random: np.random.Generator
) -> None:
    """Cover mouth and nose as a mask does, the eyes as dark glasses do, or one side as a hand or a neighbour does."""
    kind = random.choice(["mask", "glasses", "side"], p=[0.7, 0.15, 0.15])
    if kind == "side":
        corners = _side(box, random)
    else:
        shape = MASK if kind == "mask" else GLASSES
        right, left, mouth = points[0], points[1], (points[3] + points[4]) / 2
        middle = (right + left) / 2
        corners = middle + (shape + random.normal(0, SPREAD, shape.shape)) @ np.array([left - right, mouth - middle])
    tone = random.integers(0, 60) if kind == "glasses" else random.integers(0, 256)
    _cover(image, corners.round().astype(np.int32), float(tone), random)


def _cover(image: NDArray[np.uint8], corners: NDArray[np.int32], tone: float, random: np.random.Generator) -> None:
    """Fill a polygon with a tone that has folds or spots, as cloth has, or the look of a photo without people."""
    size = np.array(image.shape[::-1])
    low, high = np.clip(corners.min(axis=0), 0, size - 1), np.clip(corners.max(axis=0) + 1, 1, size)
    width, height = (int(side) for side in np.maximum(high - low, 1))
    finest = 9 if random.random() < 0.6 else 25
    look = random.normal(0, random.uniform(0, 40), (int(random.integers(1, finest)), int(random.integers(1, finest))))
    if random.random() < PRINTED:
        photo = textures()[random.integers(len(textures()))]
        side = int(random.integers(8, min(photo.shape)))
        y, x = (random.integers(0, most - side + 1) for most in photo.shape)
        look = photo[y : y + side, x : x + side].astype(np.float64)
        look = (look - look.mean()) * random.uniform(0.3, 1.2)
    cloth = cv2.resize((tone + look).clip(0, 255).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [corners - low.astype(np.int32)], (255,), lineType=cv2.LINE_AA)
    part = image[low[1] : low[1] + height, low[0] : low[0] + width]
    part[:] = (part + (cloth.astype(np.float32) - part) * (inside / np.float32(255))).astype(np.uint8)


def _side(box: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    low, high = box[:2].copy(), box[2:].copy()
    axis, share = int(random.integers(2)), random.uniform(0.15, 0.45)
    if random.random() < 0.5:
        high[axis] = low[axis] + share * (high[axis] - low[axis])
    else:
        low[axis] = high[axis] - share * (high[axis] - low[axis])
    return np.array([low, (high[0], low[1]), high, (low[0], high[1])])


def damage(image: NDArray[np.uint8], settings: Scenes, random: np.random.Generator) -> NDArray[np.uint8]:
    """Change tones and light, then blur, add noise and compress, each with its share."""
    gain, offset = random.uniform(0.6, 1.4), random.uniform(-40, 40)
    if random.random() < settings.dark:
        gain, offset = random.uniform(0.1, 0.45), random.uniform(0, 25)
    tones = np.linspace(0, 1, 256) ** np.exp(random.normal(0, 0.25)) * 255
    picture = np.asarray(
        cv2.LUT(image, ((tones - 128) * gain + 128 * min(gain, 1) + offset).clip(0, 255).astype(np.uint8))
    )
    if random.random() < settings.blur:
        if random.random() < 0.5:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), random.uniform(0.4, 1.8)))
        else:
            reach = int(random.integers(2, 7))
            picture = np.asarray(cv2.blur(picture, (reach, 1) if random.random() < 0.5 else (1, reach)))
    if random.random() < settings.noise:
        noise = random.integers(-128, 128, picture.shape, dtype=np.int8).astype(np.float32) * random.uniform(0.02, 0.2)
        picture = (picture + noise).clip(0, 255).astype(np.uint8)
    if random.random() < settings.jpeg:
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 70))])[1]
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE))
    return np.asarray(picture, np.uint8)
