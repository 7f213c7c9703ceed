from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from engines import load_engine
from engines.fake import FakeEngine
from streamer.faces.detect import YUNET, HogDetector, YuNetDetector, keep_best
from streamer.types import Detections

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
    [faces] = HogDetector().detect([ODD[name]])
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
    faces, none = YuNetDetector(engine, min_face=32).detect([np.zeros((250, 380, 3), np.uint8)] * 2)
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
    detector = YuNetDetector(engine, min_face=16, threshold=0.7)
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
