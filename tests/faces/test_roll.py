"""A turned face is shown to every network upright, and what it answers lies where the face is."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import Crop, EngineSpec, Outputs
from engines.fake import FakeEngine
from streamer.faces.belief import SHIFTS, judge
from streamer.faces.landmarks import LOOKS, Landmarks, ZooLandmarker
from streamer.faces.regions import crop, crops, face_square, input_boxes
from streamer.faces.roll import LEVEL, eye_line, roll_of, turned, upright_boxes
from streamer.faces.track import Tracker, TrackerSettings
from streamer.stages.perceive import DetectionSettings, Perceiver
from streamer.types import Detections, Frame, Result
from tests.conftest import expression_spec
from tests.turned import BOX, MIDDLE, angles, around, points_at, texture, turn


@pytest.mark.parametrize("points", [68, 5])
def test_the_eye_line_tells_the_roll_clockwise(points: int) -> None:
    told = np.zeros((2, points, 2), np.float32)
    told[0, 45 if points == 68 else 1] = 10, 10
    told[1, 45 if points == 68 else 1] = 10, -10
    np.testing.assert_allclose(eye_line(told), angles(45, -45), atol=1e-6)
    np.testing.assert_allclose(roll_of(told), angles(45, -45), atol=1e-6)


def test_small_rolls_ask_for_nothing_and_there_is_no_step_from_there_to_the_whole_roll() -> None:
    rolls = np.linspace(-np.pi, np.pi, 3601)[1:-1]
    told = np.zeros((len(rolls), 68, 2), np.float32)
    told[:, 45] = np.stack([np.cos(rolls), np.sin(rolls)], axis=1)
    asked = roll_of(told)
    assert not asked[np.abs(rolls) < LEVEL - 1e-6].any()
    np.testing.assert_allclose(asked[np.abs(rolls) > 2 * LEVEL], rolls[np.abs(rolls) > 2 * LEVEL], atol=1e-5)
    assert np.abs(asked - rolls).max() <= LEVEL + 1e-6
    assert np.abs(np.diff(asked)).max() < 2.01 * np.diff(rolls)[0]


def test_nothing_is_told_by_points_that_were_not_found() -> None:
    assert roll_of(np.full((2, 68, 2), np.nan, np.float32)).tolist() == [0, 0]
    assert roll_of(None, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("degrees", [0, 20, 45, 60, 90, 135, 180])
def test_the_box_around_a_turned_face_tells_how_large_it_is_upright(degrees: float) -> None:
    rolls = angles(degrees, -degrees)
    usual, wide = np.float32([[0, 0, 75, 100]] * 2), np.float32([[10, 0, 100, 100]] * 2)
    np.testing.assert_allclose(upright_boxes(around(usual, rolls), rolls), usual, atol=0.01)
    sides = (found := upright_boxes(around(wide, rolls), rolls))[:, 2:] - found[:, :2]
    np.testing.assert_allclose(sides[:, 1], 100, rtol=0.08)
    np.testing.assert_allclose((found[:, :2] + found[:, 2:]) / 2, (wide[:, :2] + wide[:, 2:]) / 2, atol=1e-3)


def test_an_upright_face_is_cut_as_if_nobody_had_asked_how_it_is_turned() -> None:
    picture, points = texture(), points_at(0.0)[None] + 0.37
    boxes = BOX + 0.41
    for spec in (
        expression_spec(crop=Crop(margin=0.1, shift_y=0.05)),
        expression_spec(crop=Crop(region="mouth_eyes"), width=64),
        expression_spec(crop=Crop(region="nose", mode="mask", margin=0.1)),
    ):
        seen = np.ones((1, 68), np.float32)
        told = crops(picture, boxes, spec, points, None, seen, np.zeros(1, np.float32))
        np.testing.assert_array_equal(told, crops(picture, boxes, spec, points, None, seen))
    boxes[0, 2] += 7
    np.testing.assert_array_equal(input_boxes(boxes, None, Crop()), face_square(boxes, 0, 0))


@pytest.mark.parametrize(("degrees", "quarters"), [(90, 1), (180, 2), (-90, 3)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [48, 96, 20])
def test_a_face_on_its_side_is_shown_pixel_by_pixel_as_an_upright_one(
    degrees: float, quarters: int, channels: int, side: int
) -> None:
    picture = texture()
    box = np.float32([160 - side / 2, 150 - side / 2, 160 + side / 2, 150 + side / 2])
    shown = crop(picture, box, 48, 48, channels, roll=float(np.radians(degrees)))
    upright = np.rot90(crop(picture, box, 48, 48, channels), quarters)
    edge = 2 if side < 48 else 0  # what is enlarged is smoothed, there with what lies beyond the edge
    inner = slice(edge, 48 - edge), slice(edge, 48 - edge)
    assert np.abs(shown[inner].astype(int) - upright[inner]).max() <= 1


@pytest.mark.parametrize("degrees", [20, -35, 45, 60, 130, 180])
@pytest.mark.parametrize(
    "recipe",
    [Crop(margin=0.15, shift_y=0.08), Crop(region="mouth"), Crop(region="eyes", mode="centre"),
     Crop(region="nose_mouth", mode="mask", margin=0.1)],
)  # fmt: skip
def test_a_turned_face_is_shown_as_the_same_face_upright(degrees: float, recipe: Crop) -> None:
    spec = expression_spec(crop=recipe, height=60, width=60 if recipe.mode == "mask" else 48)
    roll, picture = angles(degrees), texture()
    upright = crops(picture, BOX, spec, points_at(0.0)[None])[0].astype(int)
    boxes = around(np.float32([[122.5, 100, 197.5, 200]]), roll)  # of the usual shape, as long as BOX
    shown = crops(turn(picture, float(roll[0])), boxes, spec, points_at(float(roll[0]))[None], rolls=roll)[0]
    np.testing.assert_array_equal((shown == 0).mean() > 0.05, (upright == 0).mean() > 0.05)
    assert np.median(np.abs(shown - upright)) <= 6
    assert np.corrcoef(shown.ravel(), upright.ravel())[0, 1] > 0.95  # hidden parts end a pixel earlier or later


def test_what_lies_outside_a_turned_box_is_not_seen_but_for_the_pixel_at_its_edge() -> None:
    roll, box = float(np.radians(30)), np.float32([140, 120, 180, 180])
    picture, other = texture(), texture()[::-1].copy()
    x, y = np.meshgrid(np.arange(320) + 0.5 - 160, np.arange(300) + 0.5 - 150)
    across, down = np.cos(roll) * x + np.sin(roll) * y, np.cos(roll) * y - np.sin(roll) * x
    near = (np.abs(across) < 21) & (np.abs(down) < 31)
    other[near] = picture[near]
    for mode in ("pad", "centre"):
        one, two = (crop(image, box, 48, 48, 3, 77, mode, roll=roll) for image in (picture, other))
        np.testing.assert_array_equal(one, two)
    padded = crop(picture, box, 48, 48, 1, 77, roll=roll)[..., 0]
    assert (padded[:, :8] == 77).all()
    assert (padded[:, 8:40] != 77).mean() > 0.9
    assert (padded[:, 40:] == 77).all()


def test_what_lies_outside_the_picture_is_padding_and_a_box_far_away_is_nothing_else() -> None:
    bright = np.full((100, 100, 3), 200, np.uint8)
    shown = crop(bright, np.float32([-40, 20, 40, 100]), 40, 40, 1, 9, roll=0.5)[..., 0]
    assert set(np.unique(shown[:5, :5])) == {9}
    assert shown[20, 39] == 200
    for box in ((900, 900, 950, 950), (-90, -90, -50, -50), (5, 5, 5, 40), (np.nan, 0, 5, 5)):
        assert (crop(bright, np.float32(box), 20, 20, 3, 9, roll=0.5) == 9).all()


class EyesOnly:
    """Find the outer corners of the eyes, a bright and a dark dot, and note the eye lines that it saw."""

    SPEC = EngineSpec(
        name="eyes", task="landmarks", height=80, width=80, channels=1, crop=Crop(margin=0.15),
        outputs=("points", "visibility", "usable"),
    )  # fmt: skip

    def __init__(self, usable: float = 0.9) -> None:
        self.engine = FakeEngine(self.SPEC, self.answer)
        self.usable, self.lines = usable, list[float]()

    def answer(self, batch: NDArray[np.uint8]) -> Outputs:
        points = np.full((len(batch), 68, 2), 0.5, np.float32)
        for row, shown in enumerate(batch[..., 0].astype(float)):
            for number, level in ((36, 250), (45, 5)):
                y, x = np.nonzero(np.abs(shown - level) < 25)
                points[row, number] = ((x.mean() + 0.5) / 80, (y.mean() + 0.5) / 80) if len(x) else (0.5, 0.5)
        self.lines += np.degrees(eye_line(points)).round(1).tolist()
        ones = np.ones((len(batch), 68), np.float32)
        return {"points": points, "visibility": ones, "usable": np.full(len(batch), self.usable, np.float32)}


def eyes_at(roll: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a picture with two dots for the outer corners of the eyes, and where they are."""
    picture, points = np.full((300, 320, 3), 128, np.uint8), points_at(roll)
    for number, level in ((36, 250), (45, 5)):
        x, y = np.floor(points[number]).astype(int)
        cv2.circle(picture, (int(x), int(y)), 4, (level, level, level), -1)
    return picture, points[[36, 45]]


