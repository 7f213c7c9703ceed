"""Turn trained networks into one artefact that says what it is; one that disagrees with its source is not written."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines import EngineSpec, View, load_engine, precisions_of
from engines.errors import UserError
from engines.manifest import remove_entry, sha256_of, write_entry
from engines.precision import int8_name
from engines.spec import Rule
from train.checkpoint import classes_of, require_run
from train.export import FORMATS, answers, commit, publish, quiet, require_format, write_onnx
from train.expression import card
from train.expression.batches.cutting import as_seen, recipe
from train.expression.batches.joint import Lesson, chosen_rows, lesson
from train.expression.batches.parts import training_parts
from train.expression.batches.rows import judged_faces, training_rows
from train.expression.batches.views import Cover, left_by
from train.expression.classifier import Classifier
from train.expression.config import Data, Input, TrainConfig
from train.expression.evaluate import Evaluation, chosen_by, evaluate, pooled
from train.expression.open import read_run
from train.expression.quantise import calibration_faces, check_accuracy, quantised, rounded
from train.expression.scores import fit_temperature, reliability
from train.expression.served import Served, answer, check_resizable, graph_of, in_fours
from train.expression.start import restore

log = logging.getLogger(__name__)

PARITY_F32 = 1e-3  # largest difference of a probability
PARITY_SERVED = 5e-3  # mean difference of the probabilities, in the precision that serves
SAME_ANSWERS = 0.99
LEAST_COVERED = 100  # faces that a temperature can be fitted to


def export(sources: Sequence[Path], out: Path, overrides: Sequence[str] = (), *, test: bool = False) -> Path:
    """Write the network of a run (or the ensemble of several) as `.onnx` or `.pt2`, with its card and manifest entry.

    With `serve.int8` its int8 form lies beside it afterwards. test: also report on the test split, for the card. Raises
    RuntimeError where the artefact disagrees with the network on real faces; then it is not written.
    """
    require_format(out)
    config, labels, networks = _open(sources, overrides)
    known, counts = trained_on(config)
    validation, prior = chosen_rows(config, labels, known), known.prior if known else {}
    served = Served(networks, flip=config.serve.flip, added=another_prior(config.serve.prior, prior, labels))
    if config.serve.resizable:
        check_resizable(served, validation.images[:4])
    found = answer(served, validation.images)
    served.temperature = fit_temperature(validation.asked(found["probabilities"]), validation.labels)
    views = calibrate_views(config, served)
    spec = describe(config, labels, served, list(found), out.stem, counts)
    spec = spec.model_copy(update={"views": views, "prior": shares(config.serve.prior or prior)})
    judged: list[Evaluation] = []

    def check(unchecked: Path) -> dict[str, Any]:
        check_parity(served, unchecked, validation.images)
        if spec.resizable:
            check_parity(served, unchecked, in_fours(validation.images))
        judged.extend(_judge(unchecked, config.data, config.input, test))
        return _measured(judged, views)

    write = graph_of(served, spec, validation.images[:2], out.suffix)
    publish(out, spec, write, check, partial(card.write, judged))
    _forget(int8_name(out))  # of the network that was here before
    if config.serve.int8:
        export_int8(out, config.data, config.input, test=test)
    return out


def export_int8(source: Path, data: Data, seen: Input, *, test: bool = False) -> Path:
    """Write the int8 form `NAME.int8.onnx` or `.pt2` beside an export, calibrated on faces of the training split.

    Raises RuntimeError where it is more than 0.3 points less accurate on the validation split; then it is not written,
    and the form that was there before stays.
    """
    if source.suffixes[-2:] == [".int8", source.suffix] or source.suffix.lstrip(".") not in FORMATS:
        raise UserError(f"{source}: expected an exported NAME.{' or NAME.'.join(FORMATS)}")
    out = int8_name(source)
    engine = load_engine(source, "expression", precision="f32")
    spec = engine.spec
    engine.close()
    faces = calibration_faces(data, seen, seed=1)
    with quiet():
        if source.suffix == ".pt2":
            write = graph_of(rounded(source, faces), spec, faces[:2], ".pt2")
        else:
            write = partial(write_onnx, quantised(source, faces))
    made = {**spec.training, "int8": {"calibration_faces": len(faces), "of": sha256_of(source)}}
    judged: list[Evaluation] = []

    def check(unchecked: Path) -> dict[str, Any]:
        judged.extend(_judge(unchecked, data, seen, test))
        check_accuracy(_judge(source, data, seen, test=False), judged, out.name)
        return _measured(judged, spec.views)

    spec = spec.model_copy(update={"name": out.stem, "training": made})
    publish(out, spec, write, check, partial(card.write, judged))
    return out


def _forget(path: Path) -> None:
    """Remove an artefact, its card and its manifest entry."""
    remove_entry(path)
    path.unlink(missing_ok=True)
    path.with_suffix(".md").unlink(missing_ok=True)


def _open(sources: Sequence[Path], overrides: Sequence[str]) -> tuple[TrainConfig, tuple[str, ...], list[nn.Module]]:
    opened = []
    for source in sources:
        config, saved = read_run(source, overrides)
        require_run(source, saved, config)
        opened.append((config, classes_of(saved), restore(source, saved, config)))
    config, labels, _ = opened[0]
    for source, (other, other_labels, _) in zip(sources, opened, strict=True):
        if (other.input, other.data, other_labels) != (config.input, config.data, labels):
            raise UserError(f"{source}: expected the input, data and labels of {sources[0]}, found others")
    return config, labels, [network for _, _, network in opened]


def describe(
    config: TrainConfig,
    labels: tuple[str, ...],
    served: Served,
    outputs: Sequence[str],
    name: str,
    counts: Mapping[str, Any],
) -> EngineSpec:
    """Say what the artefact is; what is measured on it comes later."""
    height, width = config.input.shape
    return EngineSpec(
        name=name,
        task="expression",
        height=height,
        width=width,
        resizable=config.serve.resizable,
        channels=config.input.channels,
        crop=recipe(config.input),
        labels=labels,
        outputs=tuple(outputs),
        temperature=served.temperature,
        training=provenance(config, len(served.networks), counts),
    )


def trained_on(config: TrainConfig) -> tuple[Lesson | None, dict[str, Any]]:
    """Return what a network of several sets has learned, None of one set, and what was counted of the rows, by set."""
    if not config.data.sets:
        return None, training_rows(config)[1]
    parts = training_parts(config)
    return lesson(config, parts), {f"{number} {part.name}": part.counts for number, part in enumerate(parts)}


def shares(prior: Mapping[str, float]) -> dict[str, float]:
    """Return a prior that sums to 1."""
    total = sum(prior.values())
    return {name: share / total for name, share in prior.items()}


def another_prior(
    wanted: Mapping[str, float] | None, trained: Mapping[str, float], labels: tuple[str, ...]
) -> torch.Tensor | None:
    """Return what is added to the logits of a network that answers for one prior, to answer for another.

    Raises UserError where it answers for none that is known, or other labels are named.
    """
    if wanted is None:
        return None
    if not trained:
        raise UserError("serve.prior: expected a network of several sets (data.sets), whose prior is known; found one")
    if set(wanted) != set(labels):
        raise UserError(f"serve.prior: expected a share of {', '.join(labels)}, found {', '.join(wanted)}")
    added = torch.tensor([np.log(wanted[name] / trained[name]) for name in labels], dtype=torch.float32)
    return added - added.mean()


def provenance(config: TrainConfig, networks: int, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Say which data, rows, configuration and commit made the network."""
    values = config.told()
    return {
        "data": values.pop("data"),
        "input": values.pop("input"),
        "rows": counts,
        "networks": networks,
        "seed": config.seed,
        "commit": commit(),
        "config": values,
    }


