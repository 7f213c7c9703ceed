"""Distillation: targets move towards what the teachers see, and a teacher of something else is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engines import load_engine
from engines.manifest import write_entry
from streamer.config import load_config
from tests.conftest import expression_spec
from tests.networks import Tiny, write_tiny
from train import autocast
from train.data import EMOTIONS, FaceSet
from train.expression.config import Teacher, TrainConfig
from train.expression.fit import fit
from train.expression.teach import shifted, taught

WriteConfig = Callable[..., Path]
CPU = torch.device("cpu")


def rows_of(count: int = 6) -> FaceSet:
    images = np.random.default_rng(0).integers(0, 256, (count, 48, 48, 1), np.uint8)
    labels = np.arange(count) % len(EMOTIONS)
    names = np.array([str(number) for number in range(count)])
    return FaceSet(
        EMOTIONS, names, images, labels, np.eye(len(EMOTIONS), dtype=np.float32)[labels], np.zeros(count, bool)
    )


def configured(write_config: WriteConfig, weights: list[Path], share: float) -> TrainConfig:
    teacher = {"weights": [str(one) for one in weights], "share": share}
    phases = [{"epochs": 1, "size": 48}]
    values = {"input": {"size": 48}, "phases": phases, "teacher": teacher}
    return load_config(TrainConfig, write_config(loss="distribution", **values))


def test_without_a_teacher_nothing_changes(write_config: WriteConfig) -> None:
    rows = rows_of()
    assert taught(rows, load_config(TrainConfig, write_config()), CPU) is rows


def test_targets_move_towards_the_teacher_by_its_share(write_config: WriteConfig, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    rows = rows_of()
    alone, half, none = (
        taught(rows, configured(write_config, [tmp_path / "tiny.onnx"], share), CPU).distribution
        for share in (1.0, 0.5, 0.0)
    )
    np.testing.assert_allclose(none, rows.distribution, atol=1e-6)
    np.testing.assert_allclose(half, (rows.distribution + alone) / 2, atol=1e-6)
    np.testing.assert_allclose(alone.sum(axis=1), 1, atol=1e-5)
    with torch.inference_mode():  # shifts by two pixels change mean and spread a little
        np.testing.assert_allclose(alone, Tiny().eval()(torch.from_numpy(rows.images))[0], atol=0.01)


def test_the_named_file_teaches_whatever_form_of_it_is_fastest_here(write_config: WriteConfig, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    beside = tmp_path / "tiny.int8.onnx"
    beside.write_bytes(b"opened only where the fastest form is looked for")
    write_entry(beside)
    with pytest.raises(ValueError, match=r"tiny\.int8\.onnx"):
        load_engine(tmp_path / "tiny.onnx", "expression")
    rows = taught(rows_of(), configured(write_config, [tmp_path / "tiny.onnx"], 1.0), CPU)
    np.testing.assert_allclose(rows.distribution.sum(axis=1), 1, atol=1e-5)


def test_a_checkpoint_of_other_classes_does_not_teach(write_config: WriteConfig) -> None:
    config = load_config(TrainConfig, write_config())
    weights = fit(config, until=1)
    rows = rows_of()
    rows = replace(rows, classes=EMOTIONS[:7], distribution=rows.distribution[:, :7])
    with pytest.raises(ValueError, match=r"checkpoint\.pt: expected a teacher of \('neutral', .*, found \('neutral'"):
        taught(rows, config.model_copy(update={"teacher": Teacher(weights=(weights,), share=1)}), CPU)


def test_teachers_see_what_is_judged_not_the_margin_of_random_crops(write_config: WriteConfig, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    config = configured(write_config, [tmp_path / "tiny.onnx"], 1.0)
    cropped = config.model_copy(update={"augment": config.augment.model_copy(update={"crop": 0.2})})
    one, other = (taught(rows_of(), each, CPU).distribution for each in (config, cropped))
    np.testing.assert_array_equal(one, other)


def test_checkpoints_of_the_same_architecture_teach_by_their_mean(write_config: WriteConfig) -> None:
    config = load_config(TrainConfig, write_config())
    other = config.model_copy(update={"name": "other", "seed": 2})
    weights, rows = [fit(config), fit(other)], rows_of()
    one, two, both = (
        taught(rows, config.model_copy(update={"teacher": Teacher(weights=teachers, share=1)}), CPU).distribution
        for teachers in ((weights[0],), (weights[1],), tuple(weights))
    )
    assert np.abs(one - two).max() > 0.01
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-5)
    np.testing.assert_allclose(both.sum(axis=1), 1, atol=1e-5)


def test_a_checkpoint_teaches_in_f32_whatever_the_processor_has(
    write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, rows = load_config(TrainConfig, write_config()), rows_of()
    config = config.model_copy(update={"teacher": Teacher(weights=(fit(config),), share=1)})
    answers = []
    for able in (False, True):
        monkeypatch.setattr(autocast, "has_bf16", lambda device, able=able: able)
        answers.append(taught(rows, config, CPU).distribution)
    np.testing.assert_array_equal(*answers)


def test_a_teacher_of_other_classes_is_refused(write_config: WriteConfig, tmp_path: Path) -> None:
    write_tiny(tmp_path, expression_spec(labels=tuple(reversed(EMOTIONS))))
    with pytest.raises(ValueError, match=r"tiny\.onnx: expected a teacher of .*'neutral', .* found"):
        taught(rows_of(), configured(write_config, [tmp_path / "tiny.onnx"], 0.5), CPU)


def test_pictures_are_moved_and_their_edges_repeated() -> None:
    picture = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    assert (shifted(picture, 0, 0) == picture).all()
    assert (shifted(picture, 2, 0)[0, :, 0, 0] == [0, 0, 0, 4]).all()
    assert (shifted(picture, 0, -2)[0, 0, :, 0] == [2, 3, 3, 3]).all()
