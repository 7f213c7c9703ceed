"""Let the network look for its own false alarms in the training pictures: what it takes for faces is painted often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from streamer.faces.boxes import iou
from train.detector.batches.pictures import Picture
from train.detector.predict import predict
from train.detector.scores import on_disputed

# Those that show more than a face, print twice as often:
SOURCES = (
    *("things", "rendered", "backgrounds"),
    *("groups", "people", "lfw", "masks", "videos"),
    "things",
    "rendered",
)
LOOKED_AT = 120  # pictures an epoch
SIDES = (160, 640)  # pixels that the longer side of such a picture gets
ALARMING = 0.2  # score from which an answer is worth painting
MOST = 4  # of a picture
TOUCHING = 0.05  # IoU with a face, sure or disputed, from which an answer is none of ours
STEP = 32  # of the network's sides


class Alarm(NamedTuple):
    """Hold a place without a face that was taken for one: a picture and a (4,) box in its pixels."""

    picture: Picture
    box: NDArray[np.float32]


def mine(network: nn.Module, pictures: Sequence[Picture], random: np.random.Generator) -> list[Alarm]:
    """Return the false alarms of a network on pictures drawn at random, each at a random size, sources by turns."""
    by_source = [[picture for picture in pictures if picture.source == name] for name in SOURCES]
    by_source = [found for found in by_source if found]
    alarms = []
    for number in range(LOOKED_AT if by_source else 0):
        found = by_source[number % len(by_source)]
        side = float(np.exp(random.uniform(*np.log(SIDES))))
        alarms += _alarms(network, found[random.integers(len(found))], side)
    return alarms


def _alarms(network: nn.Module, picture: Picture, side: float) -> list[Alarm]:
    scale = side / max(picture.image.shape)
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = cv2.resize(picture.image, None, fx=scale, fy=scale, interpolation=kind)
    height, width = image.shape
    padded = np.zeros((-height // STEP * -STEP, -width // STEP * -STEP), np.uint8)
    padded[:height, :width] = image
    [found] = predict(network, padded[None], ALARMING)
    boxes = found.boxes / np.float32(scale)
    known = (iou(boxes, picture.boxes) > TOUCHING).any(axis=1) | on_disputed(boxes, picture.boxes)
    order = np.argsort(-found.scores[~known])[:MOST]
    return [Alarm(picture, box) for box in boxes[~known][order]]
