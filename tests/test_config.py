from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
import yaml

from streamer.build import DETECTORS, LANDMARKERS, build_stages
from streamer.config import Config, DetectorConfig, LandmarksConfig, check_config, load_config, preset
from streamer.sinks.outputs import SINKS, Outputs
from train.detector import config as detector
from train.expression import config as expression
from train.landmarks import config as landmarks

CONFIGS = Path(__file__).parents[1] / "configs"


def written(tmp_path, text):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_loads(path):
    load_config(Config, path)


def test_default_yaml_explains_every_key_with_its_true_default():
    assert load_config(Config, CONFIGS / "default.yaml") == Config()
    documented = yaml.safe_load((CONFIGS / "default.yaml").read_text())
    assert _keys(documented) == _keys(Config().model_dump())


def _keys(values, prefix=""):
    nested = [_keys(v, f"{prefix}{k}.") if isinstance(v, dict) else {prefix + k} for k, v in values.items()]
    return set().union(*nested)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("detectr: {}", "unknown key 'detectr'"),
        ("detection: {intervall: 1}", "unknown key 'detection.intervall'"),
        ("expression: {smothing: 1}", "unknown key 'expression.smothing'"),
        ("detector: {min_face: tiny}", "'detector.min_face'"),
        ("detector: {kind: yunet}", "needs 'model'"),
        ("metrics: {port: 99999}", "'metrics.port'"),
        ("detection: {share: 0}", "0 < share <= 1"),
        ("detection: {interval: .inf}", "'detection.interval'"),
        ("expression: {smoothing: -1}", "smoothing"),
        ("expression: {threshold: 2}", "threshold"),
        ("expression: {interval: .nan}", "'expression.interval'"),
        ("tracker: {coast: 5}", "coast"),
        ("source: {period: .inf}", "'source.period'"),
        ("- a\n- b", "expected keys and values at the top, found list"),
        ("a: [", "not a YAML file"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, text, said):
    with pytest.raises(ValueError, match="x.yaml") as caught:
        load_config(Config, written(tmp_path, text))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_overrides_change_single_keys(tmp_path):
    path = written(tmp_path, "detector: {min_face: 50}")
    config = load_config(Config, path, ["detector.threshold=0.2", "metrics.port=9100", "overlay.bars=false"])
    assert (config.detector.min_face, config.detector.threshold) == (50, 0.2)
    assert (config.metrics.port, config.overlay.bars) == (9100, False)


@pytest.mark.parametrize("override", ["overlay", "=1", "a..b=1", "overlay.bars.x=1"])
def test_a_wrong_override_is_refused(tmp_path, override):
    with pytest.raises(ValueError, match="expected a.b=value|holds a value|unknown key|overlay"):
        load_config(Config, written(tmp_path, "overlay: {bars: true}"), [override])


def test_an_unknown_preset_lists_those_that_exist():
    with pytest.raises(FileNotFoundError, match="crowd, default, photos"):
        preset("nonsense")
    assert preset("photos") == preset("photos.yaml")


def test_every_kind_that_can_be_chosen_can_be_opened_and_the_other_way_round():
    for section, kinds in ((DetectorConfig, DETECTORS), (LandmarksConfig, LANDMARKERS)):
        assert set(get_args(section.model_fields["kind"].annotation)) == set(kinds)
    sinks = {field.name for field in fields(Outputs)} - {"summary"}
    assert sinks == set(SINKS)


def test_a_preset_is_loaded_by_its_name():
    assert load_config(Config, "crowd") == load_config(Config, CONFIGS / "crowd.yaml") != Config()


def sections(model, values, above=""):
    """Yield each section of a configuration as its dotted name and its keys with their values."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield f"{above}{name}", value
            yield from sections(model, value, f"{above}{name}.")


EVERY_MODEL = [
    (Config, {}),
    (expression.TrainConfig, yaml.safe_load((CONFIGS / "train" / "face.yaml").read_text())),
    (landmarks.LandmarksConfig, yaml.safe_load((CONFIGS / "train" / "landmarks.yaml").read_text())),
    (detector.DetectorConfig, yaml.safe_load((CONFIGS / "train" / "detector.yaml").read_text())),
]


@pytest.mark.parametrize(("model", "values"), EVERY_MODEL, ids=lambda one: getattr(one, "__name__", ""))
def test_an_override_of_one_key_changes_that_key_only(model, values):
    needed = {name: values[name] for name, field in model.model_fields.items() if field.is_required()}
    whole = check_config(model, dict(needed), [], "x")
    tried = 0
    for section, keys in sections(model, whole.model_dump(mode="json")):
        for key, value in keys.items():
            if section.partition(".")[0] not in needed:
                same = f"{section}.{key}={json.dumps(value)}"  # the value that it has
                assert check_config(model, dict(needed), [same], "x") == whole, same
                tried += 1
    assert tried > 10


def test_a_section_with_a_default_of_its_own_keeps_what_is_not_overridden():
    regions = load_config(Config, None, ["regions.precision=f32"]).regions
    assert (regions.model.name, regions.precision) == ("regions.onnx", "f32")
    values = yaml.safe_load((CONFIGS / "train" / "landmarks.yaml").read_text())
    values.pop("optimizer", None)
    optimizer = check_config(landmarks.LandmarksConfig, values, ["optimizer.batch=32"], "x").optimizer
    assert (optimizer.rule, optimizer.rate, optimizer.batch) == ("adam", 2e-3, 32)


def test_models_are_closed_where_a_later_one_is_refused(monkeypatch):
    closed = []

    class Model:
        def close(self):
            closed.append(self)

    monkeypatch.setattr("streamer.build.load_landmarker", lambda config, cache: Model())
    monkeypatch.setattr("streamer.build.load_detector", lambda config, cache: Model())
    with pytest.raises(FileNotFoundError, match="gone.onnx"):
        build_stages(load_config(Config, None, ["classifier.model=gone.onnx"]))
    assert len(closed) == 2
