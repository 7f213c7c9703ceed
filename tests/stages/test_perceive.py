"""The perceive stage with landmarks: one batch for all streams, steadied per track, unknown where nothing was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamer.faces.landmarks import Landmarks
from streamer.faces.steady import SteadySettings
from streamer.faces.track import Tracker
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.types import Detections, Frame
from tests.make import points_of_face

BOX = np.array([[40, 30, 100, 100]], np.float32)


class OneFace:
    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [Detections(BOX, np.ones(1, np.float32)) for _ in images]

    def close(self) -> None:
        pass


class Shaky:
    """Answer points that jump to and fro, and see the face in every other look only."""

    def __init__(self, blind: bool = False) -> None:
        self.asked: list[int] = []
        self.blind = blind

    def look(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]) -> list[Landmarks]:
        self.asked.append(len(images))
        found = []
        for own in boxes:
            points = np.stack([points_of_face(60, box[0] + len(self.asked) % 2, box[1]) for box in own])
            if self.blind:
                points[:] = np.nan
            seen = np.full((len(own), 68), len(self.asked) % 2, np.float32)
            found.append(Landmarks(points, seen, seen[:, 0]))
        return found

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.look([image], [boxes])[0].points

    def close(self) -> None:
        pass


def frames(stream: str, count: int) -> list[Frame]:
    image = np.random.default_rng(0).integers(0, 255, (140, 160, 3), dtype=np.uint8)
    return [Frame(image, stream, i, i / 30, 0.0) for i in range(count)]


def perceiver(landmarker: Shaky | None, steady: SteadySettings | None = None) -> Perceiver:
    return Perceiver(OneFace(), Tracker, DetectionSettings(interval=0.0), landmarker, steady=steady)


def test_the_faces_of_all_streams_are_looked_at_together() -> None:
    landmarker = Shaky()
    results = perceiver(landmarker)([frames("a", 1)[0], frames("b", 1)[0]])
    assert landmarker.asked == [2]
    assert all(face.landmarks is not None and face.usable is not None for one in results for face in one.faces)


def test_points_and_visibility_are_steadied_per_track() -> None:
    perceive = perceiver(Shaky())
    faces = [perceive([frame])[0].faces[0] for frame in frames("a", 30)]
    x = np.array([face.landmarks[0, 0] for face in faces if face.landmarks is not None])
    seen = np.array([face.visibility[0] for face in faces if face.visibility is not None])
    assert np.abs(np.diff(x[10:])).max() < 0.6
    assert np.abs(np.diff(seen[10:])).max() < 0.5
    rough = perceiver(Shaky(), SteadySettings(cutoff=0, visibility=0))
    bare = [rough([frame])[0].faces[0].landmarks for frame in frames("a", 4)]
    assert bare[1] is not None
    assert bare[2] is not None
    assert abs(bare[2][0, 0] - bare[1][0, 0]) == 1


def test_a_face_that_cannot_be_looked_at_has_no_landmarks() -> None:
    face = perceiver(Shaky(blind=True))(frames("a", 1))[0].faces[0]
    assert face.landmarks is None
    assert face.visibility is None
    assert face.usable is None


def test_without_a_landmarker_nobody_knows_what_is_hidden() -> None:
    face = perceiver(None)(frames("a", 1))[0].faces[0]
    assert face.landmarks is None
    assert face.visibility is None
