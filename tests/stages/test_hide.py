from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamer.build import build_pipeline, build_stages
from streamer.commands.explain import run as explain
from streamer.config import Config, load_config
from streamer.faces.track import Tracker
from streamer.sources import open_source
from streamer.stages.hide import Hiding, hide_boxes, mosaic
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.types import Detections, Face, Frame, Result
from tests.conftest import picture
from tests.make import SAMPLE, Plain

NOISE = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


PLACE = np.array([100, 80, 160, 140], np.float32)


class Seeing:
    """Find a face at place(number of the search) with a score, or none where there is no place."""

    def __init__(self, place, score=0.9):
        self.place, self.score, self.searches = place, score, 0

    def detect(self, images):
        box = self.place(self.searches)
        self.searches += 1
        return [Detections.empty() if box is None else Detections(box[None], np.array([self.score], np.float32))] * len(
            images
        )

    def close(self):
        pass


def play(detector, seconds, interval, *, live=True):
    """Show noise at 25 fps, searched each `interval`; return (time, was a face shown, is its place hidden)."""
    perceive = Perceiver(detector, Tracker, DetectionSettings(interval=interval, share=1.0, budget=10))
    hide, seen = Hiding(Plain(), "faces"), []
    for index in range(round(seconds * 25)):
        frame = Frame(NOISE.copy(), "cam", index, index / 25, 0.0, live)
        [result] = hide(perceive([frame]))
        seen.append((frame.time, bool(result.faces), hides(result.frame.image, PLACE)))
    return seen


def hides(image, box):
    """Tell whether a box of the noise is hidden, True or False; one that is hidden in part is neither."""
    x1, y1, x2, y2 = np.asarray(box, np.int64)
    share = (image[y1:y2, x1:x2] != NOISE[y1:y2, x1:x2]).any(axis=2).mean()
    return True if share > 0.97 else False if share == 0 else None


def result_at(time, found, *, faces=(), live=True):
    boxes = np.array(found or [], np.float32).reshape(-1, 4)
    return Result(
        Frame(NOISE.copy(), "cam", 0, time, 0.0, live), faces,
        found=None if found is None else Detections(boxes, np.full(len(boxes), 0.4, np.float32)),
    )  # fmt: skip


def detail(image):
    """Measure how much neighbouring pixels differ."""
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean())


def test_a_face_and_its_margin_become_a_mosaic_and_nothing_else_changes():
    hidden = hide_boxes(NOISE, np.array([[100, 80, 160, 160]], np.float32))
    changed = (hidden != NOISE).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (60, 180, 80, 180)
    assert len(np.unique(hidden[60:181, 80:181].reshape(-1, 3), axis=0)) < 100
    assert (np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8) == NOISE).all()


@pytest.mark.parametrize("box", [(-50, -50, 20, 20), (300, 200, 500, 400), (5, 5, 6, 6), (400, 400, 500, 500)])
def test_boxes_at_and_beyond_the_edge_are_borne(box):
    hidden = hide_boxes(NOISE, np.array([box], np.float32))
    assert hidden.shape == NOISE.shape


def test_a_whole_frame_is_hidden_whether_faces_are_found_or_not():
    [result] = Hiding(Plain(), "frame")([Result(Frame(NOISE.copy(), "cam", 0, 0.0, 0.0), ())])
    assert detail(result.frame.image) < detail(NOISE) / 5
    assert mosaic(picture(7), 100).shape == picture().shape


def test_what_leaves_the_pipeline_shows_no_face_and_finds_the_same():
    def boxes_and_pictures(blur):
        config = load_config(
            Config, None, [f"privacy.blur={blur}", "detector.precision=f32"]
        )  # not the quickest just now
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
        for x1, y1, x2, y2 in np.asarray(boxes, np.int64):
            inside = slice(max(0, y1), y2), slice(max(0, x1), x2)
            assert np.abs(before[inside].astype(int) - after[inside]).mean() > 3
            assert len(np.unique(after[inside].reshape(-1, 3), axis=0)) < 200


def test_an_unknown_way_to_hide_is_refused():
    with pytest.raises(ValueError, match=r"'privacy\.blur'"):
        load_config(Config, None, ["privacy.blur=eyes"])


def test_faces_without_a_picture_of_their_own_stay_as_they_are():
    face = Face(1, np.array([10, 10, 30, 30], np.float32), 0.9, 0.0)
    [result] = Hiding(Plain(), "faces")([Result(Frame(NOISE.copy(), "cam", 3, 0.1, 0.2), (face,))])
    assert result.faces == (face,)
    assert (result.frame.index, result.frame.time, result.frame.captured_at) == (3, 0.1, 0.2)


