from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import dlib
import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "docs" / "sample"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample", FOLDER / "make_sample.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clip() -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(FOLDER / "sample.mp4"))
    frames = []
    while capture.grab():
        frames.append(np.asarray(capture.retrieve()[1], np.uint8))
    return frames


def test_the_sample_is_small_and_plays_at_its_speed(script: ModuleType) -> None:
    assert (FOLDER / "sample.mp4").stat().st_size < 1_000_000
    capture = cv2.VideoCapture(str(FOLDER / "sample.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == script.FPS


def test_the_sample_holds_every_frame(script: ModuleType, clip: list[NDArray[np.uint8]]) -> None:
    assert len(clip) == script.COUNT
    assert {frame.shape for frame in clip} == {(script.HEIGHT, script.WIDTH, 3)}


def test_the_script_draws_what_the_sample_holds(script: ModuleType, clip: list[NDArray[np.uint8]]) -> None:
    indices = (0, 66, 90, 171)
    for index, frame in zip(indices, script.frames(indices), strict=True):
        assert cv2.PSNR(frame, clip[index]) > 33, f"frame {index}"
        assert cv2.PSNR(frame, clip[index + 3]) < 33, "neighbours differ more than the codec's error"


def test_two_faces_are_found_and_one_is_behind_a_mask_for_a_while(
    script: ModuleType, clip: list[NDArray[np.uint8]]
) -> None:
    detector = dlib.get_frontal_face_detector()
    for index in (0, 55, 90, 174):
        masked = script.mask_state(index / script.FPS)[1] > 0
        found = detector(cv2.cvtColor(clip[index], cv2.COLOR_BGR2GRAY), 0)
        centres = [(face.center().x, face.center().y) for face in found]
        places = [script.right_path(index / script.FPS)] + [script.left_path(index / script.FPS)] * (not masked)
        for x, y, *_ in places:
            assert any(abs(x - cx) < 30 and abs(y - cy) < 30 for cx, cy in centres), f"frame {index}"
        assert masked == (index == 90)