@pytest.mark.parametrize("degrees", [0, 6, 25, -50, 110, 180])
def test_a_network_is_shown_the_face_upright_and_its_points_come_back_to_the_picture(degrees: float) -> None:
    picture, eyes = eyes_at(float(np.radians(degrees)))
    network = EyesOnly()
    roll = angles(degrees)
    found = ZooLandmarker(network.engine).look([picture], [around(BOX, roll)], [roll])[0]
    assert np.abs(found.points[0, [36, 45]] - eyes).max() < 1.5
    assert [abs(line) < 7.5 for line in network.lines] == [True]


@pytest.mark.parametrize("degrees", [30, -60, 150])
def test_a_face_that_turns_out_to_be_turned_is_looked_at_again_and_only_that_one(degrees: float) -> None:
    (picture, eyes), (level, others) = eyes_at(float(np.radians(degrees))), eyes_at(0.1)
    network = EyesOnly()
    found = ZooLandmarker(network.engine).look([level, picture], [BOX, BOX])
    assert network.engine.batch_sizes == [2, 1]
    assert abs(network.lines[1] - degrees) < 5
    assert abs(network.lines[2]) < 5
    assert np.abs(found[1].points[0, [36, 45]] - eyes).max() < 1.5
    assert np.abs(found[0].points[0, [36, 45]] - others).max() < 1.5


