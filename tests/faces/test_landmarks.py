"""Our landmarks behind a fake network; dlib's, where the extra is installed, and what is said where it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import Crop, EngineSpec, Outputs
from engines.fake import FakeEngine
from streamer.build import load_landmarker, models
from streamer.config import Config, LandmarksConfig
from streamer.faces.boxes import iou
from streamer.faces.detect import HogDetector
from streamer.faces.landmarks import HOG_TO_FACE, DlibLandmarker, ZooLandmarker, face_to_hog, installed_predictor

FACE = np.array([[178, 63, 268, 176]], np.float32)  # of the astronaut


@pytest.fixture(scope="module")
def landmarker() -> DlibLandmarker:
    try:
        return DlibLandmarker()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[..., ::-1])


def test_landmarks_lie_on_the_features_of_the_face(landmarker: DlibLandmarker, astronaut: NDArray[np.uint8]) -> None:
    points = landmarker.locate(astronaut, FACE)
    assert points.shape == (1, 68, 2)
    assert points.dtype == np.float32
    # Seen by eye: the pupils, the tip of the nose, the middle of the mouth, the chin.
    for feature, seen in (
        (slice(36, 42), (202, 102)),
        (slice(42, 48), (247, 103)),
        (slice(30, 31), (221, 125)),
        (slice(48, 68), (221, 144)),
        (slice(8, 9), (221, 178)),
    ):
        np.testing.assert_allclose(points[0, feature].mean(axis=0), seen, atol=5)


def test_landmarks_follow_the_face_and_not_the_picture_around_it(
    landmarker: DlibLandmarker, astronaut: NDArray[np.uint8]
) -> None:
    moved = np.zeros((700, 900, 3), np.uint8)
    moved[150:662, 300:812] = astronaut
    points = landmarker.locate(astronaut, FACE)
    np.testing.assert_array_equal(
        landmarker.locate(moved, FACE + np.array([300, 150, 300, 150], np.float32)),
        points + np.array([300, 150], np.float32),
    )
    one_by_one = [landmarker.locate(astronaut, box[None])[0] for box in (FACE[0], FACE[0] + 4)]
    np.testing.assert_array_equal(landmarker.locate(astronaut, np.stack([FACE[0], FACE[0] + 4])), one_by_one)


def test_a_face_at_the_edge_of_the_picture_has_landmarks(
    landmarker: DlibLandmarker, astronaut: NDArray[np.uint8]
) -> None:
    cut = np.ascontiguousarray(astronaut[80:, 190:])
    points = landmarker.locate(cut, FACE - np.array([190, 80, 190, 80], np.float32))
    whole = landmarker.locate(astronaut, FACE) - [190, 80]
    assert np.abs(points - whole).mean() < 12


@pytest.mark.parametrize(
    "box",
    [
        (10, 10, 10, 40),
        (40, 40, 10, 10),
        (np.nan, 0, 10, 10),
        (0, 0, np.inf, 10),
        (9000, 9000, 9100, 9100),
        (-900, -900, -800, -800),
    ],
)
def test_a_box_without_a_picture_gives_nan_and_leaves_the_others_alone(
    landmarker: DlibLandmarker, astronaut: NDArray[np.uint8], box: tuple[float, ...]
) -> None:
    points = landmarker.locate(astronaut, np.array([box, FACE[0]], np.float32))
    assert np.isnan(points[0]).all()
    np.testing.assert_array_equal(points[1:], landmarker.locate(astronaut, FACE))


def test_no_faces_have_no_landmarks(landmarker: DlibLandmarker, astronaut: NDArray[np.uint8]) -> None:
    assert landmarker.locate(astronaut, np.zeros((0, 4), np.float32)).shape == (0, 68, 2)


def test_the_map_between_the_boxes_goes_both_ways() -> None:
    shift_x, shift_y, width, height = HOG_TO_FACE
    hog = np.array([[100, 50, 180, 130], [0, 0, 20, 20]], np.float32)
    side = (hog[:, 2] - hog[:, 0])[:, None]
    centre = (hog[:, :2] + hog[:, 2:]) / 2 + side * [shift_x, shift_y]
    half = side * [width, height] / 2
    face = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    np.testing.assert_allclose(face_to_hog(face), hog, atol=1e-4)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match=r'pip install "emotion-streamer\[dlib-landmarks\]"'):
        DlibLandmarker()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"points\.dat: expected dlib's 68-point landmark predictor, found no file"
    ):
        DlibLandmarker(tmp_path / "points.dat")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.dat"
    path.write_bytes(b"not a predictor" * 100)
    with pytest.raises(ValueError, match=r"points\.dat: expected dlib's 68-point landmark predictor"):
        DlibLandmarker(path)


def test_a_predictor_of_other_landmarks_is_refused(landmarker: DlibLandmarker) -> None:
    other = installed_predictor().with_name("shape_predictor_5_face_landmarks.dat")
    with pytest.raises(ValueError, match="expected a predictor of 68 landmarks, found one of 5"):
        DlibLandmarker(other)


@pytest.mark.data
def test_boxes_of_another_detector_lose_little_accuracy(shared: Path, landmarker: DlibLandmarker) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(shared / "data/landmarks/ytf68.parquet", columns=["jpg", "points"])
    detector = cv2.FaceDetectorYN.create(str(shared / "models/face_detection_yunet_2023mar.onnx"), "", (320, 320), 0.7)
    errors = []
    for row in rows.take(list(range(0, len(rows), len(rows) // 60))).to_pylist():
        image = cv2.imdecode(np.frombuffer(row["jpg"], np.uint8), cv2.IMREAD_COLOR)
        truth = np.array(row["points"]).reshape(68, 2)
        detector.setInputSize(image.shape[1::-1])
        found = detector.detect(image)[1]
        if found is not None:
            box = np.concatenate([found[:1, :2], found[:1, :2] + found[:1, 2:4]], axis=1)
            points = landmarker.locate(image, box)[0]
            eyes = np.linalg.norm(truth[36:42].mean(axis=0) - truth[42:48].mean(axis=0))
            errors.append(np.linalg.norm(points - truth, axis=1).mean() / eyes)
    assert len(errors) > 50
    assert np.median(errors) < 0.1


@pytest.mark.data
def test_hog_boxes_become_boxes_like_those_of_yunet(shared: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(shared / "data/faces/lfw.parquet", columns=["jpg"]).slice(0, 60).to_pylist()
    yunet = cv2.FaceDetectorYN.create(str(shared / "models/face_detection_yunet_2023mar.onnx"), "", (320, 320), 0.7)
    hog, overlaps = HogDetector(min_face=60), []
    for row in rows:
        image = cv2.imdecode(np.frombuffer(row["jpg"], np.uint8), cv2.IMREAD_COLOR)
        yunet.setInputSize(image.shape[1::-1])
        found, own = yunet.detect(image)[1], hog.detect([image])[0]
        if found is not None and len(own):
            box = np.concatenate([found[:1, :2], found[:1, :2] + found[:1, 2:4]], axis=1)
            overlaps.append(iou(own.boxes[:1], box)[0, 0])
    assert len(overlaps) > 40
    assert np.median(overlaps) > 0.7


SIDE, MARGIN = 40, 0.15


def brightest(batch: NDArray[np.uint8]) -> Outputs:
    """Answer every landmark with the brightest pixel, and visibility and usable with the crop's mean."""
    flat = batch[..., 0].reshape(len(batch), SIDE * SIDE).argmax(axis=1)
    places = (np.stack([flat % SIDE, flat // SIDE], axis=1) + 0.5) / SIDE
    mean = (batch.mean(axis=(1, 2, 3)) / 255).astype(np.float32)
    points = np.repeat(places[:, None], 68, axis=1).astype(np.float32)
    return {"points": points, "visibility": np.repeat(mean[:, None], 68, axis=1), "usable": mean}


@pytest.fixture
def fake() -> FakeEngine:
    spec = EngineSpec(
        name="fake", task="landmarks", height=SIDE, width=SIDE, channels=1, crop=Crop(margin=MARGIN),
        outputs=("points", "visibility", "usable"),
    )  # fmt: skip
    return FakeEngine(spec, brightest)


def dotted(*dots: tuple[int, int], height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    image = np.full((height, width, 3), 60, np.uint8)
    for x, y in dots:
        image[y - 2 : y + 3, x - 2 : x + 3] = 250
    return image


def test_points_go_back_to_where_the_crop_was_cut(fake: FakeEngine) -> None:
    boxes = np.array([[100, 60, 163.4, 140.2], [20.5, 100.25, 60, 151]], np.float32)
    found = ZooLandmarker(fake).look([dotted((120, 110), (40, 120))], [boxes])[0]
    np.testing.assert_allclose(found.points[0], np.tile([120.5, 110.5], (68, 1)), atol=2)
    np.testing.assert_allclose(found.points[1], np.tile([40.5, 120.5], (68, 1)), atol=2)
    assert found.visibility is not None
    assert found.usable is not None
    assert found.visibility.shape == (2, 68)
    assert found.usable.shape == (2,)


def test_all_faces_of_all_pictures_are_one_batch_and_come_back_in_order(fake: FakeEngine) -> None:
    boxes = [np.array([[x, 60, x + 60, 130]], np.float32).repeat(count, axis=0) for x, count in ((50, 2), (150, 1))]
    landmarker = ZooLandmarker(fake)
    found = landmarker.look([dotted((70, 90)), dotted((180, 100))], boxes)
    assert fake.batch_sizes == [3]
    assert [len(one.points) for one in found] == [2, 1]
    np.testing.assert_allclose(found[1].points[0, 0], (180.5, 100.5), atol=2)
    assert landmarker.look([], []) == []
    assert len(landmarker.look([dotted()], [np.zeros((0, 4), np.float32)])[0].points) == 0


@pytest.mark.parametrize(
    "box", [(10, 10, 10, 10), (np.nan, 0, 10, 10), (0, 0, np.inf, 10), (9000, 9000, 9100, 9100), (-99, -99, -50, -50)]
)
def test_our_network_gives_nan_where_there_is_no_picture(fake: FakeEngine, box: tuple[float, ...]) -> None:
    boxes = np.array([box, (100, 60, 163, 140)], np.float32)
    points = ZooLandmarker(fake).locate(dotted((120, 110)), boxes)
    assert np.isnan(points[0]).all()
    assert np.isfinite(points[1]).all()


def test_a_network_of_another_shape_is_refused_and_closing_closes_it(fake: FakeEngine) -> None:
    ZooLandmarker(fake).close()
    assert fake.closed
    fake.spec = fake.spec.model_copy(update={"width": None})
    with pytest.raises(ValueError, match="landmarks 'fake': expected a fixed square input in its spec, found 40xNone"):
        ZooLandmarker(fake)


def test_our_network_is_the_default() -> None:
    landmarker = load_landmarker(Config().landmarks)
    assert isinstance(landmarker, ZooLandmarker)
    landmarker.close()
    assert "landmarks.onnx" in [path.name for path in models(Config())]
    assert load_landmarker(LandmarksConfig(kind="none")) is None


def test_a_network_for_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a network for landmarks, found one for expression"):
        load_landmarker(LandmarksConfig(model=Path("zoo/face.onnx")))