@pytest.mark.parametrize("blur", ["faces", "frame"])
def test_no_face_is_explained_where_none_may_be_seen(tmp_path, blur):
    cv2.imwrite(str(tmp_path / "photo.png"), NOISE)
    config = load_config(Config, None, [f"privacy.blur={blur}"])
    with pytest.raises(ValueError, match=f"privacy.blur={blur}: an explanation shows the face"):
        explain(config, tmp_path / "photo.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("score", [0.35, 0.6])
def test_a_face_that_the_tracker_is_not_sure_of_is_hidden_and_stays_so_between_searches(score):
    seen = play(Seeing(lambda search: PLACE if search == 1 else None, score), 1.0, 0.2)
    assert not any(shown for _, shown, _ in seen)
    assert [hidden for time, _, hidden in seen] == [time >= 0.2 for time, _, _ in seen]


@pytest.mark.parametrize("interval", [0.1, 0.5, 3.0])
def test_however_rarely_a_live_stream_is_searched_its_face_is_never_seen_nor_when_a_search_misses_it(interval):
    seen = play(Seeing(lambda search: None if search % 3 == 1 else PLACE), 9 * interval + 0.5, interval)
    assert all(shown for _, shown, _ in seen) == (interval == 0.1)
    assert all(hidden for *_, hidden in seen)


@pytest.mark.parametrize(("interval", "until"), [(0.1, 1.0), (0.8, 1.6), (3.0, 6.0)])
def test_a_face_that_left_is_hidden_for_a_second_and_until_two_searches_missed_it(interval, until):
    seen = play(Seeing(lambda search: None if search else PLACE), until + 0.5, interval)
    assert [hidden for *_, hidden in seen] == [time < until for time, *_ in seen]


def test_a_moving_face_is_hidden_where_it_is_between_searches():
    hide = Hiding(Plain(), "faces")
    for index in range(20):
        box = PLACE + np.array([4 * index, 0, 4 * index, 0], np.float32)
        [result] = hide([result_at(index / 25, [box] if index % 5 == 0 else None)])
        assert index < 5 or hides(result.frame.image, box)  # its speed is known from the second search on


def test_the_next_photo_of_a_folder_is_not_hidden_where_the_one_before_had_a_face():
    hide = Hiding(Plain(), "faces")
    first, second = (hide([result_at(time, found, live=False)])[0] for time, found in ((0.0, [PLACE]), (1.0, [])))
    assert hides(first.frame.image, PLACE) is True
    assert (second.frame.image == NOISE).all()


def test_a_camera_that_comes_back_with_another_size_shows_no_face_until_it_is_searched_again():
    hide = Hiding(Plain(), "faces")
    small = result_at(0.0, [PLACE / 2])
    small = replace(small, frame=replace(small.frame, image=NOISE[:120, :160].copy()))
    hide([small])
    [result] = hide([result_at(0.04, None)])
    assert hides(result.frame.image, PLACE) is True


def test_faces_in_view_are_hidden_at_once_when_hiding_is_asked_for_and_old_ones_are_not_remembered():
    hide, face = Hiding(Plain(), "none"), Face(1, PLACE, 0.9, 0.0)
    assert hides(hide([result_at(0.0, [PLACE], faces=(face,))])[0].frame.image, PLACE) is False
    hide.blur = "faces"
    assert hides(hide([result_at(0.04, None, faces=(face,))])[0].frame.image, PLACE) is True
    assert hides(hide([result_at(0.2, [PLACE])])[0].frame.image, PLACE) is True
    hide.blur = "none"
    hide([result_at(0.3, None)])
    hide.blur = "faces"
    assert hides(hide([result_at(0.4, None)])[0].frame.image, PLACE) is False


def test_a_stream_that_ended_leaves_nothing_behind_for_another_of_its_name():
    stages = build_stages(load_config(Config, None, ["privacy.blur=faces"]))
    try:
        stages.finish([result_at(5.0, [PLACE])])
        stages.forget("cam")
        [result] = stages.finish([result_at(0.0, None)])
    finally:
        stages.close()
    assert (result.frame.image == NOISE).all()


def test_what_is_no_box_hides_nothing():
    wrong = [[np.nan] * 4, [1e9, 0, 2e9, 10], [20, 20, 20, 20]]
    [result] = Hiding(Plain(), "faces")([result_at(0.0, wrong)])
    assert (result.frame.image == NOISE).all()
