"""Faces that are hard to see give low visibility or usable, never an exception or a number that is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import ZOO, load_engine
from streamer.faces.landmarks import Landmarks, ZooLandmarker
from streamer.faces.visibility import VisibleRegion, part_visibility

FACE = np.array([178, 63, 268, 176], np.float32)  # of the astronaut


@pytest.fixture(scope="module")
def landmarker() -> Iterator[ZooLandmarker]:
    engine = load_engine(ZOO / "landmarks.onnx", "landmarks", precision="f32")
    yield ZooLandmarker(engine)
    engine.close()


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def look(landmarker: ZooLandmarker, image: NDArray[np.uint8], *boxes: NDArray[np.float32]) -> Landmarks:
    found = landmarker.look([image], [np.stack(boxes)])[0]
    assert found.visibility is not None
    assert found.usable is not None
    for values in (found.points, found.visibility, found.usable):
        assert np.isfinite(values).all()
    return found


def parts(found: Landmarks, row: int = 0) -> dict[str, float]:
    assert found.visibility is not None
    return part_visibility(found.visibility[row])


def region(found: Landmarks, row: int = 0) -> str | None:
    assert found.visibility is not None
    assert found.usable is not None
    return VisibleRegion().update(found.visibility[row], float(found.usable[row]))


def test_a_whole_face_is_usable_and_its_points_lie_on_its_features(
    landmarker: ZooLandmarker, astronaut: NDArray[np.uint8]
) -> None:
    found = look(landmarker, astronaut, FACE)
    assert region(found) == "face"
    for feature, seen in ((slice(36, 42), (202, 102)), (slice(42, 48), (247, 103)), (slice(48, 68), (221, 144))):
        np.testing.assert_allclose(found.points[0, feature].mean(axis=0), seen, atol=5)


def test_what_the_edge_of_the_picture_cuts_off_is_not_seen(
    landmarker: ZooLandmarker, astronaut: NDArray[np.uint8]
) -> None:
    below = np.ascontiguousarray(astronaut[:128])  # ends between nose and mouth
    found = parts(look(landmarker, below, FACE))
    assert found["mouth"] < 0.4
    assert found["eyes"] > 0.6
    above = np.ascontiguousarray(astronaut[118:])  # begins below the eyes
    found = parts(look(landmarker, above, FACE - np.array([0, 118, 0, 118], np.float32)))
    assert found["eyes"] < 0.4
    assert found["mouth"] > 0.6


def test_a_covered_mouth_is_judged_by_nose_and_eyes(landmarker: ZooLandmarker, astronaut: NDArray[np.uint8]) -> None:
    masked = astronaut.copy()
    cv2.ellipse(masked, (221, 152), (38, 22), 0, 0, 360, (150, 140, 130), cv2.FILLED)
    assert region(look(landmarker, masked, FACE)) in ("nose_eyes", "eyes")


def test_a_face_upside_down_is_not_judged(landmarker: ZooLandmarker, astronaut: NDArray[np.uint8]) -> None:
    turned = np.ascontiguousarray(astronaut[::-1])
    height = float(len(astronaut))
    assert region(look(landmarker, turned, np.array([178, height - 176, 268, height - 63], np.float32))) is None


def test_tiny_faces_give_numbers(landmarker: ZooLandmarker, astronaut: NDArray[np.uint8]) -> None:
    scale = 12 / (FACE[3] - FACE[1])
    small = np.asarray(cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    found = look(landmarker, small, FACE * scale)
    assert np.abs(found.points[0, 36:48].mean(axis=0) - np.array([224, 102], np.float32) * scale).max() < 2


def test_of_two_overlapping_faces_the_one_behind_is_seen_in_part(
    landmarker: ZooLandmarker, astronaut: NDArray[np.uint8]
) -> None:
    both = astronaut.copy()
    left, top, right, bottom = FACE.astype(int)
    both[top + 55 : bottom + 55, left + 10 : right + 10] = astronaut[top:bottom, left:right]
    found = look(landmarker, both, FACE, FACE + np.array([10, 55, 10, 55], np.float32))
    assert parts(found, 0)["mouth"] < parts(found, 1)["mouth"]


@pytest.mark.parametrize("grey", [0, 90, 255])
def test_flat_pictures_and_noise_are_no_usable_face(landmarker: ZooLandmarker, grey: int) -> None:
    flat = np.full((200, 200, 3), grey, np.uint8)
    assert region(look(landmarker, flat, np.array([50, 50, 130, 150], np.float32))) is None


@pytest.mark.data
def test_profiles_give_numbers(landmarker: ZooLandmarker, shared: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared / "data/landmarks/ytf68.parquet", columns=["jpg", "points"])
    points = np.array(table["points"].to_pylist(), np.float32).reshape(-1, 68, 2)
    eyes = points[:, 42:48].mean(axis=1) - points[:, 36:42].mean(axis=1)
    height = points[:, 8, 1] - points[:, 27, 1]
    for row in np.argsort(np.abs(eyes[:, 0]) / height)[:12].tolist():
        image = cv2.imdecode(np.frombuffer(table["jpg"][row].as_py(), np.uint8), cv2.IMREAD_COLOR)
        low, high = points[row].min(axis=0), points[row].max(axis=0)
        found = look(landmarker, np.asarray(image, np.uint8), np.concatenate([low, high]).astype(np.float32))
        assert np.abs(found.points[0].mean(axis=0) - points[row].mean(axis=0)).max() < 0.3 * (high - low).max()
