"""Faces and landmarks of a data set, found once and kept; regions cut as they are when serving; near-duplicates."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import ZOO, Crop, EngineSpec, load_engine
from engines.manifest import write_entry
from streamer.faces.landmarks import DlibLandmarker, ZooLandmarker
from streamer.faces.regions import crops
from train.data import BASIC, FaceSet, labelled
from train.data.leaks import leaks
from train.data.locate import FaceFinder, locate, plausible, read_cache, write_cache
from train.expression.batches.cutting import align, as_seen, located, needs, recipe
from train.expression.batches.views import Cover
from train.expression.config import Data, Input


def face_points(box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 68 points in the order of iBUG, a plain frontal face that fills a box."""
    t = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.5 * np.cos(t), 0.35 + 0.6 * np.sin(t)], axis=1)
    brows = [(x, 0.25) for x in (0.12, 0.2, 0.28, 0.35, 0.42, 0.58, 0.65, 0.72, 0.8, 0.88)]
    nose = [(0.5, y) for y in (0.38, 0.45, 0.52, 0.58)] + [(x, 0.63) for x in (0.42, 0.46, 0.5, 0.54, 0.58)]
    eyes = [
        (c + dx, 0.38 + dy)
        for c in (0.3, 0.7)
        for dx, dy in ((-0.07, 0), (-0.03, -0.02), (0.03, -0.02), (0.07, 0), (0.03, 0.02), (-0.03, 0.02))
    ]
    angles = np.linspace(np.pi, 3 * np.pi, 13)[:-1]
    mouth = [(0.5 + 0.18 * np.cos(a), 0.78 + 0.06 * np.sin(a)) for a in [*angles, *angles[::3], *angles[:8:2]]]
    shares = np.concatenate([jaw, brows, nose, eyes, mouth])
    return np.asarray(box[:2] + shares * (box[2:] - box[:2]), np.float32)


class StubLandmarker:
    """Draw the plain face into every box, and count the calls."""

    def __init__(self) -> None:
        self.calls = 0

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        self.calls += 1
        return np.stack([face_points(box) for box in boxes])


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    from skimage import data

    astronaut: Any = data.astronaut
    return np.ascontiguousarray(astronaut()[:256, 96:352, ::-1])


FACE = np.array([82, 64, 170, 180], np.float32)  # of the astronaut, about


def portrait_rows(portrait: NDArray[np.uint8], *pictures: NDArray[np.uint8], boxes: Any = None) -> FaceSet:
    images = [portrait, *pictures]
    packed = np.empty(len(images), object)
    for i, image in enumerate(images):
        packed[i] = image
    return labelled(BASIC, [str(i) for i in range(len(images))], packed, [0] * len(images), boxes=boxes)


def unknown(n: int) -> NDArray[np.float32]:
    return np.full((n, 4), np.nan, np.float32)


def with_points(portrait: NDArray[np.uint8]) -> FaceSet:
    points: NDArray[np.float32] = face_points(FACE)[None]
    return replace(portrait_rows(portrait, boxes=FACE[None]), landmarks=points)


