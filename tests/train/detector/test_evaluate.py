"""Judging detectors side by side: figures of known answers, and what is written of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.types import Detections
from train.detector.evaluate import choose_threshold, draw, figures, judge, table, write
from train.detector.sets import Judged

FACES = np.array([[10, 10, 40, 45], [60, 20, 100, 70]], np.float32)
NOBODY = np.array([[110, 80, 125, 95]], np.float32)
NONE = np.zeros((0, 4), np.float32)


def pictures(count: int = 2) -> list[Judged]:
    image = np.full((100, 130, 3), 90, np.uint8)
    return [Judged(f"photo-{number}.jpg", image, FACES, NONE) for number in range(count)]


class Answers:
    """Answer every picture alike."""

    def __init__(self, boxes: NDArray[np.float32], scores: Sequence[float]) -> None:
        self.found = Detections(boxes, np.array(scores, np.float32))

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self.found] * len(images)

    def close(self) -> None:
        pass


def test_a_detector_that_finds_all_and_nothing_else_is_perfect() -> None:
    found = figures(judge("perfect", Answers(FACES, [0.9, 0.8]), 0.5, pictures()))
    assert (found["faces"], found["found"], found["alarms"]) == (4, 4, 0)
    assert (found["recall"], found["precision"]) == (1, 1)
    assert found["average_precision"] == pytest.approx(1)
    assert {name: size["faces"] for name, size in found["sizes"].items()} == {"20-40": 2, "40-80": 2}


def test_false_alarms_and_missed_faces_are_counted_from_the_working_score_on() -> None:
    answers = Answers(np.concatenate([FACES, NOBODY]), [0.9, 0.4, 0.6])
    strict, lenient = (figures(judge("x", answers, threshold, pictures())) for threshold in (0.5, 0.3))
    assert (strict["found"], strict["alarms"], strict["recall"], strict["precision"]) == (2, 2, 0.5, 0.5)
    assert (lenient["found"], lenient["alarms"]) == (4, 2)
    assert strict["average_precision"] == lenient["average_precision"] < 1


def test_the_threshold_lets_through_so_many_false_alarms_and_no_more() -> None:
    matches = judge("x", Answers(np.concatenate([FACES, NOBODY]), [0.9, 0.8, 0.6]), 0.5, pictures(10)).matches
    assert choose_threshold(matches, alarms=0.0) == pytest.approx(0.61)
    assert choose_threshold(matches, alarms=1.0) == pytest.approx(0.05)


def test_tables_curves_and_pictures_show_what_was_found(tmp_path: Path) -> None:
    judged = pictures()
    answers = Answers(np.concatenate([FACES[:1], NOBODY]), [0.9, 0.6])
    rivals = [judge("ours", answers, 0.5, judged), judge("blind", Answers(NONE, []), 0.5, judged)]
    write(tmp_path, "toy", judged, rivals)
    saved = json.loads((tmp_path / "toy.json").read_text())
    assert [(row["detector"], row["found"], row["alarms"]) for row in saved] == [("ours", 2, 2), ("blind", 0, 0)]
    assert cv2.imread(str(tmp_path / "toy.png")).shape[2] == 3
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == ["photo-0.jpg", "photo-1.jpg"]
    text = table("toy", 2, saved)
    assert "## toy: 2 pictures, 4 faces" in text
    assert "| ours | 0.50 | 0.500 | 2 | 2 | 0.500 |" in text
    assert "| blind | 0.000 (0/2) | 0.000 (0/2) |" in text


def test_right_answers_are_drawn_green_wrong_ones_red_and_missed_faces_white() -> None:
    [picture] = pictures(1)
    image = draw(picture, Detections(np.concatenate([FACES[:1], NOBODY]), np.array([0.6, 0.9], np.float32)), 0.5)
    green, red, white = (image[int(box[1]), int(box[0])].tolist() for box in (FACES[0], NOBODY[0], FACES[1]))
    assert (green, red, white) == ([0, 200, 0], [0, 0, 255], [255, 255, 255])