def test_what_is_no_face_is_looked_at_once_and_a_spinning_answer_comes_to_an_end() -> None:
    picture, _ = eyes_at(1.0)
    thing = EyesOnly(usable=0.01)
    ZooLandmarker(thing.engine).look([picture], [BOX])
    assert thing.engine.batch_sizes == [1]

    def spin(batch: NDArray[np.uint8]) -> Outputs:
        points = np.full((len(batch), 68, 2), 0.5, np.float32)
        points[:, 45] += np.float32([0, 0.2])  # a quarter turn, whatever is shown
        ones = np.ones((len(batch), 68), np.float32)
        return {"points": points, "visibility": ones, "usable": ones[:, 0]}

    dizzy = FakeEngine(EyesOnly.SPEC, spin)
    ZooLandmarker(dizzy).look([picture], [BOX])
    assert dizzy.batch_sizes == [1] * LOOKS


class Records:
    """Answer a face that is turned by `roll`, and note the rolls that were told."""

    def __init__(self, roll: float = 0.0, usable: float = 0.999) -> None:
        self.roll, self.usable, self.told = roll, usable, list[list[float]]()

    def look(
        self,
        images: Sequence[NDArray[np.uint8]],
        boxes: Sequence[NDArray[np.float32]],
        rolls: Sequence[NDArray[np.float32]] | None = None,
    ) -> list[Landmarks]:
        assert rolls is not None
        self.told += [np.degrees(own).round().tolist() for own in rolls]
        return [
            Landmarks(
                np.tile(points_at(self.roll), (len(own), 1, 1)),
                np.ones((len(own), 68), np.float32),
                np.full(len(own), self.usable, np.float32),
            )
            for own in boxes
        ]

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.look([image], [boxes])[0].points

    def close(self) -> None:
        pass


