"""Several sets at once: shares, labels of their own, priors, and what must not be trained on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional as F
from typer.testing import CliRunner

from engines import ZOO, load_engine
from streamer.config import load_config
from tests.train.conftest import CONFIG, toy_picture
from train import checkpoint
from train.__main__ import app
from train.analysis.prior import answered_for
from train.data import BASIC, EMOTIONS, labelled
from train.expression.batches import joint
from train.expression.batches.parts import Part, training_parts
from train.expression.config import Prior, TrainConfig
from train.expression.evaluate import evaluate
from train.expression.export import another_prior, export
from train.expression.fit import fit
from train.expression.open import open_classifier
from train.expression.teach import SHIFTS, shifted, taught_sets

RENAMED = {"happy": "happiness", "sad": "sadness"}
WORDS = ("neutral", "happy", "surprise", "sad", "anger", "disgust", "fear")


def write_folder(
    folder: Path, words: tuple[str, ...] = WORDS, counts: dict[str, int] | None = None, seed: int = 7
) -> Path:
    """Write toy pictures as `<split>/<word>/*.png`, of some label for each word in turn."""
    random = np.random.default_rng(seed)
    for split, count in (counts or {"train": 6, "validation": 2, "test": 2}).items():
        for label, word in enumerate(words):
            (folder / split / word).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                cv2.imwrite(str(folder / split / word / f"{number}.png"), toy_picture(label, random))
    return folder


def folder_set(path: Path, **changes: Any) -> dict[str, Any]:
    own = {"labels": "emotion", "train": "train", "validation": "validation", "test": "test", "share": 1.0}
    return {"set": "folder", "path": str(path), **own, **changes}


def fer_set(path: Path, **changes: Any) -> dict[str, Any]:
    own = {"labels": "ferplus_seed", "validation": "public", "test": "private", "share": 3.0, "loss": "distribution"}
    return {"set": "fer", "path": str(path), **own, **changes}


def write_config(folder: Path, *sets: dict[str, Any], **changes: Any) -> Path:
    values = {**CONFIG, "data": {"sets": list(sets)}, "runs": str(folder / "runs"), **changes}
    path = folder / f"{values['name']}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def read(path: Path, *overrides: str) -> TrainConfig:
    return load_config(TrainConfig, path, overrides)


@pytest.fixture
def both(tmp_path: Path, toy_set: Path) -> Path:
    """Return the configuration of a run on the toy set, of eight labels, and a folder of seven."""
    return write_config(tmp_path, fer_set(toy_set), folder_set(write_folder(tmp_path / "own")))


def parts_of(path: Path, *overrides: str) -> list[Part]:
    return training_parts(read(path, *overrides))


def test_a_run_on_two_sets_learns_both_and_says_how_it_does_on_each(both: Path, tmp_path: Path) -> None:
    longer = ["--set", "phases=[{epochs: 12, size: 24}]", "--set", "optimizer={rate: 0.1, batch: 8, average: 0.9}"]
    result = CliRunner().invoke(app, ["fit", str(both), *longer])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in (tmp_path / "runs/toy/epochs.jsonl").read_text().splitlines()]
    assert set(lines[-1]["sets"]) == {"fer", "folder"}
    for scores in lines[-1]["sets"].values():
        assert scores["accuracy"] > 0.8
        assert scores["macro_recall"] > 0.8
    recalls = [scores["macro_recall"] for scores in lines[-1]["sets"].values()]
    assert lines[-1]["macro_recall"] == pytest.approx(np.mean(recalls), abs=1e-5)


def test_a_run_on_two_sets_in_two_parts_equals_one_in_one_part_bit_for_bit(both: Path) -> None:
    whole = fit(read(both, "name=whole"))
    parts = read(both, "name=parts")
    fit(parts, until=1)
    stopped = fit(parts)
    one, other = (checkpoint.load(path)["average"] for path in (whole, stopped))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_goes_on_where_the_sets_lie_now_but_not_with_another_share(both: Path, tmp_path: Path) -> None:
    fit(read(both), until=1)
    values = yaml.safe_load(both.read_text())
    (tmp_path / "own").rename(tmp_path / "moved")
    values["data"]["sets"][1]["path"] = str(tmp_path / "moved")
    both.write_text(yaml.safe_dump(values))
    assert checkpoint.load(fit(read(both), until=2))["epoch"] == 2
    values["data"]["sets"][1]["share"] = 2.0
    both.write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match=r"the run was begun with data\.sets="):
        fit(read(both))


def test_an_epoch_holds_the_sets_by_their_shares_and_no_row_twice_before_all_came_once(both: Path) -> None:
    lesson = joint.lesson(read(both), parts_of(both))
    sizes = [numbers.shape[1] for numbers in lesson.numbers]
    assert lesson.counts == (round(sum(sizes) * 3 / 4), round(sum(sizes) / 4))
    torch.manual_seed(0)
    times = Counter(lesson.order().tolist())
    drawn = [[times[int(number)] for number in numbers[0]] for numbers in lesson.numbers]
    assert [sum(one) for one in drawn] == list(lesson.counts)
    assert all(max(one) - min(one) <= 1 for one in drawn)


def test_each_way_to_cut_a_set_is_drawn(tmp_path: Path, toy_set: Path) -> None:
    own = folder_set(write_folder(tmp_path / "own"), face_box=["picture", "detector"])
    path = write_config(tmp_path, fer_set(toy_set), own)
    config = read(path, f"data.cache={tmp_path / 'cache'}", "data.finder=zoo")
    lesson = joint.lesson(config, training_parts(config))
    assert lesson.numbers[1].shape == (2, 42)
    order = set(lesson.order().tolist())
    assert all(order & set(way.tolist()) for way in lesson.numbers[1])
    names = [part.name for part in joint.judged_parts(config, lesson)]
    assert names == ["fer", "folder picture", "folder detector"]


def test_a_label_that_a_set_lacks_is_neither_wanted_nor_punished_in_its_rows(both: Path) -> None:
    lesson = joint.lesson(read(both), parts_of(both))
    assert lesson.rows.classes == EMOTIONS
    rows = torch.nonzero(lesson.groups == 1).flatten()
    logits = torch.zeros(len(rows), 8, requires_grad=True)
    wanted = torch.from_numpy(lesson.rows.distribution)[rows]
    F.cross_entropy(logits + lesson.added[lesson.groups[rows]], wanted).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert not logits.grad[:, 7].any()
    assert logits.grad[:, :7].any(dim=1).all()
    torch.testing.assert_close(wanted.sum(dim=1), torch.ones(len(rows)))


def test_without_contempt_in_any_set_the_network_has_seven_labels(tmp_path: Path) -> None:
    first, second = (write_folder(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
    path = write_config(tmp_path, folder_set(first), folder_set(second))
    assert joint.lesson(read(path), parts_of(path)).rows.classes == BASIC


@pytest.mark.parametrize("tau", [1.0, 0.5, 0.0])
def test_a_network_that_answers_the_common_prior_fits_each_set_to_the_power_tau(tau: float) -> None:
    own, answered = np.array([0.7, 0.2, 0.1, 0.0]), np.array([0.4, 0.3, 0.2, 0.1])
    added = joint.adjustment(own, answered, tau)
    expected = answered * np.where(own > 0, own / answered, 0) ** tau * (own > 0)
    answers = torch.softmax(torch.from_numpy(np.log(answered) + added), dim=0).numpy()
    np.testing.assert_allclose(answers, expected / expected.sum(), atol=1e-9)
    if tau == 1:
        np.testing.assert_allclose(answers, own, atol=1e-9)


def test_the_prior_that_is_answered_for_is_the_mean_even_or_what_is_said(both: Path) -> None:
    parts = parts_of(both)
    learned = np.ones(8, bool)
    fer, own = (part.prior for part in parts)
    mean = joint.answered_prior(Prior(), parts, learned)
    expected = np.append((fer[:7] + own[:7]) / 2, fer[7])
    np.testing.assert_allclose(mean, expected / expected.sum())
    np.testing.assert_allclose(joint.answered_prior(Prior(answers="even"), parts, learned), 1 / 8)
    shares = {name: float(number) for number, name in enumerate(EMOTIONS, start=1)}
    said = joint.answered_prior(Prior(answers=shares), parts, learned)
    np.testing.assert_allclose(said, np.arange(1, 9) / 36)
    with pytest.raises(ValueError, match=r"prior\.answers: expected a share of neutral, .*contempt, found joy"):
        joint.answered_prior(Prior(answers={"joy": 1.0}), parts, learned)


def test_labels_of_another_name_are_mapped_and_others_left_out(tmp_path: Path, toy_set: Path) -> None:
    words = ("ruhig", "froh", "erstaunt", "muede")
    own = folder_set(
        write_folder(tmp_path / "own", words),
        labels="names",
        map={"ruhig": "neutral", "froh": "happiness", "erstaunt": "surprise", "muede": None},
    )
    part = parts_of(write_config(tmp_path, fer_set(toy_set), own))[1]
    assert Counter(part.rows.labels.tolist()) == {0: 6, 1: 6, 2: 6}
    assert part.counts == {"read": 24, "unlabelled": 6, "near judged": 0, "used": 18}
    np.testing.assert_array_equal(part.prior > 0, [True, True, True, *[False] * 5])


def test_an_unknown_label_is_one_line_that_names_the_set(tmp_path: Path, toy_set: Path) -> None:
    own = write_folder(tmp_path / "own", ("neutral", "bored"))
    path = write_config(tmp_path, fer_set(toy_set), folder_set(own, labels="names"))
    with pytest.raises(
        ValueError, match=r"data\.sets\[1\] \(folder\): unknown label 'bored': expected neutral, .* map"
    ):
        parts_of(path)
    path = write_config(tmp_path, fer_set(toy_set), folder_set(own, labels="names", map={"bored": None, "sad": "fear"}))
    with pytest.raises(
        ValueError, match=r"data\.sets\[1\] \(folder\): its map names .sad.: expected labels of the set"
    ):
        parts_of(path)


def test_a_picture_in_two_sets_is_one_line_that_names_both(tmp_path: Path) -> None:
    first, second = (write_folder(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
    (second / "train/fear/again.png").write_bytes((first / "train/fear/3.png").read_bytes())
    path = write_config(tmp_path, folder_set(first), folder_set(second))
    expected = r"data\.sets\[1\] \(folder\): fear/again.png is fear/3.png of data\.sets\[0\] \(folder\) again"
    with pytest.raises(ValueError, match=expected):
        parts_of(path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"share": 0}, "data.sets.1.share"),
        ({"face_box": []}, "data.sets.1.face_box"),
        ({"loss": "votes"}, "data.sets.1.loss"),
        ({"train": "unknown"}, "unknown"),
    ],
)
def test_a_set_that_cannot_be_is_one_line(tmp_path: Path, toy_set: Path, change: dict[str, Any], expected: str) -> None:
    path = write_config(tmp_path, fer_set(toy_set), folder_set(write_folder(tmp_path / "own"), **change))
    result = CliRunner().invoke(app, ["fit", str(path)])
    with pytest.raises(ValueError, match=expected) as error:
        training_parts(read(path))
    assert "\n" not in str(error.value)
    assert result.exit_code


def test_a_set_without_labels_is_one_line_that_names_it(tmp_path: Path, toy_set: Path) -> None:
    own = folder_set(write_folder(tmp_path / "own"), labels="names", map=dict.fromkeys(WORDS))
    with pytest.raises(ValueError, match=r"data\.sets\[1\] \(folder\): no row of 'train' is left to train on"):
        parts_of(write_config(tmp_path, fer_set(toy_set), own))
    own["map"] = {**dict.fromkeys(WORDS), "sad": "sadness"}
    with pytest.raises(ValueError, match=r"data\.sets\[1\] \(folder\): expected rows of two labels .* \['sadness'\]"):
        parts_of(write_config(tmp_path, fer_set(toy_set), own))


def test_what_means_nothing_for_several_sets_is_refused(both: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.sets: expected none of balance: .* for a set alone"):
        read(both, "balance=sample")


def portrait(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a smooth picture that a perceptual hash knows again."""
    small = np.random.default_rng(seed).normal(128, 60, (9, 9)).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(small, (48, 48), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_photos_that_any_set_is_judged_by_are_not_trained_on_and_counted(tmp_path: Path) -> None:
    first, second = (write_folder(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two")))
    brighter = cv2.convertScaleAbs(portrait(1), alpha=0.9, beta=12)
    for folder, picture in ((first / "train/sad/a.png", portrait(1)), (first / "train/sad/b.png", portrait(2)),
                            (second / "test/fear/c.png", brighter), (tmp_path / "kept/all/x/d.png", portrait(2)),
                            (tmp_path / "kept/all/x/e.png", portrait(3))):  # fmt: skip
        folder.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder), picture)
    path = write_config(tmp_path, folder_set(first), folder_set(second))
    before = parts_of(path)[0].counts["near judged"]
    values = yaml.safe_load(path.read_text())
    kept = {"set": "folder", "path": str(tmp_path / "kept"), "labels": "names", "split": "all"}
    values["data"]["judged"] = [kept]
    path.write_text(yaml.safe_dump(values))
    part = parts_of(path)[0]
    assert part.counts["near judged"] == before + 1
    assert not {"sad/a.png", "sad/b.png"} & set(part.rows.names.tolist())
    assert part.counts["used"] == len(part.rows) == part.counts["read"] - part.counts["near judged"]


def test_soft_targets_are_smoothed_over_the_labels_of_the_set(tmp_path: Path, toy_set: Path) -> None:
    path = write_config(tmp_path, fer_set(toy_set), folder_set(write_folder(tmp_path / "own")), smoothing=0.14)
    fer, own = parts_of(path)
    np.testing.assert_allclose(own.rows.distribution.max(axis=1), 0.86 + 0.02, atol=1e-6)
    assert not own.rows.distribution[:, 7].any()
    np.testing.assert_allclose(fer.rows.distribution.max(axis=1), 0.8, atol=1e-6)  # the taggers' votes


def test_a_set_of_seven_labels_is_judged_among_these(tmp_path: Path) -> None:
    rows = labelled(BASIC, ["a", "b"], np.zeros((2, 4, 4, 1), np.uint8), [0, 3])
    part = joint.Judged("seven", rows, np.arange(8) < 7)
    logits = torch.zeros(2, 8)
    logits[:, 7], logits[0, 0], logits[1, 2] = 9, 1, 1
    assert part.scores(logits) == {"accuracy": 0.5, "macro_recall": 0.5}


def test_a_network_of_several_sets_is_judged_on_each_by_the_labels_of_that_set(both: Path, tmp_path: Path) -> None:
    longer = ["phases=[{epochs: 6, size: 24}]", "optimizer={rate: 0.1, batch: 8, average: 0.9}"]
    written = fit(read(both, *longer))
    result = CliRunner().invoke(app, ["evaluate", str(written), "--split", "test", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    fer, own = (json.loads((tmp_path / f"out/toy, {name}/report.json").read_text()) for name in ("fer", "folder"))
    assert (fer["split"], own["split"]) == ("private", "test")
    assert set(own["scores"]) == {"emotion, all rows", "emotion, without contempt"} - {"emotion, without contempt"}
    assert len(fer["scores"]["ferplus_seed, all rows"]["classes"]) == 8
    assert fer["near_duplicates"] is None  # none was trained on


def test_a_network_of_more_labels_is_asked_for_those_of_a_set_alone(both: Path, tmp_path: Path) -> None:
    written = fit(read(both), until=1)
    seven = next(classifier for classifier in open_classifier(written).alone() if classifier.data.set == "folder")
    seven = replace(seven, data=seven.data.model_copy(update={"labels": "names", "map": tuple(RENAMED.items())}))
    contempt = np.eye(8, dtype=np.float32)[[7]] * 0.9 + np.eye(8, dtype=np.float32)[[2]] * 0.1
    sure = replace(seven, infer=lambda images: {"probabilities": contempt.repeat(len(images), axis=0)})
    assert sure.rows("test").classes == EMOTIONS
    found = evaluate(sure, "test")
    assert found.first.classes["surprise"].recall == 1.0


def test_data_of_several_sets_lie_in_folders_of_their_names_unless_said(both: Path) -> None:
    values = yaml.safe_load(both.read_text())
    del values["data"]["sets"][1]["path"]
    values["data"]["path"] = "somewhere"
    data = TrainConfig.model_validate(values).data
    assert data.alone(data.sets[1]).path == Path("somewhere/folder")
    assert data.alone(data.sets[0]).path == Path(values["data"]["sets"][0]["path"])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, toy_set: Path) -> Path:
    """Return the artefact of a run on the toy set and a folder, beside what it was made from."""
    folder = tmp_path_factory.mktemp("exported")
    path = write_config(folder, fer_set(toy_set), folder_set(write_folder(folder / "data/folder")))
    config = read(path, "phases=[{epochs: 3, size: 24}]", "optimizer={rate: 0.1, batch: 8, average: 0.9}")
    return export([fit(config)], folder / "toy.onnx", test=True)


def test_an_artefact_of_several_sets_says_what_it_learned_and_answers_for(exported: Path) -> None:
    engine = load_engine(exported, "expression")
    spec = engine.spec
    engine.close()
    assert tuple(spec.prior) == spec.labels == EMOTIONS
    assert sum(spec.prior.values()) == pytest.approx(1)
    assert [one["set"] for one in spec.training["data"]["sets"]] == ["fer", "folder"]
    assert all("path" not in one for one in spec.training["data"]["sets"])
    assert spec.training["rows"]["1 folder"]["used"] == 42
    assert {"fer.picture.public.accuracy", "folder.picture.test.macro_recall"} <= set(spec.metrics)
    card = exported.with_suffix(".md").read_text()
    assert "| folder | emotion | train | 1 | soft | 42 | 0 | 0 | 42 | validation | test |" in card
    assert "## Measured on folder test" in card
    assert "the answers are for the prior neutral 0.126" in card


def test_an_artefact_of_several_sets_is_judged_on_data_below_one_folder(exported: Path, toy_set: Path) -> None:
    data = exported.parent / "data"
    if not (data / "fer").exists():
        (data / "fer").symlink_to(toy_set)
    found = [evaluate(one, one.data.test) for one in open_classifier(exported, [f"data.path={data}"]).alone()]
    assert [(one.data.set, one.split) for one in found] == [("fer", "private"), ("folder", "test")]
    assert len(found[1].labels) == 8  # the rule 'emotion' knows contempt, though the folder has none


def test_another_prior_moves_the_answers_as_bayes_says(exported: Path, tmp_path: Path) -> None:
    written = next(exported.parent.rglob("checkpoint.pt"))
    shares = {name: 3.0 if name == "anger" else 1.0 for name in EMOTIONS}
    other = export([written], tmp_path / "other.onnx", [f"serve.prior={json.dumps(shares)}"])
    engines = [load_engine(path, "expression", precision="f32") for path in (exported, other)]
    images = np.stack([toy_picture(label, np.random.default_rng(5)) for label in range(8)])[:, ::2, ::2, None]
    first, second = (
        np.log(engine.infer(np.ascontiguousarray(images))["probabilities"]) * engine.spec.temperature
        for engine in engines
    )
    moved = np.log([shares[name] / engines[0].spec.prior[name] for name in EMOTIONS])
    differences = second - first - moved
    np.testing.assert_allclose(differences - differences.mean(axis=1, keepdims=True), 0, atol=1e-3)
    assert engines[1].spec.prior["anger"] == pytest.approx(0.3)
    for engine in engines:
        engine.close()


def test_another_prior_for_other_labels_or_of_one_set_is_one_line(exported: Path, tmp_path: Path) -> None:
    written = next(exported.parent.rglob("checkpoint.pt"))
    with pytest.raises(ValueError, match=r"serve\.prior: expected a share of neutral, .*, found joy"):
        export([written], tmp_path / "other.onnx", ["serve.prior={joy: 1.0}"])
    with pytest.raises(ValueError, match=r"serve\.prior: expected a network of several sets"):
        another_prior({"neutral": 1.0}, {}, EMOTIONS)


def test_a_teacher_moves_targets_to_its_answers_for_the_prior_and_the_labels_of_each_set(
    exported: Path, toy_set: Path, tmp_path: Path
) -> None:
    bare = {"set": "folder", "path": str(write_folder(tmp_path / "bare", seed=3)), "labels": "emotion", "share": 1.0}
    teacher = {"weights": [str(exported)], "share": 0.25}
    path = write_config(
        tmp_path,
        fer_set(toy_set),
        folder_set(write_folder(tmp_path / "own")),
        {**bare, "loss": "teacher"},
        teacher=teacher,
    )
    config = read(path, f"data.cache={tmp_path / 'cache'}", "smoothing=0")
    before = joint.lesson(config, training_parts(config))
    after = taught_sets(before, config)
    engine = load_engine(exported, "expression", precision="f32")
    sides = (before.rows.images, before.rows.images[:, :, ::-1])
    views = [shifted(side, *shift) for shift in SHIFTS for side in sides]  # each teacher sees ten
    said = np.mean([engine.infer(np.ascontiguousarray(view))["probabilities"] for view in views], axis=0)
    prior = np.array([before.prior[name] / engine.spec.prior[name] for name in EMOTIONS])
    engine.close()
    groups = before.groups.numpy()
    for group, own in ((0, 0.75), (1, 0.75), (2, 0.0)):
        rows = groups == group
        answers = said[rows] * prior * np.exp(before.added[group].double().numpy())
        answers /= answers.sum(axis=1, keepdims=True)
        expected = own * before.rows.distribution[rows] + (1 - own) * answers
        np.testing.assert_allclose(after.rows.distribution[rows], expected, atol=1e-4)
    assert not after.rows.distribution[groups == 1][:, 7].any()
    np.testing.assert_allclose(after.rows.distribution.sum(axis=1), 1, atol=1e-5)
    assert not before.added[2].any()
    (kept,) = (tmp_path / "cache").glob("taught-*.npy")
    asked = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(taught_sets(before, config).rows.distribution, after.rows.distribution)
    assert kept.stat().st_mtime_ns == asked
    lines = fit(config, until=1).with_name("epochs.jsonl").read_text().splitlines()
    assert set(json.loads(lines[0])["sets"]) == {"fer", "folder"}  # the bare faces are not judged


def test_a_teacher_that_does_not_say_its_prior_is_one_line(tmp_path: Path, toy_set: Path) -> None:
    shipped = ZOO / "face.onnx"
    path = write_config(
        tmp_path,
        fer_set(toy_set),
        folder_set(write_folder(tmp_path / "own")),
        teacher={"weights": [str(shipped)]},
    )
    config = read(path, f"data.cache={tmp_path / 'cache'}")
    with pytest.raises(ValueError, match=r"face\.onnx: expected a teacher .* found one of .* that does not"):
        taught_sets(joint.lesson(config, training_parts(config)), config)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"loss": "teacher"}, "folder: expected no split to judge by"),
        ({"validation": None}, "folder: expected a validation and a test split, found None, test"),
        ({"loss": "teacher", "validation": None, "test": None}, "folder has loss 'teacher': expected one in teacher"),
    ],
)
def test_a_set_for_a_teacher_has_nothing_to_judge_by_and_needs_one(
    tmp_path: Path, toy_set: Path, change: dict[str, Any], expected: str
) -> None:
    path = write_config(tmp_path, fer_set(toy_set), folder_set(tmp_path / "own", **change))
    with pytest.raises(ValueError, match=expected):
        read(path)


