"""Export: what is written says what it is and answers as its source; what disagrees is not written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import train.expression.export as exports
from engines import ZOO, EngineSpec, load_engine
from engines.manifest import sha256_of, write_entry
from engines.spec import Condition, Rule
from streamer.config import load_config
from tests.train.conftest import write_toy_config
from train import models
from train.__main__ import app
from train.data import EMOTIONS, FaceSet
from train.export import write_onnx
from train.expression.batches.rows import judged_rows
from train.expression.config import Data, Input, TrainConfig
from train.expression.export import export, export_int8, store_explanation
from train.expression.fit import fit
from train.expression.open import open_classifier, open_network
from train.expression.served import Served, answer, in_fours
from train.models import Output

WriteConfig = Callable[..., Path]


def found_on_a_grid(rows: FaceSet, seen: Input, data: Data) -> FaceSet:
    index = np.arange(68)
    points = np.stack([6 + 4 * (index % 9), 6 + 5 * (index // 9)], axis=1).astype(np.float32)
    return replace(rows, landmarks=np.tile(points, (len(rows), 1, 1)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, toy_set: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    path = write_toy_config(folder, toy_set, input={"size": 24, "margin": 0.1, "shift_y": 0.05})
    fit(load_config(TrainConfig, path))
    return path


@pytest.fixture(scope="module")
def zoo(trained: Path) -> Path:
    """Return a folder with `toy.onnx`, reported on the test split, and `toy.pt2`."""
    folder = trained.parent / "zoo"
    result = CliRunner().invoke(app, ["export", str(trained), "--out", str(folder / "toy.onnx"), "--test"])
    assert result.exit_code == 0, result.output
    export([trained], folder / "toy.pt2")
    return folder


@pytest.fixture(scope="module", params=["mask", "pad"])
def of_all_regions(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, toy_set: Path) -> Path:
    """Return a network of several regions, exported."""
    folder = tmp_path_factory.mktemp("views")
    seen = {"region": "mouth_eyes", "regions": ["mouth", "nose_eyes", "mouth_eyes"], "size": 24, "mode": request.param}
    changes = {"input": seen, "phases": [{"epochs": 1, "size": 24}]}
    path = write_toy_config(folder, toy_set, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.expression.batches.rows.located", found_on_a_grid)
        fit(load_config(TrainConfig, path))
        return export([path], folder / "all.onnx", test=True)


def described(path: Path) -> EngineSpec:
    engine = load_engine(path, "expression")
    engine.close()
    return engine.spec


def test_a_network_of_all_regions_says_how_far_each_can_be_trusted(of_all_regions: Path) -> None:
    engine = load_engine(of_all_regions, "expression")
    spec = engine.spec
    engine.close()
    assert set(spec.views) == {"mouth", "nose_eyes", "mouth_eyes"}
    for region, view in spec.views.items():
        assert 0.05 <= view.temperature <= 20
        assert all(0 <= share <= 1 for share in view.reliability.values()), region
    assert {"public.accuracy", "public.mouth.accuracy", "private.nose_eyes.calibration_error"} <= set(spec.metrics)
    card = of_all_regions.with_suffix(".md").read_text(encoding="utf-8")
    assert "## Each region" in card
    assert "| mouth_eyes | private |" in card


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_the_artefact_answers_as_its_source(trained: Path, zoo: Path, suffix: str) -> None:
    engine = load_engine(zoo / f"toy.{suffix}", "expression", precision="f32")
    config, _, network = open_network(trained)
    images = judged_rows(config.data, config.input, "private").images
    with torch.inference_mode():
        expected = Served([network], engine.spec.temperature)(torch.from_numpy(images))
    found = engine.infer(images)
    engine.close()
    for name, value in zip(("probabilities", "features", "cam"), expected, strict=True):
        assert np.allclose(found[name], value.numpy(), atol=1e-3), name


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_the_artefact_says_what_it_is(zoo: Path, suffix: str) -> None:
    engine = load_engine(zoo / f"toy.{suffix}", "expression")
    spec = engine.spec
    engine.close()
    assert (spec.name, spec.labels, spec.outputs) == ("toy", EMOTIONS, ("probabilities", "features", "cam"))
    assert (spec.crop.region, spec.crop.margin, spec.crop.shift_y) == ("face", 0.1, 0.05)
    assert spec.training["rows"]["used"] == 192
    assert spec.training["data"]["labels"] == "ferplus_seed"
    assert set(spec.reliability) <= set(EMOTIONS)
    assert 0 < spec.metrics["public.accuracy"] <= 1
    assert ("private.accuracy" in spec.metrics) == (suffix == "onnx")  # it is looked at on request only
    manifest = json.loads((zoo / "manifest.json").read_text())
    assert manifest == {path.name: sha256_of(path) for path in (zoo / "toy.onnx", zoo / "toy.pt2")}


def test_no_path_of_this_machine_travels_in_the_artefact(zoo: Path) -> None:
    for path in (zoo / "toy.onnx", zoo / "toy.pt2"):
        written = path.read_bytes()
        assert str(zoo.parent).encode() not in written
        assert str(Path(__file__).parents[3]).encode() not in written


def test_the_card_reports_what_was_measured(zoo: Path) -> None:
    card = (zoo / "toy.md").read_text()
    for part in ("## Measured on fer public", "192 rows of 192", "## Limits", "ms a face", "sha256"):
        assert part in card


def test_an_artefact_is_evaluated_alone_by_what_its_spec_says(zoo: Path, tmp_path: Path, toy_set: Path) -> None:
    out = zoo / "toy.onnx"
    arguments = ["evaluate", str(out), "--data", str(toy_set), "--split", "private", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "report.json").read_text())
    engine = load_engine(out, "expression")
    stated = engine.spec.metrics["private.accuracy"]
    engine.close()
    assert values["scores"]["ferplus_seed, all rows"]["accuracy"] == pytest.approx(stated)
    assert values["bytes"] == out.stat().st_size


def test_mirrored_answers_and_ensembles_are_averages_in_the_graph(write_config: WriteConfig, tmp_path: Path) -> None:
    one, other = (
        fit(load_config(TrainConfig, write_config(name=name, seed=seed)), until=1)
        for name, seed in (("a", 1), ("b", 2))
    )
    out = export([one, other], tmp_path / "zoo/both.pt2", ["serve.flip=true"])
    images = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 1), np.uint8)
    engine = load_engine(out, "expression", precision="f32")
    found = engine.infer(images)["probabilities"]
    mirrored = engine.infer(np.ascontiguousarray(images[:, :, ::-1]))["probabilities"]
    temperature = engine.spec.temperature
    engine.close()
    assert np.allclose(found, mirrored, atol=1e-4)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        logits = [open_network(path)[2](x).logits for path in (one, other) for x in (pictures, pictures.flip(3))]
    expected = torch.softmax(torch.stack(logits).mean(dim=0) / temperature, dim=1).numpy()
    assert np.allclose(found, expected, atol=1e-4)


class Undecided(nn.Module):
    """Answer at random, so that no export can agree with it."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes)

    def forward(self, images: torch.Tensor) -> Output:
        features = torch.randn_like(images).mean(dim=(2, 3)) * 50
        return Output(self.fc(features), features)