def test_a_face_is_found_in_a_photo_and_counted_where_there_is_none(
    portrait: NDArray[np.uint8], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = portrait_rows(portrait, np.full((80, 90, 3), 128, np.uint8), boxes=unknown(2))
    with caplog.at_level(logging.INFO):
        found = locate(rows, tmp_path, StubLandmarker())
    assert found.boxes is not None
    assert found.landmarks is not None
    np.testing.assert_allclose(found.boxes[0], FACE, atol=15)
    assert np.isfinite(found.landmarks[0]).all()
    assert np.isnan(found.landmarks[1]).all()
    assert "2 pictures, 2 of them searched now; 1 without landmarks" in caplog.text


def test_a_small_picture_that_is_a_face_is_enlarged_and_searched(portrait: NDArray[np.uint8]) -> None:
    left, top, right, bottom = FACE.astype(int)
    centre, half = (left + right) // 2, (bottom - top) // 2 + 6
    square = portrait[(top + bottom) // 2 - half : (top + bottom) // 2 + half, centre - half : centre + half]
    small = cv2.resize(cv2.cvtColor(square, cv2.COLOR_BGR2GRAY), (48, 48), interpolation=cv2.INTER_AREA)[..., None]
    box, points = FaceFinder(StubLandmarker()).find(np.asarray(small, np.uint8), None)
    np.testing.assert_allclose(box, [9, 2, 39, 43], atol=8)  # pixels of the small picture
    assert (points >= box[:2] - 1).all()
    assert (points <= box[2:] + 1).all()


def test_where_no_face_is_found_landmarks_count_only_if_several_starts_agree() -> None:
    class Agreeing(StubLandmarker):
        def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.stack([face_points(np.array([60, 50, 180, 220], np.float32)) for _ in boxes])

    grey = np.full((48, 48, 1), 120, np.uint8)
    assert np.isfinite(FaceFinder(Agreeing()).find(grey, None)[1]).all()
    assert np.isnan(FaceFinder(StubLandmarker()).find(grey, None)[1]).all()  # each start its own face
    assert np.isnan(FaceFinder(None).find(grey, None)[0]).all()


def test_a_given_box_says_which_face_is_meant(portrait: NDArray[np.uint8]) -> None:
    finder = FaceFinder(StubLandmarker())
    near, far = FACE + 12, np.array([0, 180, 60, 250], np.float32)
    np.testing.assert_allclose(finder.find(portrait, near)[0], finder.find(portrait, np.full(4, np.nan, np.float32))[0])
    np.testing.assert_allclose(finder.find(portrait, far)[0], far)  # nothing is found there: the box itself


def test_what_was_found_is_kept_by_content(portrait: NDArray[np.uint8], tmp_path: Path) -> None:
    first = StubLandmarker()
    found = locate(portrait_rows(portrait, boxes=unknown(1)), tmp_path, first)
    other = portrait_rows(np.ascontiguousarray(portrait[:, ::-1]), portrait, boxes=unknown(2))
    second = StubLandmarker()
    again = locate(other, tmp_path, second)
    assert (first.calls, second.calls) == (1, 1)  # the mirrored picture alone is new
    assert again.landmarks is not None
    assert found.landmarks is not None
    np.testing.assert_array_equal(again.landmarks[1], found.landmarks[0])
    assert [file.name for file in tmp_path.iterdir()] == ["faces1-hog-stublandmarker.npz"]


def test_a_damaged_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "faces.npz").write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"faces.npz: not a readable cache of landmarks .*; delete it"):
        read_cache(tmp_path / "faces.npz")
    write_cache(tmp_path / "faces.npz", {b"key": np.zeros((70, 2), np.float32)})
    (tmp_path / "faces.npz").write_bytes((tmp_path / "faces.npz").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"faces.npz: not a readable cache of landmarks .*; delete it"):
        read_cache(tmp_path / "faces.npz")


def test_only_points_in_the_order_of_a_face_are_plausible() -> None:
    good = face_points(np.array([0, 0, 100, 120], np.float32))
    angle = np.radians(40)
    turned = good @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
    upside_down = good * (1, -1)
    flat = good * (0.05, 1)
    unfound = np.full((68, 2), np.nan)
    stacked = np.stack([good, turned, upside_down, flat, unfound]).astype(np.float32)
    assert plausible(stacked).tolist() == [True, True, False, False, False]


@pytest.mark.parametrize("region", ["mouth", "eyes", "nose_mouth", "face"])
@pytest.mark.parametrize("mode", ["pad", "centre", "mask"])
def test_training_sees_exactly_what_serving_cuts(portrait: NDArray[np.uint8], region: str, mode: str) -> None:
    seen = Input.model_validate(
        {
            "region": region,
            "size": 40,
            "margin": 0.1,
            "shift_y": 0.05,
            "padding": 0 if mode == "mask" else 9,
            "mode": mode,
            "face_box": "detector",
        }
    )
    rows = with_points(portrait)
    spec = EngineSpec(
        name="test", task="expression", height=40, width=40, channels=1, crop=recipe(seen), outputs=("probabilities",)
    )
    assert rows.boxes is not None
    served = crops(portrait, rows.boxes, spec, rows.landmarks)
    np.testing.assert_array_equal(as_seen(rows, seen).images, served)


def test_a_picture_that_is_the_face_is_seen_whole(portrait: NDArray[np.uint8]) -> None:
    rows = labelled(BASIC, ["a"], portrait[None, ::2, ::2, :1].copy(), [0])
    assert located(rows, needs(Input(size=128)), Data(cache=Path("unused"))) is rows  # nothing has to be found
    np.testing.assert_array_equal(as_seen(rows, Input(size=128)).images[0], rows.images[0])


