"""The data that flows from camera to log: frozen, shared by all threads, never written to after creation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NoFrame(ValueError):
    """Tell that a source gave what is no frame of its stream."""


NO_REGION = "none"  # in place of a region: no region of the face is visible enough to judge


@dataclass(frozen=True, eq=False)
class Frame:
    """Hold one picture of a stream.

    image: (H, W, 3) uint8 BGR, not to be written to here; the caller's own array stays as it was, and must not change
    meanwhile. index: counts the frames that the source read, from 0. time: seconds since the
    stream's first frame, media time for a file and monotonic time for a live source. captured_at: `time.monotonic()`
    when the picture was read. live: whether time budgets and shedding apply.
    """

    image: NDArray[np.uint8]
    stream: str
    index: int
    time: float
    captured_at: float
    live: bool = False

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            found = f"{self.image.shape} {self.image.dtype}"
            raise NoFrame(f"Frame.image: expected (H, W, 3) uint8, found {found}")
        image = self.image.view()
        image.flags.writeable = False
        object.__setattr__(self, "image", image)


@dataclass(frozen=True, eq=False)
class Detections:
    """Hold the N faces found in one picture as a struct of arrays; index with a mask or row numbers.

    boxes: (N, 4) float32 xyxy in pixels, may reach outside the picture. scores: (N,) float32, higher is surer, in
    the detector's own scale mapped to 0-1. landmarks: (N, 5, 2) float32 (eyes, nose, mouth corners, the person's
    right first) or None where the detector gives none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes)
        expected = {"boxes": (n, 4), "scores": (n,), "landmarks": (n, 5, 2)}
        for name, shape in expected.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"Detections.{name}: expected {shape}, found {value.shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Detections:
        landmarks = None if self.landmarks is None else self.landmarks[rows]
        return Detections(self.boxes[rows], self.scores[rows], landmarks)

    @classmethod
    def empty(cls) -> Detections:
        """Return detections of no face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, eq=False)
class Expression:
    """Say what a face expresses.

    label: the likeliest of the engine's labels, or 'uncertain' where none has led for a while or is likely enough.
    confidence: the highest of `probabilities`, 0-1. probabilities: smoothed and calibrated, by label, sum to 1.
    region: the face region that was looked at. reliability: measured precision of (label, region), 0-1, or None where
    it was not measured. stable: the label has not changed for the settling time. time: stream time of the newest
    picture that was classified.
    """

    label: str
    confidence: float
    probabilities: Mapping[str, float]
    region: str
    reliability: float | None
    stable: bool
    time: float

    @property
    def judged(self) -> bool:
        """Tell whether there was anything to judge by; else every label is as likely as any other."""
        return self.region != NO_REGION


@dataclass(frozen=True, eq=False)
class Heat:
    """Say where a network looked at a face.

    values: (h, w) float32 map, any range. box: (4,) float32 xyxy that it covers, pixels. label: whose activation map it
    is, or None for attention, which has no label. roll: radians, clockwise, by which the box is turned around its
    middle.
    """

    values: NDArray[np.float32]
    box: NDArray[np.float32]
    label: str | None
    roll: float = 0.0


@dataclass(frozen=True, eq=False)
class Face:
    """Hold one tracked face.

    box: (4,) float32 xyxy in pixels. score: of the last detection. detected_time: stream time of that detection.
    landmarks: (68, 2) float32 in the iBUG order, or None. visibility: (68,) float32 in 0-1, or None. usable: score in
    0-1 that this face can be judged, or None where nobody looked. heat: where the network looked, or None where that
    was not asked for or there was no time. roll: radians, clockwise, by which networks are shown it turned back (see
    `streamer.faces.roll`): 0 where it is nearly upright, or nobody can tell.
    """

    track_id: int
    box: NDArray[np.float32]
    score: float
    detected_time: float
    landmarks: NDArray[np.float32] | None = None
    visibility: NDArray[np.float32] | None = None
    usable: float | None = None
    expression: Expression | None = None
    heat: Heat | None = None
    roll: float = 0.0

    @property
    def label(self) -> str | None:
        """Return what the face expresses, or 'uncertain'; None where it was not classified yet."""
        return None if self.expression is None else self.expression.label

    @property
    def confidence(self) -> float | None:
        """Return the highest of the face's probabilities, 0-1; None where it was not classified yet."""
        return None if self.expression is None else self.expression.confidence

    def to_dict(self) -> dict[str, Any]:
        """Return the face as JSON values, by the keys that it has in a log."""
        from streamer.records.schema import face_record  # which needs this module

        return face_record(self)


class Step(IntEnum):
    """Name a step of the shedding ladder; each holds those before it. `streamer.shedding` takes them."""

    NONE = 0
    MAPS = 1
    DETECTIONS = 2
    CLASSIFICATIONS = 3
    FRAMES = 4

    @property
    def words(self) -> str:
        """Say what is left out, '' where nothing is."""
        return ("", "no maps", "fewer detections", "fewer classifications", "fewer frames")[self]


@dataclass(frozen=True, eq=False)
class Result:
    """Hold a frame and the faces in it, ordered by track id.

    shed: what was left out to keep the latency. found: all that the detector found in this very frame, at any score,
    or None where it did not run and the tracker alone filled in.
    """

    frame: Frame
    faces: tuple[Face, ...]
    shed: Step = Step.NONE
    found: Detections | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the frame and its faces as JSON values: its record in a log."""
        from streamer.records.schema import WallClock, frame_record  # which needs this module

        return frame_record(self, WallClock())
