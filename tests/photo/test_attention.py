"""The attention view of a whole group photo: at which size it is shown, and what soft boxes leave of it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines import Outputs
from engines.fake import FakeEngine
from streamer.photo.attention import attend, check_attention, fitting_size, soft_boxes
from tests.conftest import LABELS, expression_spec
from tests.make import face, streamer

TWO = Path(__file__).parents[2] / "streamer" / "demo" / "examples" / "two.jpg"
SPEC = expression_spec(height=144, width=112, resizable=True, outputs=("probabilities", "attention"))


def bright_counts(batch: NDArray[np.uint8]) -> Outputs:
    """Weigh positions of 16 pixels by how bright they are."""
    count, height, width, _ = batch.shape
    cells = batch[:, : height // 16 * 16, : width // 16 * 16, 0].reshape(count, height // 16, 16, width // 16, 16)
    weights = cells.mean(axis=(2, 4)) + 1
    return {
        "probabilities": np.full((count, 8), 1 / 8, np.float32),
        "attention": (weights / weights.sum(axis=(1, 2), keepdims=True)).astype(np.float32),
    }


def test_a_photo_is_shown_so_that_its_faces_have_the_size_of_those_that_were_learned() -> None:
    photo = np.zeros((600, 900, 3), np.uint8)
    small, large = face((100, 100, 156, 156), expression=None), face((300, 100, 524, 324), expression=None)
    assert fitting_size(photo, [small], SPEC) == (1728, 1152)  # at 1.92: twice would be over two million pixels
    assert fitting_size(photo, [large], SPEC) == (448, 304)
    assert fitting_size(photo, [small, large, large], SPEC) == (448, 304)
    assert fitting_size(np.zeros((20, 4000, 3), np.uint8), [large], SPEC)[1] == 32
    assert all(side % 16 == 0 for side in fitting_size(photo, [small, large], SPEC))


def test_soft_boxes_are_whole_inside_and_fall_to_nothing_around() -> None:
    found = soft_boxes(np.array([[20, 30, 60, 70], [150, 10, 170, 20]], np.float32), (100, 200))
    assert (found[30:70, 20:60] == 1).all()
    assert (found[10:20, 150:170] == 1).all()
    falling = found[50, 60:80]
    assert (np.diff(falling) <= 0).all()
    assert 0.4 < found[50, 60 + 7] < 0.6  # half of the way of 0.35 sides
    assert falling[-1] == 0
    assert (found[:, 80:140] == 0).all()


def test_what_is_marked_away_from_faces_is_suppressed() -> None:
    photo = np.zeros((320, 480, 3), np.uint8)
    photo[96:208, 64:176] = 120  # a face
    photo[:, 400:] = 255  # a bright wall
    engine = FakeEngine(SPEC, bright_counts)
    seen = attend(engine, photo, [face((64, 96, 176, 208), expression=None)])
    assert engine.batch_sizes == [1]
    assert seen.everywhere.shape == (4 * 20, 4 * 30)
    assert seen.everywhere.mean() == pytest.approx(1, abs=0.02)
    assert seen.everywhere.argmax() % 120 > 100, "the wall is hottest"
    row, column = np.unravel_index(seen.on_faces.argmax(), seen.on_faces.shape)
    assert 24 <= row < 52
    assert 16 <= column < 44
    assert (seen.on_faces[:, 100:] == 0).all()
    assert 0 < seen.area < seen.share < 0.5


def test_a_network_for_one_size_or_without_attention_is_refused() -> None:
    check_attention(SPEC)
    with pytest.raises(ValueError, match="for pictures of one size: expected attention, for any size"):
        check_attention(SPEC.model_copy(update={"resizable": False}))
    with pytest.raises(ValueError, match="gives probabilities for pictures of any size"):
        check_attention(SPEC.model_copy(update={"outputs": ("probabilities",)}))


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an attention network that has learned nothing."""
    torch = pytest.importorskip("torch", reason="needs the extra train")
    from train.expression.served import Served, graph_of
    from train.models import build

    torch.manual_seed(0)
    outputs = ("probabilities", "features", "cam", "attention")
    spec = SPEC.model_copy(update={"outputs": outputs})
    served = Served([build("attention", len(LABELS), 1, {})])
    path = tmp_path_factory.mktemp("zoo") / "attention.onnx"
    graph_of(served, spec, np.zeros((2, 144, 112, 1), np.uint8), ".onnx")(spec, path)
    return path


def test_the_command_shows_the_attention_over_a_photo_when_asked(network: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "nobody.png"), np.full((80, 120, 3), 90, np.uint8))
    asked = ("--attention", "--set", f"attention.model={network}")
    done = streamer("photo", TWO, tmp_path / "nobody.png", "--out", tmp_path / "out", *asked)
    assert done.returncode == 0, done.stderr
    two, nobody = json.loads((tmp_path / "out/photos.json").read_text())["photos"]
    assert 0 < two["attention"]["area"] < 1
    assert 0 < two["attention"]["on_faces"] < 1
    assert nobody["attention"] is None
    shapes = {cv2.imread(str(path)).shape for path in (tmp_path / "out").glob("two*.png")}
    assert shapes == {cv2.imread(str(TWO)).shape}
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == [
        "nobody.png",
        "two.attention.png",
        "two.everywhere.png",
        "two.png",
    ]
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4
    assert "attention everywhere" in page


def test_a_network_that_cannot_see_whole_photos_is_one_line(tmp_path: Path) -> None:
    done = streamer("photo", TWO, "--out", tmp_path, "--attention", "--set", "attention.model=zoo/face.onnx")
    assert done.returncode == 2
    assert "attention.model: 'face" in done.stderr
    assert len(done.stderr.splitlines()) == 1
