"""Faces made unrecognisable before a result leaves the pipeline, so that nothing written or served can show them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import iou
from streamer.faces.motion import Motion
from streamer.faces.track import assign, usable
from streamer.stages import Express
from streamer.types import Detections, Frame, Result

Blur = Literal["none", "faces", "frame"]

MARGIN = 0.25  # share of a face's side that is hidden around it: hair and ears tell who it is too
CELLS = 6  # mosaic cells across a face: too few to recognise anybody, and averaging cannot be undone
SAME = 0.4  # overlap (IoU) from which on a found face is taken for one that was there
COVERED = 0.8  # overlap above which the margin of a box hides the other one too


class Hiding:
    """Call a stage, then hide nothing, the faces or the whole frame in the pictures of its results.

    Runs in the thread of the stage. lasting: seconds for which a face is hidden after it was found last, see
    `Sightings`. Faces that were not found are not hidden; 'frame' does not depend on finding them.
    """

    def __init__(self, stage: Express, blur: Blur, lasting: float = 1.0) -> None:
        self.stage, self.blur, self.lasting = stage, blur, lasting
        self._sightings: dict[str, Sightings] = {}

    def __call__(self, results: list[Result]) -> list[Result]:
        """Complete the results and hide what privacy asks for."""
        return [self._hide(result) for result in self.stage(results)]

    def forget(self, stream: str) -> None:
        """Drop what is known of a stream that has ended, and have the stage do so; its name may come again."""
        self._sightings.pop(stream, None)
        self.stage.forget(stream)

    def _hide(self, result: Result) -> Result:
        image, blur = result.frame.image, self.blur
        if blur != "faces":
            self._sightings.pop(result.frame.stream, None)  # it would be outdated when hiding is switched on again
        if blur == "frame":
            hidden = mosaic(image, max(1, min(image.shape[:2]) // 24))
        elif blur == "faces" and len(boxes := self._boxes(result)):
            hidden = hide_boxes(image, boxes)
        else:
            return result
        return replace(result, frame=replace(result.frame, image=hidden))

    def _boxes(self, result: Result) -> NDArray[np.float32]:
        """Return the (N, 4) boxes where faces are shown, or were found and may still be."""
        stream = result.frame.stream
        if stream not in self._sightings:
            self._sightings[stream] = Sightings(self.lasting)
        boxes = self._sightings[stream].update(result.frame, result.found)
        shown = np.array([face.box for face in result.faces], np.float32).reshape(-1, 4)
        covered = iou(boxes, shown).max(axis=0, initial=0) >= COVERED  # nearly always; none when hiding has just begun
        return np.concatenate([boxes, shown[~covered]])


class Sightings:
    """Follow every detection of a stream, at any score, for as long as the face may still be there.

    A tracker drops doubtful detections, since a false face is worse than a late one; here a visible face is worse. A
    detection counts as present for `lasting` seconds, and until a search misses it: two searches on a live stream,
    where they may lie seconds apart.
    """

    def __init__(self, lasting: float) -> None:
        self._lasting = lasting
        self._motion = Motion(np.zeros((0, 4), np.float32))
        self._seen = np.zeros(0, np.float64)  # stream time at which each was found last
        self._time = 0.0
        self._size = np.ones(4, np.float32)  # of the pictures: width, height, width, height
        self._searches = -np.inf, -np.inf  # stream times of the last two

    def update(self, frame: Frame, found: Detections | None) -> NDArray[np.float32]:
        """Take in a frame and what was found in it, None where nobody looked; return the (N, 4) boxes xyxy, pixels."""
        self._fit(frame.image.shape[1], frame.image.shape[0])
        self._motion.predict(frame.time - self._time)
        self._time = frame.time
        if found is not None:
            self._searches = self._searches[1], frame.time
            self._see(found.boxes[usable(found, frame)])
        unmissed = self._seen >= self._searches[0 if frame.live else 1]
        kept = unmissed | (frame.time - self._seen < self._lasting - 1e-6)
        self._motion.keep(kept)
        self._seen = self._seen[kept]
        return self._motion.boxes

    def _fit(self, width: int, height: int) -> None:
        """Carry what is known over to pictures of another size, which a camera that was lost may come back with."""
        before, self._size = self._size, np.array([width, height, width, height], np.float32)
        if len(self._motion) and (self._size != before).any():
            self._motion = Motion(self._motion.boxes * (self._size / before))

    def _see(self, boxes: NDArray[np.float32]) -> None:
        overlap = iou(self._motion.boxes, boxes)
        rows, columns = assign(np.where(overlap >= SAME, overlap, 0))
        self._motion.correct(rows, boxes[columns])
        self._seen[rows] = self._time
        new = np.delete(boxes, columns, axis=0)
        self._motion.extend(Motion(new))
        self._seen = np.concatenate([self._seen, np.full(len(new), self._time)])


def hide_boxes(image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a copy of the (H, W, 3) uint8 picture with a mosaic over (N, 4) xyxy boxes and a margin around each."""
    hidden, (height, width) = image.copy(), image.shape[:2]
    for x1, y1, x2, y2 in boxes.tolist():
        margin = MARGIN * max(x2 - x1, y2 - y1)
        left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
        right, bottom = min(width, int(x2 + margin) + 1), min(height, int(y2 + margin) + 1)
        if left < right and top < bottom:
            cell = max(1, int(max(x2 - x1, y2 - y1) / CELLS))
            hidden[top:bottom, left:right] = mosaic(image[top:bottom, left:right], cell)
    return hidden


def mosaic(image: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    """Return the (H, W, 3) uint8 picture as even squares of `cell` pixels, each the mean of what it covers."""
    height, width = image.shape[:2]
    size = max(1, width // cell), max(1, height // cell)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]