def store_explanation(path: Path, rules: Sequence[Rule], prototypes: Mapping[str, str]) -> None:
    """Write rules and typical faces into the spec of an exported ONNX model and of its int8 form.

    The new checksums are written where the old ones stand. prototypes: by label, see `EngineSpec`. Raises UserError
    where a file carries no spec.
    """
    import onnx

    for file in (path, int8_name(path)):
        if file != path and not file.is_file():
            continue
        model = onnx.load(file)
        found = [entry.value for entry in model.metadata_props if entry.key == "spec"]
        if not found:
            raise UserError(f"{file}: expected a model that carries its spec, found none")
        spec = EngineSpec.parse(found[0], str(file))
        spec = spec.model_copy(update={"rules": tuple(rules), "prototypes": prototypes})
        if "int8" in spec.training:  # says of which file it is the int8 form
            form = {**spec.training["int8"], "of": sha256_of(path)}
            spec = spec.model_copy(update={"training": {**spec.training, "int8": form}})
        before, unfinished = sha256_of(file), file.with_name(file.name + ".tmp")
        write_onnx(model, spec, unfinished)
        os.replace(unfinished, file)
        write_entry(file)
        text = file.with_suffix(".md")
        if text.is_file():
            text.write_text(text.read_text(encoding="utf-8").replace(before, sha256_of(file)), encoding="utf-8")


