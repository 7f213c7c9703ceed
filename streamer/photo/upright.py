"""Photos that lie on their side or head and do not say so: their faces tell, where none is surely upright.

A turned copy of such a photo shows a face whose eyes are above its mouth and of which both networks are sure. Things
look like faces in any position, and copies are three more chances to be wrong, so much more belief is asked of a
turned face than of an upright one; and a single face that is upright already settles it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.belief import believe
from streamer.stages.perceive import Perceiver
from streamer.types import Face, Frame

TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
LONGEST = 1280  # pixels, of the copies that are turned and searched
SURE = 0.985  # belief from which on an upright face is sure
SURE_TURNED = 0.998  # and one in a turned copy
SMALLEST = 24  # pixels of a copy, the longer side of a face that may turn a photo
LEAN = 45.0  # degrees by which an upright face may lean
EYES, MOUTH = slice(36, 48), slice(48, 68)


def find_turn(perceive: Perceiver, image: NDArray[np.uint8], faces: Sequence[Face]) -> int:
    """Return by how many degrees clockwise a (H, W, 3) BGR picture is to be turned to be upright: 0, 90, 180 or 270.

    faces: those found in it as it is. Where one of them is surely upright, or nobody looks for landmarks, nothing is
    searched.
    """
    if perceive.landmarker is None or any(_evidence(face) >= SURE for face in faces):
        return 0
    scale = min(1.0, LONGEST / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8) if scale < 1 else image
    # Under names of their own, since each is a picture without a past.
    copies = [Frame(turned(small, turn), f"turned by {turn}°", 0, 0.0, time.monotonic()) for turn in TURNS]
    found = perceive(copies)
    for copy in copies:
        perceive.forget(copy.stream)
    weights = [_weight(result.faces) for result in found]
    return list(TURNS)[int(np.argmax(weights))] if max(weights) > 0 else 0


def turned(image: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """Turn a (H, W, 3) picture by 90, 180 or 270 degrees clockwise."""
    return np.asarray(cv2.rotate(image, TURNS[degrees]), np.uint8)


def _weight(faces: Sequence[Face]) -> float:
    """Return the summed log odds of the faces that may turn a photo."""
    sides = [float((face.box[2:] - face.box[:2]).max()) for face in faces]
    sure = [
        evidence
        for face, side in zip(faces, sides, strict=True)
        if side >= SMALLEST and (evidence := _evidence(face)) >= SURE_TURNED
    ]
    return sum(float(np.log(one / max(1 - one, 1e-6))) for one in sure)


def _evidence(face: Face) -> float:
    """Return how sure it is, 0-1, that this is a face and upright; 0 where it is not, or nobody can tell."""
    if face.landmarks is None or face.usable is None:
        return 0.0
    across, down = face.landmarks[MOUTH].mean(axis=0) - face.landmarks[EYES].mean(axis=0)
    if abs(np.degrees(np.arctan2(across, down))) > LEAN:
        return 0.0
    score, usable = np.array([face.score], np.float32), np.array([[face.usable]], np.float32)
    return float(believe(score, usable)[0])
