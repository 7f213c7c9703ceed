from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from train.detector.batches.pictures import Picture, save
from train.landmarks import agreement, teacher
from train.landmarks.batches import bias, taught
from train.landmarks.batches.draw import MIRRORED
from train.landmarks.batches.read import read
from train.landmarks.config import Source


@pytest.fixture(scope="module")
def portrait():
    return cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)


def test_a_crop_shows_a_turned_face_level_and_in_its_middle():
    roll, centre = np.deg2rad(35), np.array([40.0, 30.0])
    matrix = teacher.crop_matrix(centre, 64, roll)
    eye = centre + 10 * np.array([np.cos(roll), np.sin(roll)])
    np.testing.assert_allclose(matrix[:, :2] @ centre + matrix[:, 2], [128, 128])
    np.testing.assert_allclose(matrix[:, :2] @ eye + matrix[:, 2], [128 + 40, 128], atol=1e-9)


def test_a_mesh_says_where_its_face_lies_and_how_it_is_turned():
    roll = np.deg2rad(-50)
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    level = np.random.default_rng(0).uniform((-30, -40), (30, 40), (478, 2))
    level[[*teacher.RIGHT_EYE, *teacher.LEFT_EYE]] = [(-20, -10), (-8, -10), (20, -10), (8, -10)]
    level[:4] = [(-30, 0), (30, 0), (0, -40), (0, 40)]
    centre, side, angle = teacher.frame_of((level @ turn.T + (100, 90)).astype(np.float32))
    np.testing.assert_allclose(centre, [100, 90], atol=1e-3)
    assert side == pytest.approx(80, abs=1e-3)
    assert angle == pytest.approx(roll, abs=1e-5)


def test_every_landmark_has_a_place_in_the_mesh_and_the_jaw_is_alike_on_both_sides():
    assert teacher.FIRST.shape == teacher.SECOND.shape == (68,)
    one = np.zeros((1, 478, 2), np.float32)
    one[0, [93, 132], 0], one[0, [323, 361], 0] = (10, 20), (30, 40)
    np.testing.assert_allclose(teacher.to_ibug(one)[0, [2, MIRRORED[2]], 0], [15, 35])


@pytest.mark.parametrize(("presence", "shift", "kept"), [(1.0, 0.0, 1), (0.5, 0.0, 0), (1.0, 200.0, 0)])
def test_faces_are_kept_whose_points_the_teacher_is_sure_of_and_that_lie_in_the_face(presence, shift, kept):
    class Sees:
        def look(self, image, boxes, rolls):
            level = _face() * (boxes[0, 2:] - boxes[0, :2]) + boxes[0, :2] + shift
            assert rolls[0] == pytest.approx(0)
            mesh = np.zeros((1, 478, 2), np.float32)
            mesh[0, teacher.FIRST] = mesh[0, teacher.SECOND] = level
            return mesh, np.array([presence], np.float32)

    box = np.array([[50, 60, 130, 160]], np.float32)
    five = np.array([[[70, 95], [110, 95], [90, 120], [75, 140], [105, 140]]], np.float32)
    picture = Picture(np.zeros((240, 300), np.uint8), box, five, np.array([True]), "lfw", True)
    found = list(taught.taught([picture], Sees()))
    assert len(found) == kept
    for face in found:
        sides = face.boxes[0, 2:] - face.boxes[0, :2]
        assert sides.max() <= 97
        assert face.points.shape == (1, 68, 2)
        assert face.held
        np.testing.assert_allclose((face.points[0, 17:] - face.boxes[0, :2]) / sides, _face()[17:], atol=0.02)


def test_taught_faces_are_read_by_split(tmp_path):
    box, points = np.array([[50, 60, 130, 160]], np.float32), np.ones((1, 68, 2), np.float32)
    image = np.zeros((240, 300), np.uint8)
    faces = [Picture(image, box + n, points, np.array([True]), "lfw", held=n == 2) for n in range(3)]
    faces.append(Picture(image, box, points, np.array([True]), "masks"))  # its mouth may be hidden
    save(tmp_path / "taught.npz", faces)
    source = Source(set="taught", path=tmp_path / "none.npz", share=1, cache=tmp_path, teacher=tmp_path / "face.task")
    assert [part.boxes[:, 0].tolist() for part in read(source, "train")] == [[50, 51], [50]]  # these may be covered
    assert [part.boxes[:, 0].tolist() for part in read(source, "validation")] == [[52], []]
    with pytest.raises(ValueError, match=r"taught: expected `cache`, a folder, and `teacher`"):
        read(source.model_copy(update={"teacher": None}), "train")


