"""Hide parts of faces, and damage scenes as light, lenses, sensors and codecs do."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.textures import textures
from train.detector.batches.place import Scene
from train.detector.config import Scenes

# Corners in shares of the eye distance (x) and of the way from eyes to mouth (y), from the middle of the eyes.
GLASSES = np.array([(-0.85, -0.25), (0.85, -0.25), (0.85, 0.3), (-0.85, 0.3)])
MASK = np.array([(-0.9, 0.45), (0.0, 0.3), (0.9, 0.45), (0.7, 1.2), (0.0, 1.7), (-0.7, 1.2)])
# Where the five points lie in a face's box, as shares of it, for faces whose points nobody said.
TYPICAL = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.33, 0.79), (0.67, 0.79)], np.float32)
# What no eye finds any more is disputed. In shares of the face's side: sigma of blur, length of motion; and pixels.
BLURRED, MOVED, PIXELS = 0.1, 0.25, 9.0
NOISY = 0.8  # of a scene's deviation is how far noise goes at most: in the dark more would leave nothing to be seen
SPREAD = 0.12  # of the corners
PRINTED = 0.3  # share of what hides parts of faces that looks like a photo


def occlude(
    image: NDArray[np.uint8], box: NDArray[np.float32], points: NDArray[np.float32], random: np.random.Generator
) -> None:
    """Cover mouth and nose as a mask does, the eyes as dark glasses do, one side, or any of it with a hand."""
    kind = random.choice(["mask", "glasses", "side", "hand"], p=[0.5, 0.17, 0.15, 0.18])
    points = np.where(np.isfinite(points), points, box[:2] + TYPICAL * (box[2:] - box[:2]))
    right, left, mouth = points[0], points[1], (points[3] + points[4]) / 2
    if kind == "hand":
        _hand(image, box, (right + left) / 2, mouth, random)
        return
    if kind == "side":
        corners = _side(box, random)
    else:
        shape = MASK if kind == "mask" else GLASSES
        middle = (right + left) / 2
        corners = middle + (shape + random.normal(0, SPREAD, shape.shape)) @ np.array([left - right, mouth - middle])
    tone = random.integers(0, 60) if kind == "glasses" else random.integers(0, 256)
    _cover(image, corners.round().astype(np.int32), float(tone), random)


def _hand(
    image: NDArray[np.uint8],
    box: NDArray[np.float32],
    eyes: NDArray[np.float32],
    mouth: NDArray[np.float32],
    random: np.random.Generator,
) -> None:
    """Lay fingers and a palm in about the tone of the face over mouth, eyes or a cheek."""
    (x0, y0), (x1, y1) = box[:2].clip(0), box[2:].clip(1)
    inside = image[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1]
    skin = float(np.median(inside)) if inside.size else 128.0
    side = float((box[2:] - box[:2]).max())
    centre = eyes + (mouth - eyes) * random.choice([0.0, 0.5, 1.0]) + random.normal(0, 0.1 * side, 2)
    angle = random.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    wide, tone = side * random.uniform(0.1, 0.16), skin * random.uniform(0.7, 1.2)
    palm = centre + along * side * random.uniform(0.3, 0.6)
    for width, shade in ((1.0, 0.7), (0.75, 1.0)):  # an edge in the shade, then the light part
        ink = float(np.clip(tone * shade, 0, 255))
        thick = max(1, round(wide * width))
        cv2.line(image, _pixel(palm), _pixel(palm + along * side), (ink,), max(1, round(3.6 * thick)), cv2.LINE_AA)
        for number in range(4):
            root = palm + across * wide * (number - 1.5)
            tip = centre - along * side * random.uniform(0.0, 0.35) + across * wide * 1.05 * (number - 1.5)
            cv2.line(image, _pixel(root), _pixel(tip), (ink,), thick, cv2.LINE_AA)


def _pixel(place: NDArray[Any]) -> tuple[int, int]:
    x, y = np.clip(place, -9999, 9999)
    return round(float(x)), round(float(y))


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


def damage(scene: Scene, settings: Scenes, random: np.random.Generator) -> None:
    """Change tones and light, then blur, show from few pixels, add noise and compress, each with its share.

    Blur and pixels are measured by one of the faces; those that nobody could find after it become disputed.
    """
    sides = [float((box[2:] - box[:2]).max()) for box in scene.boxes]
    judged = [side for side, kind in zip(sides, scene.kind, strict=True) if kind == 1]
    side = judged[int(random.integers(len(judged)))] if judged else float(np.exp(random.uniform(2.5, 5)))
    picture, lost = _light(scene.image, settings, random), 0.0  # lost: side of the faces that nobody finds
    if random.random() < settings.blur:
        if random.random() < 0.6:
            sigma = random.uniform(0, 0.08) * side
            picture, lost = np.asarray(cv2.GaussianBlur(picture, (0, 0), max(sigma, 0.3)), np.uint8), sigma / BLURRED
        else:
            length = random.uniform(0.02, 0.2) * side
            picture, lost = _move(picture, length, random.uniform(0, np.pi)), length / MOVED
    if random.random() < settings.coarse:
        scale = min(1.0, random.uniform(10, 30) / side)
        picture, lost = _coarsen(picture, scale, random), max(lost, PIXELS / scale)
    if random.random() < settings.noise:
        strength = min(random.uniform(0.02, 0.2), NOISY * float(picture.std()) / 128)
        noise = random.integers(-128, 128, picture.shape, dtype=np.int8).astype(np.float32) * strength
        picture = (picture + noise).clip(0, 255).astype(np.uint8)
    if random.random() < settings.jpeg:
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(15, 70))])[1]
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)
    scene.image = picture
    scene.kind = [-1 if long < lost else kind for long, kind in zip(sides, scene.kind, strict=True)]


def _light(image: NDArray[np.uint8], settings: Scenes, random: np.random.Generator) -> NDArray[np.uint8]:
    gain, offset = random.uniform(0.6, 1.4), random.uniform(-40, 40)
    middle = 128.0
    if random.random() < settings.dark:
        gain, offset = float(np.exp(random.uniform(np.log(0.08), np.log(0.45)))), random.uniform(0, 25)
    elif random.random() < settings.glare:
        gain, offset, middle = random.uniform(1.3, 2.6), random.uniform(0, 60), 0.0
    tones = np.linspace(0, 1, 256) ** np.exp(random.normal(0, 0.25)) * 255
    changed = (tones - middle) * gain + middle * min(gain, 1) + offset
    return np.asarray(cv2.LUT(image, changed.clip(0, 255).astype(np.uint8)), np.uint8)


def _move(image: NDArray[np.uint8], length: float, angle: float) -> NDArray[np.uint8]:
    """Smear a picture along a line, as a moving camera does."""
    reach = max(1, round(length / 2))
    along = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    cv2.line(kernel, _pixel(reach - along), _pixel(reach + along), (1.0,), 1, cv2.LINE_AA)
    return np.asarray(cv2.filter2D(image, -1, kernel / max(float(kernel.sum()), 1e-6), borderType=cv2.BORDER_REPLICATE))


def _coarsen(image: NDArray[np.uint8], scale: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """Shrink a picture and enlarge it again."""
    size = max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    kind = [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC][random.choice(3, p=[0.1, 0.5, 0.4])]
    return np.asarray(cv2.resize(small, image.shape[::-1], interpolation=kind), np.uint8)