def test_what_other_priors_give_is_told_for_every_set(exported: Path, toy_set: Path, tmp_path: Path) -> None:
    data = exported.parent / "data"
    if not (data / "fer").exists():
        (data / "fer").symlink_to(toy_set)
    arguments = ["analyze", "prior", str(exported), "--data", str(data), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out/prior.json").read_text())
    as_stated = next(one for one in found if one["power"] == 1)
    one = open_classifier(exported, [f"data.path={data}"]).alone()[1]
    assert as_stated["sets"][one.name]["accuracy"] == pytest.approx(evaluate(one, "validation").first.accuracy)
    refused = CliRunner().invoke(app, ["analyze", "prior", str(ZOO / "face.onnx"), "--out", str(tmp_path / "no")])
    assert "expected a network of several sets" in str(refused.exception)


def test_answers_for_another_prior_follow_from_bayes_rule() -> None:
    prior = {"calm": 0.8, "glad": 0.2}
    said = answered_for(np.array([[0.8, 0.2], [0.5, 0.5]], np.float32), ("calm", "glad"), prior, 0.0)
    np.testing.assert_allclose(said, [[0.5, 0.5], [0.2, 0.8]], atol=1e-6)
    np.testing.assert_allclose(answered_for(said, ("calm", "glad"), prior, 1.0), said, atol=1e-6)