def detection(roll: float, score: float = 0.9) -> Detections:
    points = np.float32([[[-20, 0], [20, 0], [0, 20], [-15, 40], [15, 40]]]) + MIDDLE
    return Detections(
        around(BOX, np.float32([roll])), np.float32([score]), turned(points, MIDDLE[None], angles(np.degrees(roll)))
    )


def test_the_first_look_is_turned_as_the_detector_says_and_those_that_follow_as_the_landmarks_do() -> None:
    landmarker = Records(roll=float(np.radians(50)))
    judge(landmarker, [texture()], [detection(float(np.radians(40)))])
    assert landmarker.told == [[40], [50] * len(SHIFTS)]


class Finds:
    """Find a face that is turned, as the detector says."""

    def __init__(self, roll: float, score: float = 0.9) -> None:
        self.found = detection(roll, score)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        return [self.found] * len(images)

    def close(self) -> None:
        pass


def play(landmarker: Records, detector: Finds, count: int = 4, **settings: float) -> list[Result]:
    perceive = Perceiver(
        detector, lambda: Tracker(TrackerSettings(**settings)), DetectionSettings(interval=0), landmarker
    )
    return [perceive([Frame(texture(), "a", index, index / 25, 0.0)])[0] for index in range(count)]


def test_a_followed_face_is_turned_as_its_last_landmarks_say() -> None:
    landmarker = Records(roll=float(np.radians(50)))
    results = play(landmarker, Finds(float(np.radians(40))))
    assert landmarker.told[2:] == [[50]] * 3
    assert np.degrees([face.roll for result in results for face in result.faces]).round().tolist() == [50] * 4


def test_landmarks_of_a_hidden_face_tell_nothing_and_the_detector_is_asked() -> None:
    landmarker = Records(roll=float(np.radians(50)))
    perceive = Perceiver(Finds(float(np.radians(40))), Tracker, DetectionSettings(interval=0), landmarker)
    for index in range(60):
        landmarker.usable = 0.05 if index >= 30 else 0.999
        landmarker.roll = 2.0 if index >= 30 else landmarker.roll
        [result] = perceive([Frame(texture(), "a", index, index / 25, 0.0)])
    assert landmarker.told[-1] == [40]
    assert np.degrees(result.faces[0].roll).round() == 40


def test_a_face_that_is_shown_at_its_second_detection_is_turned_as_the_detector_says() -> None:
    landmarker = Records(roll=float(np.radians(50)))
    empty, found = Detections.empty(), detection(float(np.radians(40)), 0.6)
    detector = Finds(0.0)
    perceive = Perceiver(detector, Tracker, DetectionSettings(interval=0), landmarker)
    for index, detector.found in enumerate((empty, found, found)):
        [result] = perceive([Frame(texture(), "a", index, index / 25, 0.0)])
    assert len(result.faces) == 1
    assert landmarker.told == [[40], [50] * len(SHIFTS), [40]]


def test_without_landmarks_the_roll_is_the_detectors_and_without_points_nobody_tells() -> None:
    perceive = Perceiver(Finds(float(np.radians(40))), Tracker, DetectionSettings(interval=0))
    [result] = perceive([Frame(texture(), "a", 0, 0.0, 0.0)])
    assert result.faces[0].roll == pytest.approx(np.radians(40), abs=1e-5)
    detector = Finds(0.7)
    detector.found = Detections(detector.found.boxes, detector.found.scores)
    [result] = Perceiver(detector, Tracker, DetectionSettings())([Frame(texture(), "a", 0, 0.0, 0.0)])
    assert result.faces[0].roll == 0
