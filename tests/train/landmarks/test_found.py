"""What a detector finds teaches what a face is: faces whose points nobody told, faces in masks, and things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.faces.roll import eye_line
from streamer.types import Detections
from tests.make import points_of_face
from train.detector.batches.pictures import Picture, save
from train.landmarks.batches.draw import draw, one_of
from train.landmarks.batches.faces import LARGEST, Faces, Kind
from train.landmarks.batches.found import found, read_found
from train.landmarks.config import LandmarksConfig, Source
from train.landmarks.losses import losses
from train.models.landmarks import Points

FACE = np.array([40, 40, 100, 120], np.float32)
SPEAKER, LAMP = np.array([44, 42, 102, 121], np.float32), np.array([150, 20, 180, 50], np.float32)


class Finds:
    """Find the same boxes in every picture, eyes level."""

    def __init__(self, *boxes: NDArray[np.float32]) -> None:
        self.boxes = np.array(boxes, np.float32).reshape(-1, 4)

    def detect(self, images: list[NDArray[np.uint8]]) -> list[Detections]:
        eyes = np.stack([self.boxes[:, :2], self.boxes[:, 2:] * (1, 0) + self.boxes[:, :2] * (0, 1)], axis=1)
        points = np.concatenate([eyes, eyes, eyes[:, :1]], axis=1).astype(np.float32)
        scores = np.linspace(0.9, 0.5, len(self.boxes)).astype(np.float32)
        return [Detections(self.boxes, scores, points) if len(self.boxes) else Detections.empty() for _ in images]

    def close(self) -> None:
        pass


def picture(source: str = "people", held: bool = False, sure: bool = True) -> Picture:
    image = np.random.default_rng(0).integers(0, 256, (200, 240), dtype=np.uint8)
    points = np.full((1, 5, 2), np.nan, np.float32)
    return Picture(image, FACE[None], points, np.array([sure]), source, held)


def config(**changes: object) -> LandmarksConfig:
    values = {"name": "toy", "task": "landmarks", "sources": [{"set": "ytf", "path": "x", "share": 1}]}
    return LandmarksConfig.model_validate(
        {**values, "phases": [{"epochs": 1, "size": 64}], "model": {"size": 64}} | changes
    )


def test_an_answer_on_a_marked_face_is_a_face_and_one_on_nothing_is_a_thing() -> None:
    face, thing = found([picture()], [Finds(SPEAKER, LAMP)])
    assert face.sure.all()
    assert not thing.sure.any()
    np.testing.assert_allclose(np.ptp(face.boxes[0].reshape(2, 2), axis=0), [58, 79])  # as the detector drew it
    assert np.isfinite(face.points).all()
    assert np.ptp(thing.boxes[0].reshape(2, 2), axis=0).max() == 30


def test_a_face_that_is_missed_is_kept_in_the_box_of_its_mark() -> None:
    [face] = found([picture()], [Finds()])
    np.testing.assert_allclose(np.ptp(face.boxes[0].reshape(2, 2), axis=0), [60, 80])
    assert np.isnan(face.points).all()
    assert max(np.ptp(face.boxes[0].reshape(2, 2), axis=0)) <= LARGEST


def test_what_lies_on_a_disputed_face_or_where_nobody_marked_teaches_nothing() -> None:
    assert not list(found([picture(sure=False)], [Finds(SPEAKER)]))
    assert [one.sure[0] for one in found([picture("street")], [Finds(SPEAKER, LAMP)])] == [True]


def test_a_source_without_a_folder_to_keep_it_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found: expected `cache`, a folder for what is found"):
        read_found(Source(set="found", path=tmp_path / "none.npz", share=1), "train")


def test_what_was_found_is_read_by_kind_and_split(tmp_path: Path) -> None:
    kept = [*found([picture()], [Finds(SPEAKER, LAMP)]), *found([picture(held=True)], [Finds(SPEAKER)])]
    save(tmp_path / "found.npz", kept)
    source = Source(set="found", path=tmp_path / "none.npz", share=1, cache=tmp_path)
    shown, held = (read_found(source, split) for split in ("train", "validation"))
    wanted = [sum(one.held for one in kept if one.sure[0] == face) for face in (True, False)]
    assert [(part.kind, len(part)) for part in held] == list(zip((Kind.UNTOLD, Kind.NOTHING), wanted, strict=True))
    assert sum(map(len, [*shown, *held])) == 3


def faces(kind: Kind, roll: float = 0.0) -> Faces:
    """Return a bright face with dark eyes, turned around its middle."""
    points, middle = points_of_face(60, 50, 50), np.float32(80)
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]], np.float32)
    points = np.asarray((points - middle) @ turn + middle, np.float32)
    image = np.full((160, 160), 60, np.uint8)
    for x, y in points[36:48].round().astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = 250
    known = points if kind <= Kind.COVERED else np.full_like(points, np.nan)
    return Faces([image], known[None], np.array([[45, 40, 115, 120]], np.float32), eye_line(points[None]), kind)


def test_each_kind_says_what_is_known_of_it() -> None:
    drawn = [(faces(kind), 0) for kind in Kind]
    batch = draw(drawn, config(changes={"negatives": 0, "occlude": 0}), np.random.default_rng(0))
    assert batch.located.tolist() == [True, True, False, False]
    assert batch.usable.tolist() == [1, 1, 1, 0]
    assert np.isfinite(batch.visibility).all(axis=1).tolist() == [True, False, False, True]
    assert batch.visibility[0].mean() > 0.9
    assert (batch.visibility[3] == 0).all()
    assert np.isfinite(batch.points).all()


def test_a_turned_head_is_shown_upright() -> None:
    still = config(changes={"degrees": 0, "negatives": 0, "shift": 0, "scale": 0, "occlude": 0, "noise": 0})
    batch = draw([(faces(Kind.CLEAR, roll), 0) for roll in (0.0, 0.8, -2.5)], still, np.random.default_rng(0))
    np.testing.assert_allclose(eye_line(batch.points), 0, atol=0.05)
    for image, points in zip(batch.images[..., 0], batch.points * 64, strict=True):
        x, y = points[36:48].mean(axis=0).round().astype(int)  # between eyes that are bright
        row = image[y - 3 : y + 4].max(axis=0)
        assert row.argmax() != x
        assert row.max() > 2 * np.median(image)


def test_small_kinds_are_drawn_more_often_than_their_share() -> None:
    one, hundred = faces(Kind.NOTHING), faces(Kind.UNTOLD)
    points, boxes, rolls = (np.repeat(part, 100, 0) for part in (hundred.points, hundred.boxes, hundred.rolls))
    hundred = Faces(hundred.pictures * 100, points, boxes, rolls, Kind.UNTOLD)
    random = np.random.default_rng(0)
    often = np.mean([one_of([one, hundred], random)[0].kind == Kind.NOTHING for _ in range(2000)])
    assert 0.07 < often < 0.11  # 1 to 10


def test_what_nobody_told_costs_nothing() -> None:
    answers = Points(torch.rand(2, 68, 2), torch.randn(2, 68), torch.randn(2))
    wanted = [torch.rand(2, 68, 2), torch.tensor([True, False]), torch.full((2, 68), 0.5), torch.tensor([1.0, 0.0])]
    told = losses(answers, config(), *wanted)
    wanted[0][1], wanted[2][1] = torch.rand(68, 2), torch.nan
    found = losses(answers, config(), *wanted)
    assert found["points"] == told["points"]
    assert found["total"].isfinite()
    alone = losses(Points(*(part[:1] for part in answers)), config(), *(part[:1] for part in wanted))
    assert torch.isclose(found["visibility"], alone["visibility"])
