"""What engines alone say about one answer, and `streamer explain`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Outputs
from engines.fake import FakeEngine
from engines.spec import Condition, EngineSpec, Rule
from streamer.explain.face import explain_face
from streamer.explain.occlusion import grid_of
from streamer.photo.explain import to_markdown
from tests.conftest import LABELS, expression_spec

EXAMPLE = Path(__file__).parents[1] / "streamer" / "demo" / "examples" / "two.jpg"
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
    grid = grid_of(corner_engine(), bright_cell(), LABELS.index("happiness"))
    assert grid.shape == (4, 4, 6)
    assert np.allclose(grid[1, 1], [-0.8, -0.6, -0.4, -0.2, 0.0, 0.2], atol=1e-6)
    grid[1, 1] = 0
    assert not grid.any()


def test_an_explanation_holds_answer_next_map_and_the_rules_of_its_label() -> None:
    other = BRIGHT.model_copy(update={"label": "fear"})
    found = explain_face(corner_engine((BRIGHT, other)), bright_cell())
    assert (found.label, found.following) == ("happiness", "fear")
    assert found.maps["cam"].argmax() == 5
    assert [(rule.label, holds) for rule, holds in found.rules] == [("happiness", True)]
    panels = found.panels()
    assert list(panels) == ["face", "cam", "occlusion"]
    assert panels["occlusion"][84, 84, 2] > panels["occlusion"][200, 200, 2], "hot where hiding takes the answer away"
    text = to_markdown("a.jpg", [found])
    assert "`(feature 0 > 100.000 and feature 1 <= 50.000)`" in text
    assert "like the network on 97.0 % of faces" in text
    assert json.loads(json.dumps(found.to_json()))["rules"][0]["holds"] is True


def test_rules_travel_inside_the_spec() -> None:
    spec = corner_engine((BRIGHT,)).spec
    assert EngineSpec.parse(spec.model_dump_json(), "a.onnx").rules == (BRIGHT,)
    assert not BRIGHT.holds(np.array([90, 0], np.float32))
    assert not BRIGHT.holds(np.array([200, 60], np.float32))


def test_the_command_writes_pictures_json_and_words(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamer", "explain", str(EXAMPLE), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    values = json.loads((tmp_path / "out/explain.json").read_text())
    assert [face["label"] for face in values["faces"]] == ["happiness", "happiness"]
    assert np.array(values["faces"][0]["occlusion"]).shape == (4, 4, 6)
    assert cv2.imread(str(tmp_path / "out/face-2.png")).shape == (252, 3 * 224, 3)
    assert "next most likely" in (tmp_path / "out/explain.md").read_text()
    (tmp_path / "paper.jpg").write_bytes(b"%PDF")
    command[4] = str(tmp_path / "paper.jpg")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "found a PDF" in done.stderr
