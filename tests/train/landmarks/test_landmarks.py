"""From frames with points to a landmark artefact: loading, batches, a short training run, export, judging."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from engines import load_engine
from streamer.config import load_config
from streamer.faces.landmarks import ZooLandmarker
from streamer.faces.roll import eye_line
from tests.make import points_of_face
from tests.train.elsewhere import Elsewhere
from train import checkpoint
from train.data import load
from train.landmarks.batches.draw import MIRRORED, draw
from train.landmarks.batches.faces import Faces, face_boxes
from train.landmarks.batches.read import read
from train.landmarks.config import LandmarksConfig
from train.landmarks.evaluate import evaluate, examples
from train.landmarks.fit import fit
from train.landmarks.predict import predict
from train.landmarks.scores import normalised_error
from train.models.landmarks import Points
from train.occluders import NONE
from train.tasks import TASKS, Asked, task_of

CONFIG = Path("configs/train/landmarks.yaml")
PEOPLE = 40


def drawn_face(random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a bright oval with dark eyes and mouth on a dark ground, and its points."""
    side, left, top = random.uniform(45, 60), random.uniform(25, 40), random.uniform(30, 40)
    points = points_of_face(float(side), float(left), float(top))
    picture = random.integers(20, 60, (128, 128), dtype=np.uint8)
    cv2.fillPoly(picture, [np.concatenate([points[:17], points[26:16:-1]]).astype(np.int32)], (170,))
    for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
        cv2.fillPoly(picture, [points[part].astype(np.int32)], (40,))
    cv2.polylines(picture, [points[27:31].astype(np.int32)], False, (110,), 2)
    return picture, points


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    random, rows = np.random.default_rng(0), {"name": [], "jpg": [], "points": []}  # type: ignore[var-annotated]
    for number in range(3 * PEOPLE):
        picture, points = drawn_face(random)
        rows["name"].append(f"Person_{number % PEOPLE}_{number}.jpg")
        rows["jpg"].append(cv2.imencode(".jpg", picture)[1].tobytes())
        rows["points"].append(points.ravel().tolist())
    path = tmp_path_factory.mktemp("frames") / "points.parquet"
    parquet.write_table(pa.table(rows), path)
    return path


def config_of(frames: Path, folder: Path, **changes: Any) -> LandmarksConfig:
    values: dict[str, Any] = {
        "name": "toy",
        "task": "landmarks",
        "steps": 25,
        "precision": "f32",
        "sources": [{"set": "ytf", "path": str(frames), "share": 1.0}],
        "model": {"size": 32, "widths": [8, 12, 16, 24], "blocks": [1, 1, 1], "squeeze": 8},
        "phases": [{"epochs": 2, "size": 32}],
        "optimizer": {"rule": "adam", "rate": 0.005, "batch": 16, "average": 0.9},
        "runs": str(folder / "runs"),
    }
    return LandmarksConfig.model_validate(values | changes)


def test_frames_are_split_by_person_and_bring_their_points(frames: Path) -> None:
    parts = [load("ytf", frames, split, "none") for split in ("train", "validation", "test")]
    people = [set(part.subjects) for part in parts if part.subjects is not None]
    assert sum(map(len, parts)) == 3 * PEOPLE
    assert len(set.union(*people)) == sum(map(len, people))
    assert parts[0].landmarks is not None
    assert parts[0].landmarks.shape[1:] == (68, 2)
    assert (parts[0].labels == -1).all()


