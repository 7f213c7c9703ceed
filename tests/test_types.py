from __future__ import annotations

import numpy as np
import pytest

from streamer.types import Detections, Frame
from tests.conftest import picture


def test_a_frame_cannot_be_written_to():
    frame = Frame(picture(), "a", 0, 0.0, 0.0)
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0, 0] = 1


def test_a_frame_leaves_the_callers_array_as_it_was():
    mine = picture()
    Frame(mine, "a", 0, 0.0, 0.0)
    mine[0, 0] = 1
    assert mine.flags.writeable


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_a_frame_of_another_form_says_what_was_expected_and_found(image):
    with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8, found"):
        Frame(image, "a", 0, 0.0, 0.0)


def test_detections_are_indexed_by_mask_and_by_rows():
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    faces = Detections(boxes, np.array([0.1, 0.2, 0.3], np.float32), np.zeros((3, 5, 2), np.float32))
    np.testing.assert_array_equal(faces[faces.scores > 0.15].boxes, boxes[1:])
    np.testing.assert_array_equal(faces[np.array([2, 0])].scores, faces.scores[[2, 0]])
    assert len(Detections.empty()) == 0


def test_detections_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match=r"Detections.scores: expected \(3,\), found \(2,\)"):
        Detections(np.zeros((3, 4), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"Detections.landmarks: expected \(1, 5, 2\)"):
        Detections(np.zeros((1, 4), np.float32), np.zeros(1, np.float32), np.zeros((1, 68, 2), np.float32))
