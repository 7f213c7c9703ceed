from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from engines import ZOO, EngineSpec, load_engine
from engines.fake import FakeEngine
from streamer import bench
from streamer.faces.copies import copies_of
from streamer.faces.decode import YUNET, keep_best
from streamer.faces.detect import HogDetector, Searcher, YuNetDetector, ZooDetector
from streamer.types import Detections

ZOO_SPEC = EngineSpec(
    name="ours",
    task="detection",
    height=None,
    width=None,
    channels=1,
    outputs=("scores", "boxes", "points"),
)
FACE = np.array([178, 63, 268, 176], np.float32)  # in the portrait, as YuNet draws it
ODD = {
    "one pixel": np.zeros((1, 1, 3), np.uint8),
    "one row": np.full((1, 5000, 3), 90, np.uint8),
    "black": np.zeros((240, 320, 3), np.uint8),
    "white": np.full((240, 320, 3), 255, np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8),
}


@pytest.fixture(scope="module")
def portrait():
    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)


def overlap(a, b):
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    common = np.prod(np.maximum(high - low, 0))
    return common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common)


@pytest.mark.parametrize("min_face", [80, 50])
def test_hog_finds_the_face_of_the_portrait(portrait, min_face):
    [faces] = HogDetector(min_face, 0.5).detect([portrait])
    assert len(faces) == 1
    assert overlap(faces.boxes[0], FACE) > 0.75
    assert 0.6 < faces.scores[0] <= 1


def test_a_larger_smallest_face_searches_a_smaller_picture(portrait):
    small = cv2.resize(portrait, None, fx=0.6, fy=0.6)  # a face of about 60 pixels
    [missed], [found] = HogDetector(120, 0.6).detect([small]), HogDetector(50, 0.6).detect([small])
    assert (len(missed), len(found)) == (0, 1)


def test_pictures_of_different_sizes_go_together(portrait):
    found = HogDetector(80, 0.5).detect([portrait, np.zeros((100, 100, 3), np.uint8), portrait[:, ::-1]])
    assert [len(faces) for faces in found] == [1, 0, 1]


def test_a_lower_threshold_finds_more_and_scores_it_lower(portrait):
    [few], [many] = HogDetector(80, 0.5).detect([portrait]), HogDetector(80, 0.3).detect([portrait])
    assert len(many) > len(few)
    assert (many.scores[len(few) :] < 0.5).all()


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_give_no_face_and_no_exception(name):
    for min_face in (80, 400):
        [faces] = HogDetector(min_face).detect([ODD[name]])
        assert len(faces) == 0


def maps(count, height, width, *cells):
    """Make YuNet's outputs with a face of 64x80 pixels in the given (image, stride, row, column) cells."""
    outputs = {}
    for stride in (8, 16, 32):
        n = (height // stride) * (width // stride)
        for kind, size in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{kind}_{stride}"] = np.zeros((count, n, size), np.float32)
    for image, stride, row, column in cells:
        cell = row * (width // stride) + column
        outputs[f"cls_{stride}"][image, cell] = 0.81
        outputs[f"obj_{stride}"][image, cell] = 1.0
        outputs[f"bbox_{stride}"][image, cell] = [0.5, 0.25, np.log(64 / stride), np.log(80 / stride)]
        outputs[f"kps_{stride}"][image, cell] = np.arange(10) / 10
    return outputs


def test_yunet_maps_are_decoded_to_pixels_of_the_frame():
    engine = FakeEngine(YUNET, lambda batch: maps(len(batch), 128, 192, (0, 16, 3, 5)))
    # 380x250 at half size is 190x125, padded to 192x128
    faces, none = YuNetDetector(engine, min_face=32, coarse=()).detect([np.zeros((250, 380, 3), np.uint8)] * 2)
    assert engine.batch_sizes == [2]
    centre, size = np.array([5.5 * 16, 3.25 * 16]) * 2, np.array([64, 80]) * 2
    np.testing.assert_allclose(faces.boxes[0], np.concatenate([centre - size / 2, centre + size / 2]), rtol=1e-5)
    np.testing.assert_allclose(faces.scores, [0.9], rtol=1e-6)
    np.testing.assert_allclose(faces.landmarks[0, 0], [5 * 32, 3.1 * 32], rtol=1e-5)
    assert len(none) == 0


def test_pictures_of_one_size_share_a_call_and_large_sets_are_cut():
    engine = FakeEngine(YUNET, lambda batch: maps(len(batch), *batch.shape[1:3]))
    pictures = [np.zeros((64, 64, 3), np.uint8)] * 9 + [np.zeros((96, 64, 3), np.uint8)]
    assert len(YuNetDetector(engine, min_face=16).detect(pictures)) == 10
    assert engine.batch_sizes == [8, 1, 1]


def test_of_overlapping_boxes_the_better_is_kept():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [30, 0, 40, 10], [0, 30, 10, 40]], np.float32)
    kept = keep_best(Detections(boxes, np.array([0.7, 0.9, 0.8, 0.3], np.float32)), 0.5)
    np.testing.assert_array_equal(kept.boxes, boxes[[1, 2]])