def test_frames_without_points_are_named(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    parquet.write_table(pa.table({"name": ["a_1.jpg"], "jpg": [b""]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="missing column points"):
        load("ytf", tmp_path, "all", "none")
    with pytest.raises(FileNotFoundError, match="expected a parquet file of frames with landmarks"):
        load("ytf", tmp_path / "none.parquet", "all", "none")


def test_the_shipped_configuration_names_held_out_occluders() -> None:
    config = load_config(LandmarksConfig, CONFIG)
    assert {"hand", "hair", "textured_mask"} <= set(config.changes.held_out)
    assert not set(config.changes.families) & set(config.changes.held_out)
    assert task_of(CONFIG) == TASKS["landmarks"]


def test_training_on_a_held_out_occluder_is_refused(frames: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="occluders \\['hand'\\] are held out for reports"):
        config_of(frames, tmp_path, changes={"families": ["bar", "hand"]})
    with pytest.raises(ValueError, match="unknown occluders \\['veil'\\]"):
        config_of(frames, tmp_path, changes={"families": ["veil"]})


def test_mirrored_points_keep_their_names() -> None:
    points = points_of_face(100)
    mirrored = (points * (-1, 1) + (100, 0))[MIRRORED]
    np.testing.assert_allclose(mirrored[:27], points[:27], atol=1e-3)  # the drawn face is symmetric
    assert (mirrored[36:42].mean(axis=0) < mirrored[42:48].mean(axis=0))[0]
    assert sorted(MIRRORED) == list(range(68))
    assert (MIRRORED[MIRRORED] == np.arange(68)).all()


def test_batches_show_faces_where_their_points_are_said_to_be(frames: Path, tmp_path: Path) -> None:
    config = config_of(frames, tmp_path, model={"size": 64}, changes={"noise": 0, "small": 0, "blur": 0, "dark": 0})
    [faces] = read(config.sources[0], "train")
    random = np.random.default_rng(0)
    batch = draw([(faces, row) for row in range(60)], config, random, families=[NONE] * 60)
    darker = []
    for image, points in zip(batch.images[..., 0], batch.points * 64, strict=True):
        x, y = points[48:60].mean(axis=0).round().astype(int)
        cheek_x, cheek_y = ((points[2] + points[31]) / 2).round().astype(int)
        if min(x, y, cheek_x, cheek_y) >= 0 and max(x, y, cheek_x, cheek_y) < 64:
            darker.append(int(image[y, x]) < int(image[cheek_y, cheek_x]))
    assert len(darker) > 40
    assert np.mean(darker) > 0.95
    assert batch.located.all()
    assert (batch.visibility[(batch.points < 0).any(axis=2) | (batch.points > 1).any(axis=2)] == 0).all()


def test_unusable_faces_have_nothing_to_see_and_their_points_do_not_count(frames: Path, tmp_path: Path) -> None:
    config = config_of(frames, tmp_path, changes={"negatives": 0.5})
    [faces] = read(config.sources[0], "train")
    batch = draw([(faces, row % len(faces)) for row in range(80)], config, np.random.default_rng(0), faces.pictures[:2])
    assert 0.3 < (~batch.located).mean() < 0.7
    assert (batch.usable[~batch.located] == 0).all()
    assert (batch.visibility[~batch.located] == 0).all()
    assert np.nanmax(batch.usable[batch.located]) == 1


@pytest.fixture(scope="module")
def trained(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> LandmarksConfig:
    config = config_of(frames, tmp_path_factory.mktemp("run"))
    fit(config, until=1)
    fit(config)
    return config


def test_training_goes_on_where_it_stopped_and_learns(trained: LandmarksConfig) -> None:
    lines = [yaml.safe_load(line) for line in (trained.runs / "toy" / "epochs.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[1]["total"] < lines[0]["total"]
    assert lines[1]["validation_error"] < 0.3


def test_landmarks_are_found_wherever_the_network_lies(frames: Path, tmp_path: Path) -> None:
    config = config_of(frames, tmp_path)
    [faces] = read(config.sources[0], "validation")
    middle = Elsewhere(lambda n: Points(torch.full((n, 68, 2), 0.5), torch.zeros(n, 68), torch.zeros(n)))
    centres = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    np.testing.assert_allclose(predict(middle, faces, config)[:, 0], centres, atol=1)


def test_a_run_in_two_parts_equals_one_in_one_part_bit_for_bit(frames: Path, tmp_path: Path) -> None:
    found = []
    for name, stops in (("whole", [None]), ("parts", [1, None])):
        for until in stops:
            path = fit(config_of(frames, tmp_path, name=name, steps=3), until)
        found.append(checkpoint.load(path))
    for kind in ("model", "average"):
        assert all(torch.equal(value, found[1][kind][name]) for name, value in found[0][kind].items())


def test_the_artefact_serves_says_its_terms_and_is_judged(trained: LandmarksConfig, tmp_path: Path) -> None:
    path = tmp_path / "zoo" / "toy.onnx"
    source = tmp_path / "toy.yaml"
    source.write_text(yaml.safe_dump(trained.model_dump(mode="json")), encoding="utf-8")
    assert TASKS["landmarks"].export([source], Asked(out=path)) == path
    with pytest.raises(ValueError, match="the run was begun with points=12.0, the configuration says points=9.0"):
        TASKS["landmarks"].export([source], Asked(["points=9"], path))
    engine = load_engine(path, "landmarks")
    try:
        [faces] = read(trained.sources[0], "test")
        found = ZooLandmarker(engine).look(faces.pictures, [box[None] for box in faces.boxes])
    finally:
        engine.close()
    points = np.concatenate([one.points for one in found])
    assert normalised_error(points, faces.points).mean() < 0.3
    assert all(one.visibility is not None and ((one.visibility >= 0) & (one.visibility <= 1)).all() for one in found)
    told = path.with_suffix(".md").read_text(encoding="utf-8")
    assert "collected for research" in told
    assert "300-W" not in told  # dlib's predictor taught nothing here
    text = evaluate(path, trained, tmp_path / "report")
    assert "| of the points | ours |" in text
    assert "| turned by 45° | ours |" in text
    assert "| hair | True |" in text
    assert (tmp_path / "report" / "landmarks.json").is_file()


def test_boxes_of_points_hold_the_face_and_reach_over_the_brows() -> None:
    points = np.stack([points_of_face(100, 50, 80)])
    box = face_boxes(points)[0]
    assert box[1] < points[0, :, 1].min()
    assert abs(box[0] - points[0, :, 0].min()) < 5
    assert Faces([], points, box[None], eye_line(points)).boxes.shape == (1, 4)


def test_a_folder_without_example_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected dlib's example photos .*; is media right\?"):
        examples(tmp_path)


def test_colour_pictures_are_read_as_grey_of_all_channels(frames: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = load("ytf", frames, "validation", "none")
    green = np.empty(len(rows), object)
    for number, picture in enumerate(rows.images):
        green[number] = np.concatenate([picture * 0, picture, picture * 0], axis=2)  # green alone, in BGR
    source = config_of(frames, frames.parent).sources[0]
    grey = read(source, "validation")[0].pictures[0]
    monkeypatch.setattr("train.landmarks.batches.read.load", lambda *given: replace(rows, images=green))
    found = read(source, "validation")[0].pictures[0]
    np.testing.assert_allclose(found, grey * 0.587, atol=2)
