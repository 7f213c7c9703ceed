"""What engines alone say about one answer, and `streamer explain`."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import Crop, Outputs, View
from engines.fake import FakeEngine
from engines.spec import Condition, EngineSpec, Rule
from streamer.commands.explain import Explained, explain_faces, run, to_markdown, words
from streamer.config import Config
from streamer.explain.face import explain_face
from streamer.explain.hidden_cells import grid_of
from streamer.faces.regions import region_box
from streamer.types import Expression, Face
from tests.conftest import LABELS, expression_spec
from tests.make import points_of_face

EXAMPLE = Path(__file__).parents[2] / "streamer" / "demo" / "examples" / "two.jpg"
BRIGHT = Rule(
    label="happiness",
    alternatives=((Condition(feature=0, above=True, threshold=100), Condition(feature=1, above=False, threshold=50)),),
    fidelity=0.97,
    baseline=0.7,
    balanced=0.9,
)


def corner_engine(rules: tuple[Rule, ...] = ()) -> FakeEngine:
    """Answer happiness by how bright cell 6 is, else fear; features are brightness of cells 6 and 16."""

    def answer(batch: NDArray[np.uint8]) -> Outputs:
        bright = batch[:, 12:24, 12:24, 0].mean(axis=(1, 2)) / 255
        dark = batch[:, 36:, 36:, 0].mean(axis=(1, 2))
        probabilities = np.zeros((len(batch), 8), np.float32)
        probabilities[:, 1], probabilities[:, 6] = bright, 1 - bright
        cam = np.zeros((len(batch), 8, 4, 4), np.float32)
        cam[:, 1, 1, 1] = 1
        return {"probabilities": probabilities, "cam": cam, "features": np.stack([255 * bright, dark], axis=1)}

    return FakeEngine(expression_spec(outputs=("probabilities", "features", "cam"), rules=rules), answer)


def bright_cell() -> NDArray[np.uint8]:
    picture = np.zeros((48, 48, 1), np.uint8)
    picture[12:24, 12:24] = 204  # cell 6, at 0.8
    return picture


def test_the_grid_finds_the_cell_that_the_answer_comes_from() -> None:
    engine = corner_engine()
    grid = grid_of(lambda pictures: engine.infer(pictures)["probabilities"], bright_cell(), LABELS.index("happiness"))
    assert grid.shape == (4, 4, 6)
    assert np.allclose(grid[1, 1], [-0.8, -0.6, -0.4, -0.2, 0.0, 0.2], atol=1e-6)
    grid[1, 1] = 0
    assert not grid.any()


def test_a_typical_face_is_shown_where_the_artefact_holds_one() -> None:
    engine = corner_engine()
    data = cv2.imencode(".png", np.full((48, 48, 1), 77, np.uint8))[1].tobytes()
    engine.spec = engine.spec.model_copy(update={"prototypes": {"happiness": base64.b64encode(data).decode()}})
    image = np.full((200, 300, 3), 180, np.uint8)
    found = explain_face(engine, image, judged_by("face"))
    panels = found.panels()
    assert list(panels)[-1] == "typical"
    assert (panels["typical"] == 77).all()
    assert "no single person" in to_markdown(
        "a.jpg", Explained([explain_face(engine, image, judged_by("face"))], []), ["a.png"]
    )


def judged_by(region: str, label: str = "happiness") -> Face:
    """Return a face of 48 pixels at 100, 60, with landmarks."""
    expression = Expression(label, 0.8, {}, region, None, True, 0.0)
    box = np.array([100, 60, 148, 108], np.float32)
    return Face(1, box, 0.9, 0.0, points_of_face(48, 100, 60), expression=expression)


def test_an_explanation_holds_answer_next_map_and_the_rules_of_its_label() -> None:
    other = BRIGHT.model_copy(update={"label": "fear"})
    image = np.zeros((200, 300, 3), np.uint8)
    image[60:108, 100:148] = bright_cell()
    found = explain_face(corner_engine((BRIGHT, other)), image, judged_by("face"))
    assert (found.label, found.following, found.region) == ("happiness", "fear", "face")
    assert found.maps["cam"].argmax() == 5
    assert found.rules == ((BRIGHT, BRIGHT.alternatives[0]),)
    panels = found.panels()
    assert list(panels) == ["face", "seen", "cam", "occlusion"]
    assert panels["occlusion"][95, 95, 2] > panels["occlusion"][190, 190, 2], "hot where hiding takes the answer away"
    text = to_markdown("a.jpg", Explained([found], ["A note."]), ["face-1.png"])
    assert "it holds here: `feature 0 > 100.000 and feature 1 <= 50.000`" in text
    assert "like the network on 97.0 % of faces" in text
    assert "![face 1](face-1.png)" in text
    assert "A note." in text
    assert json.loads(json.dumps(found.to_json()))["rules"][0]["holds"] is True


def test_a_part_of_a_face_is_explained_where_it_lies_and_as_sure_as_it_was_answered() -> None:
    engine = corner_engine()
    engine.spec = expression_spec(
        outputs=("probabilities", "features", "cam"),
        crop=Crop(margin=0.1),
        views={"mouth": View(temperature=2.0)},
    )
    image = np.full((200, 300, 3), 180, np.uint8)
    face = judged_by("mouth", "uncertain")
    found = explain_face(engine, image, face)
    assert face.landmarks is not None
    mouth = region_box(face.landmarks, "mouth")
    panel_of = 224 / (48 * 1.3)
    assert np.allclose(found.box[[0, 2]], (mouth[[0, 2]] - (100 - 0.15 * 48)) * panel_of, atol=0.1)
    assert found.box[3] - found.box[1] == pytest.approx(found.box[2] - found.box[0]), "padded to a square"
    assert np.allclose(found.part[[1, 3]], (mouth[[1, 3]] - (60 - 0.15 * 48)) * panel_of, atol=0.1)
    one = found.seen[12:24, 12:24].mean() / 255
    assert found.probabilities["happiness"] == pytest.approx(np.sqrt(one) / (np.sqrt(one) + np.sqrt(1 - one)), abs=0.01)
    heat = (found.panels()["cam"] != found.face // 2).any(axis=2)
    x1, y1, x2, y2 = np.rint(found.box).astype(int)
    assert heat[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].all()
    assert (found.panels()["cam"][: y1 - 2] == found.face[: y1 - 2]).all(), "nothing above the mouth"
    assert "uncertain**, most likely happiness, next most likely fear; judged by the mouth." in words(1, found)[0]


def test_each_face_is_explained_by_the_network_that_answered_and_hidden_ones_are_counted() -> None:
    faces = [judged_by("face"), judged_by("mouth"), judged_by("none", "uncertain")]
    judges = {"face": corner_engine(), "mouth": corner_engine()}
    judges["mouth"].spec = expression_spec(name="parts", outputs=("probabilities", "features", "cam"))
    express = SimpleNamespace(judges=judges)
    analyst: Any = SimpleNamespace(
        config=Config(),
        look_upright=lambda photo: (photo, SimpleNamespace(faces=faces)),
        stages=SimpleNamespace(express=express),
    )
    image = np.full((200, 300, 3), 180, np.uint8)
    found = explain_faces(analyst, image)
    assert [(one.network, one.region) for one in found.faces] == [("fake", "face"), ("parts", "mouth")]
    assert found.notes == ["Faces of which too little can be seen to judge them: 1."]
    assert explain_faces(analyst, image, most=1).notes[-1] == "These are the 1 largest of 2 faces."
    faces.clear()
    assert explain_faces(analyst, image).notes[0].startswith("No face was found.")


def test_rules_travel_inside_the_spec() -> None:
    spec = corner_engine((BRIGHT,)).spec
    assert EngineSpec.parse(spec.model_dump_json(), "a.onnx").rules == (BRIGHT,)
    assert BRIGHT.holding(np.array([90, 0], np.float32)) is None
    assert BRIGHT.holding(np.array([200, 60], np.float32)) is None
    assert BRIGHT.holding(np.array([200, 40], np.float32)) == BRIGHT.alternatives[0]


def test_the_command_writes_pictures_json_and_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamer", "explain", str(EXAMPLE), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "out/explain.json").read_text())
    assert [face["label"] for face in values["faces"]] == ["happiness", "happiness"]
    assert np.array(values["faces"][0]["occlusion"]).shape == (4, 4, 6)
    assert cv2.imread(str(tmp_path / "out/face-2.png")).shape == (252, 5 * 224, 3)
    assert "next most likely" in (tmp_path / "out/explain.md").read_text()
    (tmp_path / "paper.jpg").write_bytes(b"%PDF")
    command[4] = str(tmp_path / "paper.jpg")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "found a PDF" in done.stderr


def test_the_photo_is_not_replaced_by_the_picture_of_its_face(tmp_path: Path) -> None:
    photo = shutil.copy(EXAMPLE, tmp_path / "face-1.png")
    with pytest.raises(ValueError, match=r"face-1\.png: is a source too, and would be replaced"):
        run(Config(), photo, tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [EXAMPLE.read_bytes()]