def test_a_row_without_landmarks_is_seen_whole(portrait: NDArray[np.uint8]) -> None:
    rows = replace(with_points(portrait), landmarks=np.full((1, 68, 2), np.nan, np.float32))
    seen = as_seen(rows, Input(region="mouth", size=64))
    np.testing.assert_array_equal(seen.images, as_seen(rows, Input(region="face", size=64)).images)
    with pytest.raises(ValueError, match="the region 'mouth' is cut by landmarks, and the rows have none"):
        as_seen(portrait_rows(portrait), Input(region="mouth"))


def test_a_larger_cut_shows_the_surroundings_of_a_face_but_only_padding_around_a_region(
    portrait: NDArray[np.uint8],
) -> None:
    rows = with_points(portrait)
    face = Input(region="face", size=40, face_box="detector", padding=255)
    wide = as_seen(rows, face, larger=0.5).images[0]
    assert wide.shape == (60, 60, 1)
    inner, usual = wide[10:50, 10:50].astype(float), as_seen(rows, face).images[0].astype(float)
    assert np.abs(inner - usual).mean() < 4  # the same place at the same scale
    assert wide[:10].std() > 5
    mouth = Input(region="mouth", size=40, padding=7)
    wide = as_seen(rows, mouth, larger=0.5).images[0]
    np.testing.assert_array_equal(wide[10:50, 10:50], as_seen(rows, mouth).images[0])
    assert set(np.delete(wide, np.s_[10:50], axis=0).ravel()) == {7}


def test_without_padding_the_piece_lies_in_the_centre_and_in_training_anywhere(portrait: NDArray[np.uint8]) -> None:
    rows, seen = with_points(portrait), Input(region="eyes", size=32, mode="centre")
    centre = as_seen(rows, seen).images
    drawn = [as_seen(rows, seen, rng=np.random.default_rng(seed)).images for seed in range(4)]
    assert len({piece.tobytes() for piece in [centre, *drawn]}) >= 4
    np.testing.assert_array_equal(as_seen(rows, seen, rng=np.random.default_rng(0)).images, drawn[0])