def test_faces_whose_eyes_nobody_said_are_left_out():
    box = np.array([[50, 60, 130, 160]], np.float32)
    blind = Picture(
        np.zeros((240, 300), np.uint8), box, np.full((1, 5, 2), np.nan, np.float32), np.array([True]), "people"
    )
    assert list(taught.taught([blind], None)) == []


@pytest.mark.data
def test_the_mesh_of_a_turned_face_turns_with_it(portrait, shared):
    look = teacher.MeshTeacher(shared / "models" / "face_landmarker.task").look
    box = np.array([[170, 65, 275, 205]], np.float32)
    upright, presence = look(portrait, box, np.zeros(1, np.float32))
    assert presence[0] > 0.9
    centre = tuple(float(value) for value in (box[0, :2] + box[0, 2:]) / 2)
    matrix = cv2.getRotationMatrix2D(centre, -50, 1)
    turned, _ = look(cv2.warpAffine(portrait, matrix, (512, 512)), box, np.deg2rad([50]).astype(np.float32))
    expected = teacher.to_ibug(upright)[0] @ matrix[:, :2].T + matrix[:, 2]
    eyes = np.linalg.norm(expected[36] - expected[45])
    assert np.linalg.norm(teacher.to_ibug(turned)[0] - expected, axis=1).mean() < 0.03 * eyes


def test_a_file_that_is_no_landmarker_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected MediaPipe's face_landmarker\.task, found none"):
        teacher.MeshTeacher(tmp_path / "face.task")
    (tmp_path / "face.task").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="found something else"):
        teacher.MeshTeacher(tmp_path / "face.task")


def _face() -> np.ndarray:
    """Return 68 landmarks of a plain upright face in shares of its box."""
    turns = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.5 * np.cos(turns), 0.35 + 0.65 * np.sin(turns)], axis=1)
    brows = np.stack([np.r_[np.linspace(0.12, 0.4, 5), np.linspace(0.6, 0.88, 5)], np.full(10, 0.27)], axis=1)
    nose = np.r_[
        np.stack([np.full(4, 0.5), np.linspace(0.38, 0.55, 4)], 1),
        np.stack([np.linspace(0.4, 0.6, 5), np.full(5, 0.62)], 1),
    ]
    eye = np.array([(-1, 0), (-0.4, -0.5), (0.4, -0.5), (1, 0), (0.4, 0.5), (-0.4, 0.5)]) * (0.1, 0.05)
    lips = np.stack(
        [0.5 + 0.18 * np.cos(np.linspace(np.pi, -np.pi, 20)), 0.78 - 0.06 * np.sin(np.linspace(np.pi, -np.pi, 20))], 1
    )
    return np.concatenate([jaw, brows, nose, np.add(eye, (0.28, 0.38)), np.add(eye, (0.72, 0.38)), lips]).astype(
        np.float32
    )


def test_a_constant_bias_of_labels_is_found_and_taken_back_whichever_way_faces_are_turned(tmp_path):
    random, ways = np.random.default_rng(0), np.zeros((68, 2), np.float32)
    ways[:, 0], ways[27:36, 1] = 0.03, 0.05
    turned = []
    for degrees in (0, 30, -45):
        cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        turned.append(_face() * (80, 100) @ np.array([[cos, sin], [-sin, cos]]) + random.uniform(50, 90, 2))
    true = np.array(turned, np.float32)
    labels = true + bias.from_frame(ways, true)
    found = bias.in_frame(labels - true, true)
    np.testing.assert_allclose(found, np.broadcast_to(ways, found.shape), atol=1e-4)
    assert agreement.summary(found)[-1] == pytest.approx(
        {"part": "all", "difference": 3.37, "bias taken back": 0, "right": 3, "down": 0.66}, abs=0.03
    )
    bias.save_bias(tmp_path / "bias.csv", agreement.bias_of(found))
    np.testing.assert_allclose(bias.load_bias(tmp_path / "bias.csv"), ways, atol=1e-4)
    (tmp_path / "bias.csv").write_text("right,down\n1,2\n")
    with pytest.raises(ValueError, match="expected 68 rows of right,down, found 1 of 2"):
        bias.load_bias(tmp_path / "bias.csv")