@pytest.mark.data
def test_our_yunet_agrees_with_opencvs(shared):
    path = shared / "models" / "face_detection_yunet_2023mar.onnx"
    image = cv2.imread(str(next((shared / "media" / "photos" / "dlib").glob("*.jpg"))))
    image = image[: image.shape[0] // 32 * 32, : image.shape[1] // 32 * 32]
    sha256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
    engine = load_engine(path, "detection", spec=YUNET, sha256=sha256, precision="f32")
    detector = YuNetDetector(engine, min_face=16, threshold=0.7, coarse=())
    [ours, again] = detector.detect([image, image])
    theirs = cv2.FaceDetectorYN.create(str(path), "", (image.shape[1], image.shape[0]), 0.7, 0.3).detect(image)[1]
    expected = np.concatenate([theirs[:, :2], theirs[:, :2] + theirs[:, 2:4]], axis=1)
    assert len(ours) == len(expected) > 0
    np.testing.assert_allclose(ours.boxes[np.argsort(-ours.scores)], expected[np.argsort(-theirs[:, 14])], atol=1.5)
    np.testing.assert_allclose(again.boxes, ours.boxes, atol=1e-3)
    for odd in ODD.values():
        [faces] = detector.detect([odd])
        assert np.isfinite(faces.boxes).all()
    detector.close()


class Recorder(FakeEngine):
    """Remember the shapes of the batches too."""

    def infer(self, batch):
        self.shapes = [*getattr(self, "shapes", []), batch.shape]
        return super().infer(batch)


def decoded(count, *faces):
    """Make our detector's outputs: (image, score, x0, y0, x1, y1) in input pixels."""
    outputs = {
        "scores": np.zeros((count, 8), np.float32),
        "boxes": np.zeros((count, 8, 4), np.float32),
        "points": np.zeros((count, 8, 5, 2), np.float32),
    }
    for cell, (image, score, *box) in enumerate(faces):
        outputs["scores"][image, cell] = score
        outputs["boxes"][image, cell] = box
        outputs["points"][image, cell] = box[:2]
    return outputs


def test_our_detector_takes_grey_pictures_scaled_by_the_smallest_face():
    engine = Recorder(ZOO_SPEC, lambda batch: decoded(len(batch), (0, 0.9, 10, 20, 30, 50), (0, 0.09, 60, 20, 80, 50)))
    faces, none = ZooDetector(engine, min_face=40).detect([np.zeros((100, 200, 3), np.uint8)] * 2)
    assert engine.shapes == [(2, 64, 128, 1)]
    np.testing.assert_allclose(faces.boxes, [[20, 40, 60, 100]])  # the other lies below the threshold
    np.testing.assert_allclose(faces.landmarks[0], [[20, 40]] * 5)
    assert len(none) == 0


def test_smaller_faces_than_the_network_sees_enlarge_the_picture():
    engine = Recorder(ZOO_SPEC, lambda batch: decoded(len(batch)))
    ZooDetector(engine, min_face=10).detect([np.zeros((64, 64, 3), np.uint8)])
    assert engine.shapes == [(1, 128, 128, 1)]


def test_a_time_budget_shrinks_the_picture_from_the_second_call_on():
    engine = Recorder(ZOO_SPEC, lambda batch: decoded(len(batch)))
    detector = ZooDetector(engine, min_face=20, budget=1e-9)
    for _ in range(2):
        detector.detect([np.zeros((320, 320, 3), np.uint8)])
    assert engine.shapes == [(1, 320, 320, 1), (1, 160, 160, 1), (1, 32, 32, 1)]  # and a coarse copy the first time
    patient = ZooDetector(engine, min_face=20, budget=1e9)
    assert [patient.detect([np.zeros((96, 96, 3), np.uint8)]) and engine.shapes[-1] for _ in range(2)] == [
        (1, 96, 96, 1)
    ] * 2


@pytest.mark.parametrize(("coarse", "copies"), [((160,), 1), ((), 8)])
def test_a_time_budget_that_nothing_keeps_ends_at_the_smallest_copies(coarse, copies):
    engine = Recorder(ZOO_SPEC, lambda batch: decoded(len(batch)))
    detector = ZooDetector(engine, min_face=20, tile=320, budget=1e-9, coarse=coarse)
    for _ in range(2):
        detector.detect([np.zeros((480, 800, 3), np.uint8)])
    assert engine.shapes[-1] == (copies, 32, 32, 1)


class Bright(Searcher):
    """Find the box around what is white in a copy."""

    def _decode(self, batch):
        self.count = getattr(self, "count", 0) + len(batch)
        return [self.find(image) for image in batch]

    def find(self, image):
        y, x = np.nonzero(image[..., 0] > 128)
        if not len(x):
            return Detections.empty()
        box = np.array([[x.min(), y.min(), x.max() + 1, y.max() + 1]], np.float32)
        return Detections(box, np.array([0.9], np.float32))


@pytest.mark.parametrize(
    "box", [(20, 40, 80, 120), (620, 20, 680, 100), (1905, 1105, 2000, 1200), (600, 200, 1600, 1120)]
)
def test_tiles_find_small_faces_on_their_cuts_and_large_ones_once(box):
    image = np.zeros((1200, 2000, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    detector = Bright(20, 1.0, 0.5, tile=800)
    [faces] = detector.detect([image])
    assert len(faces) == 1
    np.testing.assert_allclose(faces.boxes[0], box, atol=8)
    assert detector.count == 2 * 3 + 4  # tiles, and the picture with 1280, 640, 320 and 160 pixels on the long side


def test_a_picture_that_is_too_small_for_coarse_copies_is_not_cut_so_that_faces_across_tiles_are_found():
    image = np.zeros((2000, 2000, 3), np.uint8)
    image[650:1350, 650:1350] = 255
    [faces] = Bright(200, 0.1, 0.5, tile=1280).detect([image])
    np.testing.assert_allclose(faces.boxes, [[650, 650, 1350, 1350]], atol=20)


@pytest.mark.parametrize(
    ("height", "width", "scale", "sides"),
    [
        (720, 1280, 0.625, [800, 320, 160]),  # 640 does not lie clearly below 800
        (1080, 1920, 0.625, [1200, 640, 320, 160]),
        (480, 640, 0.625, [400, 160]),
        (1280, 720, 1.25, [1600, 640, 320, 160]),
        (200, 100, 0.625, [125]),
        (1, 1, 0.625, [1]),
        (50, 20_000, 0.625, [12_500]),  # in a coarse copy nothing could be seen
    ],
)
def test_all_sizes_are_searched_by_few_coarse_copies(height, width, scale, sides):
    assert [max(copy.size) for copy in copies_of(height, width, scale)] == sides


def test_coarse_copies_of_pictures_of_any_shape_come_in_few_shapes():
    shapes = {copy.shape for height in range(100, 4000, 37) for copy in copies_of(height, 2000, 1.0)[1:]}
    for side in (160, 320, 640, 1280):
        assert len({shape for shape in shapes if max(shape) == side}) <= 9
    assert len(shapes) <= 4 * 9


def test_copies_of_pictures_of_different_sizes_share_batches():
    engine = Recorder(ZOO_SPEC, lambda batch: decoded(len(batch)))
    ZooDetector(engine, min_face=20).detect([np.zeros((300, 400, 3), np.uint8), np.zeros((390, 520, 3), np.uint8)])
    assert sorted(engine.shapes) == [(1, 256, 320, 1), (1, 320, 416, 1), (1, 416, 544, 1), (2, 128, 160, 1)]


def test_a_box_that_mostly_lies_inside_a_better_one_is_a_part_of_that_face():
    boxes = np.array([[0, 0, 100, 100], [10, 10, 40, 40], [80, 0, 120, 40], [200, 0, 300, 100], [210, 10, 240, 40]])
    scores = np.array([0.8, 0.7, 0.6, 0.5, 0.9], np.float32)
    kept = keep_best(Detections(boxes.astype(np.float32), scores), 0.3)
    np.testing.assert_array_equal(kept.boxes, boxes[[4, 0, 2, 3]])  # half inside stays, and so does what holds a better


@pytest.mark.parametrize("image", [np.zeros((40, 60), np.uint8), np.full((40, 60, 3), 40_000, np.uint16)])
def test_our_detector_takes_grey_and_16_bit_pictures(image):
    seen = []
    engine = Recorder(ZOO_SPEC, lambda batch: (seen.append(batch.max()), decoded(len(batch)))[1])
    assert len(ZooDetector(engine, min_face=20).detect([image])[0]) == 0
    assert seen == [image.max() // 256 if image.dtype == np.uint16 else 0]


@pytest.fixture(scope="module")
def shipped():
    detector = ZooDetector(load_engine(ZOO / "detector.onnx", "detection"), min_face=40)
    yield detector
    detector.close()


@pytest.mark.parametrize("size", [1.0, 0.5])
def test_our_detector_finds_the_face_of_the_portrait(portrait, shipped, size):
    [faces] = shipped.detect([cv2.resize(portrait, None, fx=size, fy=size)])
    assert overlap(faces.boxes[0] / size, FACE) > 0.5
    middle = (faces.landmarks[0, 0] + faces.landmarks[0, 1]) / 2 / size
    assert np.linalg.norm(middle - [224, 103]) < 0.25 * (FACE[3] - FACE[1])


def test_a_face_that_fills_the_picture_is_found_whatever_the_size_of_the_picture(shipped):
    stored = cv2.imread(str(Path(bench.__file__).with_name("portrait.jpg")))
    [face] = shipped.detect([stored])[0].boxes[:1]
    x0, y0, x1, y1 = face.astype(int)
    close = stored[y0:y1, x0 - 10 : x1 + 10]
    for side in (60, 200, 500, 1000, 2400):
        picture = cv2.resize(close, None, fx=side / len(close), fy=side / len(close), interpolation=cv2.INTER_CUBIC)
        found = shipped.detect([picture])[0]
        assert found.scores[0] > 0.4
        whole = np.array([10, 0, close.shape[1] - 10, len(close)]) * side / len(close)
        assert overlap(found.boxes[0], whole) > 0.5


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_give_finite_answers_of_our_detector(name, shipped):
    [faces] = shipped.detect([ODD[name]])
    assert np.isfinite(faces.boxes).all()
    assert np.isfinite(faces.scores).all()


def test_a_batch_of_our_detector_answers_as_one_by_one(portrait, shipped):
    pictures = [portrait, portrait[:, ::-1], np.zeros_like(portrait)]
    together, alone = shipped.detect(pictures), [shipped.detect([one])[0] for one in pictures]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=2)


def test_a_shape_that_comes_often_answers_as_it_did_at_first(portrait, shipped):
    found = [shipped.detect([portrait])[0] for _ in range(5)]  # a graph of its own from the third time on
    for faces in found[1:]:
        np.testing.assert_allclose(faces.boxes, found[0].boxes, atol=1)
        np.testing.assert_allclose(faces.scores, found[0].scores, atol=0.02)