@pytest.mark.parametrize("angle", [-25, 0, 40])
def test_alignment_puts_the_eyes_in_fixed_places(portrait: NDArray[np.uint8], angle: float) -> None:
    turn = cv2.getRotationMatrix2D((126, 122), angle, 0.8)
    picture = np.asarray(cv2.warpAffine(portrait, turn, (256, 256)), np.uint8)
    points = (face_points(FACE) @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    turned, moved, frame = align(picture, points, (144, 112))
    assert turned.shape == (288, 224, 3)
    assert frame.tolist() == [0, 0, 224, 288]
    eyes = np.stack([moved[36:42].mean(axis=0), moved[42:48].mean(axis=0)])
    apart = 0.4 * 224
    np.testing.assert_allclose(eyes, [[(224 - apart) / 2, 0.36 * 288], [(224 + apart) / 2, 0.36 * 288]], atol=0.01)
    # What lies under a point moved with it: around five points the brightness is that of the portrait.
    points = face_points(FACE)
    scale = apart / float(np.linalg.norm(points[36:42].mean(axis=0) - points[42:48].mean(axis=0)))
    before, after = cv2.GaussianBlur(portrait, (0, 0), 3), cv2.GaussianBlur(turned, (0, 0), 3 * scale)
    for k in (8, 27, 30, 48, 54):
        (x, y), (u, v) = points[k].astype(int), moved[k].astype(int)
        np.testing.assert_allclose(after[v, u].astype(int), before[y, x].astype(int), atol=12)


def test_an_aligned_face_is_the_frame_and_a_larger_one_shows_more_of_the_picture(portrait: NDArray[np.uint8]) -> None:
    rows, seen = with_points(portrait), Input(region="face", size=72, width=56, align=True)
    usual, wide = as_seen(rows, seen).images[0], as_seen(rows, seen, larger=0.25).images[0]
    assert (usual.shape, wide.shape) == ((72, 56, 1), (90, 70, 1))
    assert np.abs(wide[9:81, 7:63].astype(float) - usual.astype(float)).mean() < 4
    assert wide[:9].std() > 5


def test_a_cut_that_cannot_serve_has_no_recipe() -> None:
    assert recipe(Input(region="mouth", margin=0.1, eyes="paper")) == Crop(region="mouth", margin=0.1, eyes="paper")
    for changes in ({"align": True}, {"face_box": "landmarks"}):
        with pytest.raises(ValueError, match="for comparison with the papers and cannot serve"):
            recipe(Input(**changes))


def face_like(seed: int) -> NDArray[np.uint8]:
    picture = np.random.default_rng(seed).normal(128, 60, (12, 12))
    return np.clip(cv2.resize(picture, (48, 48), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)[..., None]


def rows_of(pictures: list[NDArray[np.uint8]]) -> FaceSet:
    return labelled(BASIC, [str(i) for i in range(len(pictures))], np.stack(pictures), [0] * len(pictures))


def test_leaks_are_the_same_photo_cut_scaled_or_stamped_otherwise() -> None:
    first = [face_like(seed) for seed in range(60)]
    shifted = np.roll(first[3], 1, axis=1)
    stamped = first[7].copy()
    stamped[30:36, 10:40] = np.clip(stamped[30:36, 10:40].astype(int) + 25, 0, 255)
    darker = (first[9] * 0.6).astype(np.uint8)
    found = leaks(rows_of(first), rows_of([face_like(100), first[1], shifted, stamped, darker]))
    assert sorted(zip(found.second.tolist(), found.first.tolist(), strict=True)) == [(1, 1), (2, 3), (3, 7), (4, 9)]
    assert found.distance[found.second == 1].tolist() == [0]
    assert found.summary() == {"pairs": 4, "first_rows": 4, "second_rows": 4}
    assert len(leaks(rows_of(first), rows_of([shifted]), radius=0)) == 0


@pytest.mark.data
def test_the_twins_of_the_private_rows_are_among_the_leaks(shared: Path) -> None:
    from train.data import load

    private, train = (load("fer", shared / "data/fer", split, "ferplus_seed") for split in ("private", "train"))
    private = private[private.leaked]
    found = leaks(private, train)
    assert len(set(found.first[found.distance == 0])) > 250


def test_landmarks_may_come_from_the_network_that_serves(portrait: NDArray[np.uint8]) -> None:
    rows = portrait_rows(portrait, boxes=FACE[None])
    found = located(rows, "landmarks", Data(landmarks=Path("zoo/landmarks.onnx"))).landmarks
    assert found is not None
    assert plausible(found).all()
    expected = DlibLandmarker().locate(portrait, FACE[None])[0]
    eyes = np.linalg.norm(expected[36:42].mean(axis=0) - expected[42:48].mean(axis=0))
    assert np.linalg.norm(found[0] - expected, axis=1).mean() < 0.1 * eyes


def test_the_network_is_shown_the_face_where_a_set_does_not_say_where_it_lies(
    portrait: NDArray[np.uint8], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = FACE + np.float32(5)
    boxes = np.concatenate([unknown(2), given[None]])
    rows = portrait_rows(portrait, np.full((80, 90, 3), 128, np.uint8), portrait, boxes=boxes)
    with caplog.at_level(logging.INFO):
        found = located(rows, "landmarks", Data(landmarks=Path("zoo/landmarks.onnx"), cache=tmp_path))
    assert found.landmarks is not None
    assert found.boxes is not None
    np.testing.assert_allclose(found.boxes[0], FACE, atol=15)
    np.testing.assert_array_equal(found.boxes[2], given)
    assert plausible(found.landmarks).tolist() == [True, False, True]
    assert np.isnan(found.landmarks[1]).all()
    assert "3 pictures; 1 without landmarks" in caplog.text
    assert np.isnan(rows.boxes[:2]).all(), "what was given is left as it is"  # type: ignore[index]


def test_the_network_that_finds_landmarks_for_training_is_the_named_file_in_f32(
    portrait: NDArray[np.uint8], tmp_path: Path
) -> None:
    named, beside = tmp_path / "landmarks.onnx", tmp_path / "landmarks.int8.onnx"
    shutil.copy(ZOO / named.name, named)
    beside.write_bytes(b"opened only where the fastest form is looked for")
    write_entry(beside)
    found = located(portrait_rows(portrait, boxes=FACE[None]), "landmarks", Data(landmarks=named)).landmarks
    exact = ZooLandmarker(load_engine(named, "landmarks", precision="f32"))
    np.testing.assert_array_equal(found, exact.locate(portrait, FACE[None]))
    exact.close()
    Cover(0.5, Data(landmarks=named), Input()).close()
