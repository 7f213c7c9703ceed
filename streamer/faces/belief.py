"""Is what the detector found a face? Letters, lamps and paws look like one to it, less so to the landmark network.

Each of the two scores is wrong about other things, so their log odds are added; and a face is still one where the look
at it moves a little, which most things are not. Print and drawings are made of even areas, skin is even nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import iou
from streamer.faces.landmarks import Landmarker, Landmarks
from streamer.faces.likeness import describe
from streamer.faces.roll import roll_of
from streamer.types import Detections, Frame

SHIFTS = (0.08, -0.08)  # by which a second and a third look are moved down and right, in longer sides of the box
CELLS = 24  # a side, in which the shades of what is found are looked at
EVEN = 0.02  # difference of neighbouring cells, in standard deviations of all, below which they count as even
MOST_EVEN = 0.25  # largest share of even cells in a face
WORTH = 0.3  # belief after one look from which on others are worth their time
# What is clearly no face is not looked at again for so many seconds while it stays about where it was and looks alike:
# of 457 such things in thirteen clips two would have been believed by then.
REST = 1.0
SAME_PLACE = 0.4  # overlap with where it was found last
SAME_LOOK = 0.85  # likeness

Verdict = tuple[Landmarks, NDArray[np.float32] | None]


def judge(landmarker: Landmarker, images: Sequence[NDArray[np.uint8]], found: Sequence[Detections]) -> list[Verdict]:
    """Look at the N detections in each (H, W, 3) BGR picture, as one batch, turned back as the detector's points say.

    Returns what was located in each picture, and the (N,) float32 belief, 0-1, that it is a face; None where the
    landmarker cannot say.
    """
    looks = landmarker.look(images, [one.boxes for one in found], [roll_of(one.landmarks, len(one)) for one in found])
    if any(look.usable is None for look in looks):
        return [(look, None) for look in looks]
    beliefs = [believe(one.scores, _usable(look)[None]) for one, look in zip(found, looks, strict=True)]
    likely = [np.flatnonzero(belief >= WORTH) for belief in beliefs]
    if any(map(len, likely)):
        again = landmarker.look(
            images,
            [_moved(one.boxes[rows]) for one, rows in zip(found, likely, strict=True)],
            [np.tile(roll_of(look.points[rows]), len(SHIFTS)) for look, rows in zip(looks, likely, strict=True)],
        )
        for image, one, look, other, belief, rows in zip(images, found, looks, again, beliefs, likely, strict=True):
            all_looks = np.concatenate([_usable(look)[rows], _usable(other)]).reshape(1 + len(SHIFTS), len(rows))
            belief[rows] = believe(one.scores[rows], all_looks) * shaded(image, one.boxes[rows])
    return list(zip(looks, beliefs, strict=True))


def believe(scores: NDArray[np.float32], usable: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N,) belief from the (N,) scores of the detector and the (L, N) scores of L looks, all in 0-1."""
    odds = _log_odds(scores) + _log_odds(usable).mean(axis=0)
    return np.asarray(1 / (1 + np.exp(-odds)), np.float32)


def shaded(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which of (N, 4) xyxy boxes in a (H, W, 3) BGR picture hold shades, as a face does, and not even areas."""
    height, width = image.shape[:2]
    low = np.clip(np.floor(boxes[:, :2]), 0, [width - 1, height - 1]).astype(int)
    high = np.clip(np.ceil(boxes[:, 2:]), low + 1, [width, height]).astype(int)
    found = np.ones(len(boxes), np.bool_)
    for row, ((left, top), (right, bottom)) in enumerate(zip(low.tolist(), high.tolist(), strict=True)):
        small = cv2.resize(image[top:bottom, left:right], (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
        steps = np.maximum(np.abs(np.diff(grey, axis=0))[:, :-1], np.abs(np.diff(grey, axis=1))[:-1])
        found[row] = (steps <= EVEN * grey.std()).mean() <= MOST_EVEN  # of one shade all are even
    return found


class Refused:
    """Remember what is clearly no face in a stream, so that it is not looked at with every search."""

    def __init__(self) -> None:
        self._boxes = np.zeros((0, 4), np.float32)
        self._looks = describe(np.zeros((1, 1, 3), np.uint8), self._boxes)
        self._times = np.zeros(0, np.float64)

    def others(self, frame: Frame, found: Detections) -> Detections:
        """Return those of the detections in a frame that are to be looked at; the others are followed."""
        recent = frame.time - self._times < REST
        self._boxes, self._looks, self._times = self._boxes[recent], self._looks[recent], self._times[recent]
        if not len(found) or not len(self._times):
            return found
        looks = describe(frame.image, found.boxes)
        overlap = iou(found.boxes, self._boxes)
        same = np.where((overlap >= SAME_PLACE) & (looks @ self._looks.T >= SAME_LOOK), overlap, 0)
        known = np.asarray(same.any(axis=1), np.bool_)
        followed = same[known].argmax(axis=1)
        self._boxes[followed], self._looks[followed] = found.boxes[known], looks[known]
        return found[~known]

    def add(self, frame: Frame, found: Detections, beliefs: NDArray[np.float32]) -> None:
        """Remember those of N detections in a frame that are clearly no face, by the (N,) beliefs after looking."""
        boxes = found.boxes[beliefs < WORTH]
        self._boxes = np.concatenate([self._boxes, boxes])
        self._looks = np.concatenate([self._looks, describe(frame.image, boxes)])
        self._times = np.concatenate([self._times, np.full(len(boxes), frame.time)])


def _usable(look: Landmarks) -> NDArray[np.float32]:
    assert look.usable is not None
    return look.usable


def _moved(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0)
    return np.concatenate([boxes + shift * side for shift in SHIFTS]).astype(np.float32)


def _log_odds(share: NDArray[np.float32]) -> NDArray[np.float64]:
    bounded = np.clip(share.astype(np.float64), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(bounded / (1 - bounded)))