def check_parity(served: Served, path: Path, images: NDArray[np.uint8]) -> None:
    """Compare the artefact with its source on real faces: in f32, and in all that may serve here.

    Raises RuntimeError with what was found where they disagree.
    """
    expected = answer(served, images)["probabilities"]
    for precision, outputs in answers(path, "expression", images, dict.fromkeys(("f32", *precisions_of(path)))):
        found = outputs["probabilities"]
        same = float((found.argmax(axis=1) == expected.argmax(axis=1)).mean())
        difference = np.abs(found - expected)
        log.info(
            "parity %s: %.4f same answers, difference %.5f at most, %.6f mean",
            precision,
            same,
            difference.max(),
            difference.mean(),
        )
        agrees = difference.max() <= PARITY_F32 if precision == "f32" else difference.mean() <= PARITY_SERVED
        if not agrees or same < SAME_ANSWERS:
            raise RuntimeError(
                f"{path.name} in {precision}: {100 * same:.2f} % same answers as the network, probabilities differ by "
                f"{difference.max():.4f} at most and {difference.mean():.5f} in the mean; it is not written"
            )


def calibrate_views(config: TrainConfig, served: Served) -> dict[str, View]:
    """Fit on the validation split what the answers to every region need, for a network of several.

    Where it learned under occluders a region is fitted on faces of which one leaves that region, as it is asked for;
    where there are few of these, on bare faces.
    """
    if not config.input.regions:
        return {}
    faces = judged_faces(config.data, config.input, config.data.validation)
    faces = faces[faces.labels >= 0]
    assert faces.landmarks is not None
    torch.manual_seed(config.seed)
    cover = Cover(1.0 if config.augment.occlude else 0.0, config.data, config.input)
    drawn = cover(faces.images, faces.landmarks)
    cover.close()
    left = np.array(left_by(drawn), object)
    views = {}
    for region in config.input.regions:
        own, seen = left == region, config.input.model_copy(update={"region": region})
        if config.augment.occlude and region != "face" and own.sum() >= LEAST_COVERED:
            rows = replace(faces, images=drawn.pictures, landmarks=drawn.points)[own]
            rows = as_seen(rows, seen, visibility=drawn.visibility[own])
        else:
            rows = as_seen(faces, seen)
        views[region] = View(temperature=fit_temperature(answer(served, rows.images)["probabilities"], rows.labels))
    return views


def _judge(path: Path, data: Data, seen: Input, test: bool) -> list[Evaluation]:
    """Measure this very file as `load_engine` runs it, on the validation split and, if wanted, on the test split.

    The validation split comes first, and the configured region before all others that the network can be shown.
    """
    engine = load_engine(path, "expression", sha256=sha256_of(path))  # never by an int8 form that lies beside it
    try:
        classifier = Classifier(
            name=engine.spec.name,
            labels=engine.spec.labels,
            infer=engine.infer,
            data=data,
            input=seen,
            timed=True,
            size=path.stat().st_size,
            calibration=engine.spec.views,
        )
        views = sorted(classifier.views(), key=lambda view: view.input.region != seen.region)
        alone = [one for view in views for one in view.alone()]
        found = [evaluate(one, one.data.validation) for one in alone]
        return found + ([evaluate(one, one.data.test) for one in alone] if test else [])
    finally:
        engine.close()


def _measured(found: Sequence[Evaluation], views: Mapping[str, View]) -> dict[str, Any]:
    """Return the fields of the spec that are measured: reliability on the validation split, metrics of every split."""
    metrics, own = {}, found[0].input.region
    several = len({one.data.set for one in found}) > 1
    for evaluation in found:
        place = f"{evaluation.data.set}.{evaluation.input.face_box}." if several else ""
        region = "" if evaluation.input.region == own else f".{evaluation.input.region}"
        first = evaluation.first
        metrics[f"{place}{evaluation.split}{region}.accuracy"] = first.accuracy
        metrics[f"{place}{evaluation.split}{region}.macro_recall"] = first.macro_recall
        metrics[f"{place}{evaluation.split}{region}.macro_f1"] = first.macro_f1
        metrics[f"{place}{evaluation.split}{region}.calibration_error"] = first.calibration_error
        metrics[f"{place}{evaluation.split}{region}.rows"] = float(first.rows)
    chosen = {one.input.region: one for one in found if one.split == found[0].split}
    measured = {
        name: view.model_copy(update={"reliability": _precisions([chosen[name]])}) for name, view in views.items()
    }
    return {"reliability": _precisions(chosen_by(found)), "metrics": metrics, "views": measured}


def _precisions(found: Sequence[Evaluation]) -> dict[str, float]:
    return {name: row["precision"] for name, row in reliability(pooled(found)).items()}