def test_an_export_that_disagrees_is_not_written(
    write_config: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builders: Any = models.BUILDERS
    monkeypatch.setitem(builders, "undecided", Undecided)
    path = write_config(model={"name": "undecided", "args": {}})
    written = fit(load_config(TrainConfig, path), until=1)
    with pytest.raises(RuntimeError, match=r"same answers as the network.*it is not written"):
        export([written], tmp_path / "zoo/undecided.onnx")
    assert list((tmp_path / "zoo").iterdir()) == []


def test_an_export_says_what_was_run_and_nothing_else(write_config: WriteConfig, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"was begun with seed=1, the configuration says seed=9; expected the same"):
        export([trained], tmp_path / "toy.onnx", ["seed=9"])
    runs = load_config(TrainConfig, trained).runs
    edited = write_config(seed=9, loss="soft", runs=str(runs), input={"size": 24}, serve={"flip": True})
    spec = described(export([edited], tmp_path / "toy.onnx"))
    assert (spec.training["seed"], spec.training["config"]["loss"], spec.crop.margin) == (1, "hard", 0.1)
    assert spec.training["config"]["serve"]["flip"]


def test_an_export_names_the_files_that_its_network_was_made_from(
    write_config: WriteConfig, trained: Path, tmp_path: Path
) -> None:
    run = load_config(TrainConfig, trained).runs / "toy/checkpoint.pt"
    path = write_config(
        name="second", init=str(run), teacher={"weights": [str(run)]}, loss="distribution",
        phases=[{"epochs": 1, "size": 24}],
    )  # fmt: skip
    fit(load_config(TrainConfig, path))
    out = export([path], tmp_path / "second.onnx")
    made = described(out).training["config"]
    assert (made["init"], made["teacher"]["weights"]) == ("toy/checkpoint.pt", ["toy/checkpoint.pt"])
    assert str(trained.parent).encode() not in out.read_bytes()
    assert open_classifier(out).made["init"]
    assert not open_classifier(trained).made["init"]


def test_files_are_told_by_name_and_those_of_the_zoo_as_such() -> None:
    base = {"name": "a", "model": {"name": "residual"}, "phases": [{"epochs": 1, "size": 24}], "init": "/x/y/vgg.pt"}
    for landmarks, told in (("/x/y/own.onnx", "own.onnx"), ("zoo/landmarks.onnx", "zoo/landmarks.onnx"), ("dlib",) * 2):
        values = TrainConfig.model_validate({**base, "data": {"landmarks": landmarks}}).told()
        assert (values["data"]["landmarks"], values["init"]) == (told, "vgg.pt")
        assert not {"path", "cache"} & set(values["data"])


@pytest.mark.parametrize("path", sorted(ZOO.glob("*.onnx")), ids=lambda path: path.name)
def test_no_shipped_artefact_names_a_path_of_a_machine(path: Path) -> None:
    import onnx

    [spec] = [entry.value for entry in onnx.load(path).metadata_props if entry.key == "spec"]
    made = EngineSpec.parse(spec, path.name).training
    assert made["config"]["seed"] >= 0
    assert '"/' not in json.dumps(made)


def test_an_unknown_format_is_refused_before_any_work(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name that ends in \.onnx or \.pt2"):
        export([trained], tmp_path / "toy.h5")


@pytest.mark.parametrize("name", ["toy.onnx", "toy.pt2"])
def test_the_int8_form_lies_beside_its_source_and_says_where_it_comes_from(zoo: Path, toy_set: Path, name: str) -> None:
    source = zoo / name
    result = CliRunner().invoke(app, ["export", str(source), "--int8", "--data", str(toy_set)])
    assert result.exit_code == 0, result.output
    engine = load_engine(source, "expression", precision="int8")
    spec = engine.spec
    images = judged_rows(Data(path=toy_set), Input(size=24, margin=0.1, shift_y=0.05), "public").images
    found = engine.infer(images)["probabilities"]
    engine.close()
    assert (spec.name, spec.training["int8"]["of"]) == ("toy.int8", sha256_of(source))
    full = load_engine(source, "expression", precision="f32")
    expected = full.infer(images)["probabilities"]
    full.close()
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.6  # the toy network is unsure: three epochs
    assert not np.array_equal(found, expected)
    assert (zoo / "toy.int8.md").is_file()


def test_an_int8_form_stays_until_another_has_passed(zoo: Path, toy_set: Path, tmp_path: Path) -> None:
    source, form = tmp_path / "toy.onnx", tmp_path / "toy.int8.onnx"
    source.write_bytes((zoo / "toy.onnx").read_bytes())
    form.write_bytes(b"made before, and damaged: whoever opens it fails")
    form.with_suffix(".md").write_text("its card")
    write_entry(form)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    seen = Input(size=24, margin=0.1, shift_y=0.05)
    with pytest.raises(OSError, match="nowhere"):
        export_int8(source, Data(path=tmp_path / "nowhere"), seen)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    export_int8(source, Data(path=toy_set), seen)
    load_engine(form, "expression").close()
    assert sha256_of(form) in form.with_suffix(".md").read_text(encoding="utf-8")


def test_a_new_export_forgets_the_int8_form_of_the_old_one(
    write_config: WriteConfig, tmp_path: Path, toy_set: Path
) -> None:
    written = fit(load_config(TrainConfig, write_config()), until=1)
    out = export([written], tmp_path / "zoo/toy.onnx")
    stale = out.with_name("toy.int8.onnx")
    stale.write_bytes(out.read_bytes())
    write_entry(stale)
    export([written], out)
    assert not stale.exists()
    assert list(json.loads((out.parent / "manifest.json").read_text())) == ["toy.onnx"]


@pytest.mark.parametrize("name", ["toy.onnx", "toy.pt2"])
def test_an_int8_form_that_loses_accuracy_is_not_written(
    zoo: Path, toy_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source = tmp_path / name
    source.write_bytes((zoo / name).read_bytes())
    dark = np.zeros((8, 24, 24, 1), np.uint8)  # ranges learnt from black pictures fit nothing else
    monkeypatch.setattr(exports, "calibration_faces", lambda *args, **named: dark)
    seen = Input(size=24, margin=0.1, shift_y=0.05)
    with pytest.raises(RuntimeError, match=r"accuracy on public falls .* it is not written"):
        export_int8(source, Data(path=toy_set), seen)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["toy.int8.onnx", "toy.int8.pt2", "toy.pt"])
def test_only_a_float_model_is_quantised(tmp_path: Path, toy_set: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"expected an exported NAME\.onnx or NAME\.pt2"):
        export_int8(tmp_path / name, Data(path=toy_set), Input())


def test_what_explains_is_stored_in_an_artefact_that_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "face.onnx"
    for name in ("face.onnx", "face.int8.onnx"):
        shutil.copy(ZOO / name, tmp_path / name)
        write_entry(tmp_path / name)
    (tmp_path / "face.md").write_text(f"sha256 `{sha256_of(path)}`")
    rule = Rule(
        label="happiness",
        alternatives=((Condition(feature=3, above=True, threshold=0.5),),),
        fidelity=0.9,
        baseline=0.7,
        balanced=0.8,
    )
    store_explanation(path, [rule], {"happiness": "iVBORw0KGgo="})
    engine = load_engine(path, "expression")
    assert engine.spec.rules == (rule,)
    assert list(engine.spec.prototypes) == ["happiness"]
    assert np.isfinite(engine.infer(np.zeros((1, 48, 48, 1), np.uint8))["probabilities"]).all()
    engine.close()
    assert sha256_of(path) in (tmp_path / "face.md").read_text()
    quick = load_engine(tmp_path / "face.int8.onnx", "expression")
    assert quick.spec.rules == (rule,)
    assert quick.spec.training["int8"]["of"] == sha256_of(path)
    quick.close()


def test_the_form_that_serves_is_judged_and_the_file_that_is_given_is_explained(
    zoo: Path, toy_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.precision.GAIN", 0.0)  # the last form is taken for the fastest
    monkeypatch.setattr("train.analysis.explain.LEAST", 3)
    given, form = tmp_path / "toy.onnx", tmp_path / "toy.int8.onnx"
    shutil.copy(zoo / "toy.onnx", given)
    engine = load_engine(given, "expression")
    spec = engine.spec.model_copy(update={"name": "toy.int8", "training": {**engine.spec.training, "int8": {}}})
    engine.close()
    model = onnx.load(given)
    model.graph.doc_string = "longer"
    write_onnx(model, spec, form)
    write_entry(form)
    overrides = [f"data.path={toy_set}"]
    found = open_classifier(given, overrides)
    assert (found.name, found.size) == ("toy.int8", form.stat().st_size)
    found = open_classifier(given, overrides, "f32")
    assert (found.name, found.size) == ("toy", given.stat().st_size)
    found = open_classifier(form, overrides)
    assert (found.name, found.size) == ("toy.int8", form.stat().st_size)
    form.write_bytes(b"is not opened")
    explained = ["explain", str(given), "--out", str(tmp_path / "out"), "--data", str(toy_set)]
    result = CliRunner().invoke(app, explained, catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_a_resizable_network_answers_for_pictures_of_any_size_as_its_source(
    write_config: WriteConfig, tmp_path: Path, suffix: str
) -> None:
    seen = {"size": 48, "width": 32}
    path = write_config(
        model={"name": "attention", "args": {"dropout": 0}}, input=seen, serve={"resizable": True},
        phases=[{"epochs": 1, "size": 48}],
    )  # fmt: skip
    fit(load_config(TrainConfig, path))
    out = export([path], tmp_path / f"attention.{suffix}")
    engine = load_engine(out, "expression", precision="f32")
    picture = np.random.default_rng(0).integers(0, 255, (1, 80, 112, 1), np.uint8)
    found, source = engine.infer(picture), answer(Served([open_network(path)[2]], engine.spec.temperature), picture)
    engine.close()
    assert (engine.spec.height, engine.spec.width, engine.spec.resizable) == (48, 32, True)
    assert found["attention"].shape == (1, 5, 7)
    for name in ("probabilities", "attention", "cam"):
        assert np.allclose(found[name], source[name], atol=1e-4)


def test_a_network_of_one_size_cannot_be_exported_for_any(write_config: WriteConfig, tmp_path: Path) -> None:
    path = write_config(
        model={"name": "baseline", "args": {"size": [48, 32]}}, input={"size": 48, "width": 32},
        serve={"resizable": True}, phases=[{"epochs": 1, "size": 48}],
    )  # fmt: skip
    fit(load_config(TrainConfig, path))
    with pytest.raises(ValueError, match="serve.resizable: the network takes pictures of one size only"):
        export([path], tmp_path / "one.onnx")
    assert not (tmp_path / "one.onnx").exists()


def test_four_pictures_become_one() -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 1), np.uint8)
    [together] = in_fours(images)
    assert together.shape == (4, 6, 1)
    assert together[::2, ::3, 0].tolist() == [[0, 1], [2, 3]]
