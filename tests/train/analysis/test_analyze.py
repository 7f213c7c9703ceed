"""Analyses over regions and hidden cells, and explanations, on toy faces whose answer lies in a known place."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from typer.testing import CliRunner

from engines import Outputs
from engines.fake import FakeEngine
from streamer.config import load_config
from streamer.drawing.heat import heated
from streamer.explain.hidden_cells import hidden, kept
from tests.conftest import expression_spec
from tests.make import points_of_face
from tests.train.conftest import CLASSES, write_toy_set
from train.__main__ import app
from train.analysis import faithful, prototypes, rules, transfer, units
from train.analysis import hidden_cells as grid
from train.analysis import regions as analyze
from train.analysis.maps import maps_of, saliency, surest
from train.analysis.saliency import Source, compare, of_the_same_faces
from train.data import EMOTIONS, labelled
from train.expression.batches.cutting import whole
from train.expression.classifier import Classifier
from train.expression.config import Data, Input, TrainConfig
from train.expression.fit import fit
from train.models import Output

WriteConfig = Callable[..., Path]


def bars(images: NDArray[np.uint8]) -> Outputs:
    """Answer by the row of the brightest bar; the map of every class is bright in its own row."""
    rows = images[..., 0].astype(np.float32).mean(axis=2).reshape(len(images), CLASSES, -1).mean(axis=2)
    powers = np.exp((rows - rows.max(axis=1, keepdims=True)) / 10)
    cam = np.tile(np.eye(CLASSES, dtype=np.float32)[None, :, :, None], (len(images), 1, 1, CLASSES))
    return {"probabilities": powers / powers.sum(axis=1, keepdims=True), "features": rows, "cam": cam}


DATA = (Data(path=Path()), Input(size=48))


def bar_classifier(path: Path, region: str = "face") -> Classifier:
    return Classifier(f"bars-{region}", EMOTIONS, bars, Data(path=path), Input(size=48, region=region))


def test_hidden_cells_are_those_of_the_paper() -> None:
    images = np.full((1, 48, 48, 1), 100, np.uint8)
    changed = hidden(images, [10, 11], 1.0)[0, :, :, 0]
    assert (changed[24:36, 12:36] == 255).all()
    assert (changed == 255).sum() == 12 * 24
    left = kept(images, [6], 0.0)[0, :, :, 0]
    assert (left[12:24, 12:24] == 100).all()
    assert (left == 100).sum() == 12 * 12


def test_hiding_the_place_of_the_answer_changes_it_and_hiding_another_does_not(tmp_path: Path) -> None:
    images = np.full((2, 48, 48, 1), 60, np.uint8)
    images[:, 12:18] = 80  # class 2, in the cells 5 to 8
    rows = labelled(EMOTIONS, ["a", "b"], images, [2, 5])  # the second is answered wrongly and does not count
    change = grid.changes(bar_classifier(tmp_path), rows)
    assert change[2, 4:8, 0].max() < -0.001  # cells 5 to 8, filled with black
    assert change[2, 12:, 0].min() >= 0  # the last row of cells
    assert np.isnan(change[5]).all()


def test_the_grid_report_tells_what_is_left_of_each_emotion(toy_set: Path, tmp_path: Path) -> None:
    values = grid.write(bar_classifier(toy_set), None, tmp_path, per_class=2)
    assert values["recall"]["everything"] == dict.fromkeys(EMOTIONS, 1.0)
    assert values["recall"]["mouth"]["neutral"] == 0.0  # its bar lies in the first row, which is hidden
    assert values["recall"]["mouth"]["anger"] == 1.0  # its bar lies in the third
    assert "| neutral | 100.00 | 0.00 |" in (tmp_path / "grid.md").read_text()
    assert json.loads((tmp_path / "grid.json").read_text())["changes"].keys() == set(EMOTIONS)
    assert (tmp_path / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_the_region_report_holds_tables_reliability_and_pictures(tmp_path: Path) -> None:
    folder = write_toy_set(tmp_path / "set", {"train": 1, "public": 4})
    values = analyze.regions([bar_classifier(folder)], None, tmp_path / "out")
    assert values["accuracy"]["fer face pad"]["scores"]["ferplus_seed, all rows"]["accuracy"] == 1.0
    assert values["reliability"]["fer face pad"]["fear"]["precision"] == 1.0
    text = (tmp_path / "out/regions.md").read_text()
    assert "| face | 100.00 (81.93) |  |  |" in text
    assert "| fear | 1.000 (0.510-1.000, 4) |" in text
    for name in ("confusion", "tsne", "cam"):
        assert (tmp_path / f"out/{name}-fer-face-pad.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="another network for fer face pad was given before"):
        analyze.regions([bar_classifier(folder), bar_classifier(folder)], None, tmp_path / "out")


def test_heat_is_laid_over_the_picture_as_in_the_paper() -> None:
    picture = np.full((8, 8, 1), 100, np.uint8)
    heat = np.zeros((8, 8), np.float32)
    heat[:, 4:] = 1.0
    found = heated(picture, heat)
    jet = cv2.applyColorMap(np.array([[0, 255]], np.uint8), cv2.COLORMAP_JET)[0]
    assert np.allclose(found[0, 0], 0.4 * jet[0] + 50, atol=1)
    assert np.allclose(found[0, 7], 0.4 * jet[1] + 50, atol=1)
    assert np.allclose(heated(picture, np.ones((2, 2), np.float32)), 0.4 * jet[0] + 50, atol=1)


def test_the_surest_right_answers_come_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], np.float32)
    assert surest(probabilities, np.array([0, 0, 0, 1]), 0, 5).tolist() == [1, 0]


class LeftHalf(nn.Module):
    """Score class 1 by the left half of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> Output:
        left = self.gain * images[..., : images.shape[-1] // 2].mean(dim=(1, 2, 3))
        return Output(torch.stack([-left, left], dim=1), left[:, None])


class Spread(nn.Module):
    """Blur a picture along its rows."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images, (1, 5), 1, (0, 2)) ** 2


def test_saliency_lies_where_the_score_comes_from() -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 1), np.uint8)
    found = saliency(LeftHalf(), images, np.array([1, 0, 1]))
    assert found.shape == (3, 8, 8)
    assert np.allclose(found[:, :, :4], 1 / 32)
    assert (found[:, :, 4:] == 0).all()


def test_maps_are_those_of_each_faces_own_label() -> None:
    images = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 1), np.uint8)
    outputs = {"cam": np.arange(6, dtype=np.float32).reshape(3, 2, 1, 1), "attention": np.ones((3, 2, 2), np.float32)}
    found = maps_of(outputs, LeftHalf(), images, np.array([1, 0, 1]))
    assert list(found) == ["cam", "attention", "saliency"]
    assert found["cam"].ravel().tolist() == [1, 2, 5]
    assert list(maps_of({}, None, images, np.array([1, 0, 1]))) == []


def test_saliency_of_several_networks_is_compared(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 1), np.uint8)
    rows = labelled(("calm", "glad"), list("abcd"), images, [0, 1, 1, 1])
    early, late = Source("early", nn.Sequential(Spread(), LeftHalf()), rows), Source("late", LeftHalf(), rows)
    values = compare([early, late], tmp_path)
    assert values["late"]["half"] == pytest.approx(0.25, abs=0.02)  # half of the left half
    assert values["late"]["like_last"] == pytest.approx(1)
    assert values["late"]["accuracy"] == 0.75
    assert values["early"]["like_last"] < 0.9
    assert "| late | 75.0 | 2" in (tmp_path / "saliency.md").read_text()
    assert (tmp_path / "saliency.png").read_bytes().startswith(b"\x89PNG")


def test_networks_that_see_faces_differently_are_compared_on_the_faces_that_all_know() -> None:
    small, large = np.zeros((3, 8, 8, 1), np.uint8), np.zeros((3, 12, 12, 1), np.uint8)
    small[:, 0, 0, 0] = large[:, 0, 0, 0] = (1, 2, 3)
    first = Source("small", LeftHalf(), labelled(("calm", "glad"), list("abc"), small, [0, 1, 1]))
    second = Source("large", LeftHalf(), labelled(("calm", "glad"), list("bcx"), large, [1, 1, 0]))
    found = of_the_same_faces([first, second], 10)
    assert [one.rows.names.tolist() for one in found] == [["b", "c"], ["b", "c"]]
    assert [one.rows.images[:, 0, 0, 0].tolist() for one in found] == [[2, 3], [1, 2]]
    other = second._replace(rows=labelled(("calm", "glad"), ["y"], large[:1], [0]))
    with pytest.raises(ValueError, match="no face that all of them know"):
        of_the_same_faces([first, other], 10)


def test_typical_faces_are_means_of_many_and_never_of_few() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2, 3], [60, 60, 5, 60])
    features = np.eye(4, dtype=np.float32)[labels] + random.normal(0, 0.05, (185, 4)).astype(np.float32)
    outputs = {"features": features, "probabilities": np.eye(4, dtype=np.float32)[labels]}
    images = random.integers(40, 160, (185, 32, 32, 1), np.uint8)
    images[labels == 0, :16] += 60
    images[labels == 1, 16:] += 60
    images[labels == 3] = images[-1]
    images[:3] = images[0]
    rows = labelled(("calm", "glad", "rare", "repeated"), [str(i) for i in range(185)], images, labels)
    found = prototypes.typical(outputs, rows, rows.classes)
    assert list(found) == ["calm", "glad"], "five faces, or one photo sixty times, would show persons"
    assert found["calm"].picture[:16].mean() > found["calm"].picture[16:].mean() + 100
    assert (found["calm"].faces, found["calm"].labelled) == (58, 1.0)
    assert prototypes.agreement(found, outputs, rows.classes) == pytest.approx(120 / 185)


def test_answers_that_depend_on_the_place_do_not_stay_when_a_photo_is_not_aligned() -> None:
    spec = expression_spec()
    square = np.zeros((100, 100, 1), np.uint8)
    square[35:65, 35:65] = 200
    photos = labelled(EMOTIONS, ["a"], square[None], [-1])

    def corner(batch: NDArray[np.uint8]) -> Outputs:
        """Answer by where the top of what is bright lies."""
        tops = (batch[..., 0].max(axis=2) > 100).argmax(axis=1)
        return {"probabilities": np.eye(8, dtype=np.float32)[np.clip(tops // 3, 0, 7)]}

    def bright(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows, columns = np.nonzero(image[..., 0] > 100)
        return np.array([columns.min(), rows.min(), columns.max(), rows.max()], np.float32)

    def same(find: transfer.Find, picture: str) -> float:
        answers = transfer.judge(FakeEngine(spec, corner), photos, find)
        reference = transfer.judge(FakeEngine(spec, corner), photos, bright)["as it is"].probabilities.argmax(axis=1)
        return transfer.figures(answers[picture].probabilities, reference)["same"]

    assert [same(bright, picture) for picture in ("as it is", "shifted", "further away")] == [1, 1, 1]
    assert [same(whole, picture) for picture in ("shifted", "further away")] == [0, 0]
    nowhere = transfer.judge(FakeEngine(spec, corner), photos, lambda image: None)["shifted"]
    assert transfer.figures(nowhere.probabilities, np.zeros(1, np.int64))["found"] == 0


def test_the_transfer_report_tells_how_many_photos_are_answered_alike(tmp_path: Path) -> None:
    engine = FakeEngine(expression_spec(), lambda batch: {"probabilities": np.tile(np.eye(8)[1], (len(batch), 1))})
    photos = labelled(EMOTIONS, ["a", "b"], np.full((2, 90, 90, 1), 90, np.uint8), [-1, -1])
    values = transfer.write(engine, photos, tmp_path)
    assert values["ways"]["with detection"]["as it is"]["found"] == 0
    assert values["ways"]["without detection"]["further away"] == {"found": 1.0, "same": 1.0, "confidence": 1.0}
    assert "| without detection | shifted | 100.0 | 100.0 |" in (tmp_path / "transfer.md").read_text()


def test_rules_name_the_feature_that_decides_and_agree_with_the_network() -> None:
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (400, 6)).astype(np.float32)
    answers = ((features[:, 3] > 0.5) & (features[:, 1] <= 0)).astype(np.int64)
    fitted = np.random.default_rng(0).random(400) < 0.5
    calm, glad = rules.extract(features, answers, ("calm", "glad"), fitted)
    assert glad.rule.fidelity > 0.97
    assert glad.rule.balanced > 0.9
    assert glad.rule.baseline == pytest.approx(1 - answers.mean(), abs=0.05)
    assert glad.recall > 0.8
    assert glad.precision > 0.9
    assert "feature 3 > 0." in glad.rule.text()
    assert "feature 1 <= " in glad.rule.text()
    assert set(glad.important) >= {1, 3}
    assert 3 in glad.pattern
    assert calm.rule.fidelity == pytest.approx(glad.rule.fidelity, abs=0.02)
    assert all(glad.rule.holding(row) or not said for row, said in zip(features, answers, strict=True) if row[3] > 0.7)
    always = rules.extract(features, np.zeros(400, np.int64), ("calm", "glad"), fitted)[0].rule
    assert always.text() == "(always)"
    assert always.holding(features[0]) == ()


def test_rules_are_judged_on_rows_that_they_were_not_fitted_to() -> None:
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (300, 4)).astype(np.float32)
    answers = (features[:, 0] > 0).astype(np.int64)
    answers[200:] = 1 - answers[200:]  # the network changes its mind on the held-out rows
    fitted = np.arange(300) < 200
    assert rules.extract(features, answers, ("calm", "glad"), fitted)[1].rule.fidelity < 0.1


def test_a_map_that_marks_the_answer_is_faithful_and_one_that_does_not_is_not(tmp_path: Path) -> None:
    images = np.full((24, 48, 48, 1), 60, np.uint8)
    labels = np.arange(24) % 6 + 1
    for image, label in zip(images, labels, strict=True):
        image[6 * label : 6 * label + 6] = 120
    rows = labelled(EMOTIONS, [str(i) for i in range(24)], images, labels)
    values = faithful.write(bar_classifier(tmp_path), None, rows, tmp_path / "out")
    assert values["faces"] == 24
    for rival in ("random", "centre"):
        assert values["better"]["cam"][rival]["deletion"]["low"] > 0
    blind = Classifier("blind", EMOTIONS, lambda batch: bars(batch) | {"cam": bars(batch)["cam"][:, ::-1]}, *DATA)
    assert faithful.write(blind, None, rows, tmp_path / "out")["better"]["cam"]["random"]["deletion"]["low"] < 0
    assert "cam over centre" in (tmp_path / "out/faithful.md").read_text()
    assert (tmp_path / "out/faithful.png").read_bytes().startswith(b"\x89PNG")
    mapless = Classifier("mapless", EMOTIONS, lambda batch: {"probabilities": bars(batch)["probabilities"]}, *DATA)
    with pytest.raises(ValueError, match="expected a network with maps"):
        faithful.write(mapless, None, rows, tmp_path / "out")


def test_a_mean_map_is_shared_out_over_the_regions_of_the_face(tmp_path: Path) -> None:
    points = np.stack(np.meshgrid(np.linspace(0.1, 0.9, 17), [0.2, 0.4, 0.6, 0.8]), axis=-1).reshape(68, 2)
    masks = units.region_masks(points.astype(np.float32))
    assert all(not (masks["cheek"] & masks[name]).any() for name in masks if name != "cheek")
    maps = np.zeros((2, 8, 8), np.float32)
    maps[0, 6] = 1
    rows = labelled(EMOTIONS, ["a", "b"], np.zeros((2, 48, 48, 1), np.uint8), [1, 3])
    found = units.shares(maps, rows, masks)
    assert set(found) == {"happiness", "sadness"}
    assert found["happiness"]["lip"] > found["happiness"]["brow"]
    text = units.to_markdown({"area": dict.fromkeys(masks, 0.1), "maps": {"cam": found}})
    assert "6 + 12" in text
    assert f"**{100 * found['happiness']['lip']:.1f}" in text
    assert units.outlined(rows.images[0], masks).std() > 0


def test_brows_have_a_region_of_their_own_that_a_coarse_map_reaches() -> None:
    masks = units.region_masks(points_of_face(1.0))
    assert masks["brow"][round(0.2 * 96), round(0.25 * 96)]
    assert not masks["brow"][round(0.32 * 96) :].any()
    maps = np.zeros((1, 6, 6), np.float32)
    maps[0, 1] = 1  # the row of cells in which the brows lie
    rows = labelled(EMOTIONS, ["a"], np.zeros((1, 48, 48, 1), np.uint8), [1])
    area = {name: mask.mean() for name, mask in masks.items()}
    found = units.shares(maps, rows, masks)["happiness"]
    assert found["brow"] / area["brow"] > 2
    assert found["lip"] / area["lip"] < 0.2


def test_explain_writes_maps_rules_and_features_of_a_trained_network(
    write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("train.analysis.explain.LEAST", 3)  # of the few pictures that there are
    path = write_config(optimizer={"rate": 0.1, "batch": 8, "average": 0.9}, phases=[{"epochs": 6, "size": 24}])
    fit(load_config(TrainConfig, path))
    result = CliRunner().invoke(app, ["explain", str(path), "--out", str(tmp_path / "out"), "--split", "train"])
    assert result.exit_code == 0, result.output
    assert list((tmp_path / "out").glob("examples-*.png"))
    assert (tmp_path / "out/mean-cam.png").exists()
    assert "Mean fidelity to the network" in (tmp_path / "out/rules.md").read_text()
    assert "## saliency" in (tmp_path / "out/units.md").read_text()
    assert (tmp_path / "out/units.png").exists()
    with (tmp_path / "out/features.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert 8 * CLASSES < len(lines) < 16 * CLASSES, "the half that rules are judged on"
    assert lines[0]["answer"] != lines[0]["next"]
    assert "feature 15" in lines[0]
