from __future__ import annotations

import cv2
import numpy as np
import pytest

from streamer.build import build_pipeline
from streamer.config import Config, load_config
from streamer.photo.explain import run as explain
from streamer.privacy import Hiding, hide_boxes, mosaic
from streamer.sources import open_source
from streamer.types import Face, Frame, Result
from tests.conftest import picture
from tests.test_cli import SAMPLE

NOISE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def detail(image):
    """Measure how much neighbouring pixels differ."""
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean())


def test_a_face_and_its_margin_become_a_mosaic_and_nothing_else_changes():
    hidden = hide_boxes(NOISE, [np.float32([100, 80, 160, 160])])
    changed = (hidden != NOISE).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (60, 180, 80, 180)
    assert len(np.unique(hidden[60:181, 80:181].reshape(-1, 3), axis=0)) < 100
    assert (np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8) == NOISE).all()


@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (300, 200, 500, 400), (5, 5, 6, 6), (400, 400, 500, 500)])
def test_boxes_at_and_beyond_the_edge_are_borne(box):
    hidden = hide_boxes(NOISE, [np.float32(box)])
    assert hidden.shape == NOISE.shape


def test_a_whole_frame_is_hidden_whether_faces_are_found_or_not():
    [result] = Hiding(lambda results: results, "frame")([Result(Frame(NOISE.copy(), "cam", 0, 0.0, 0.0), ())])
    assert detail(result.frame.image) < detail(NOISE) / 5
    assert mosaic(picture(7), 100).shape == picture().shape


def test_what_leaves_the_pipeline_shows_no_face_and_finds_the_same():
    def boxes_and_pictures(blur):
        config = load_config(Config, None, [f"privacy.blur={blur}"])
        boxes, images = [], []
        with build_pipeline(config, [open_source(str(SAMPLE))]) as results:
            for result in results:
                boxes.append([face.box.tolist() for face in result.faces])
                images.append(result.frame.image)
                if result.frame.index == 12:
                    break
        return boxes, images

    sharp, hidden = boxes_and_pictures("none"), boxes_and_pictures("faces")
    assert sharp[0] == hidden[0]
    assert sum(map(len, sharp[0])) > 10
    for boxes, before, after in zip(sharp[0], sharp[1], hidden[1], strict=True):
        for x1, y1, x2, y2 in np.int64(boxes):
            inside = slice(max(0, y1), y2), slice(max(0, x1), x2)
            assert np.abs(before[inside].astype(int) - after[inside]).mean() > 3
            assert len(np.unique(after[inside].reshape(-1, 3), axis=0)) < 200


def test_an_unknown_way_to_hide_is_refused():
    with pytest.raises(ValueError, match=r"'privacy\.blur'"):
        load_config(Config, None, ["privacy.blur=eyes"])


def test_faces_without_a_picture_of_their_own_stay_as_they_are():
    face = Face(1, np.float32([10, 10, 30, 30]), 0.9, 0.0)
    [result] = Hiding(lambda results: results, "faces")([Result(Frame(NOISE.copy(), "cam", 3, 0.1, 0.2), (face,))])
    assert result.faces == (face,)
    assert (result.frame.index, result.frame.time, result.frame.captured_at) == (3, 0.1, 0.2)


@pytest.mark.parametrize("blur", ["faces", "frame"])
def test_no_face_is_explained_where_none_may_be_seen(tmp_path, blur):
    cv2.imwrite(str(tmp_path / "photo.png"), NOISE)
    config = load_config(Config, None, [f"privacy.blur={blur}"])
    with pytest.raises(ValueError, match=f"privacy.blur={blur}: an explanation shows the face"):
        explain(config, tmp_path / "photo.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()
