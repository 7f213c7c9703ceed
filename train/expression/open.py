"""Open what was trained: a checkpoint, a configuration's run or an engine file, as one `Classifier` or as a network."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from engines import BACKENDS, EngineSpec, load_engine
from engines.errors import UserError
from engines.precision import int8_name
from streamer.config import Section, check_config, load_config
from train import models
from train.checkpoint import classes_of, load
from train.expression.batches.rows import cut, training_rows
from train.expression.classifier import Classifier
from train.expression.config import Data, Input, TrainConfig
from train.expression.served import Served, answer
from train.expression.start import restore
from train.models.classic import FEATURES, build_classic
from train.processes import first_device

YAML = {".yaml", ".yml"}


class Judged(Section):
    """Say which rows an engine file is judged on; `--set` overrides its keys."""

    data: Data
    input: Input


def open_classifier(source: Path, overrides: Sequence[str] = (), precision: str = "auto") -> Classifier:
    """Open a checkpoint (`.pt`), the checkpoint of a configuration's run (`.yaml`) or an engine file.

    A configuration of a hand-made baseline is fitted here. precision: of an engine file, see `load_engine`: by 'auto'
    it answers as it serves here, maybe by the int8 form beside it; by 'f32' the file itself does. Raises UserError or
    OSError with one line where the file is none of these or does not fit.
    """
    if source.suffix in BACKENDS:
        return _open_engine(source, overrides, precision)
    if source.suffix in YAML and (config := load_config(TrainConfig, source, overrides)).model.name in FEATURES:
        return fit_classic(config)
    config, checkpoint = read_run(source, overrides)
    served = Served([restore(source, checkpoint, config)], flip=config.serve.flip).to(first_device())
    return Classifier(
        name=config.name,
        labels=classes_of(checkpoint),
        infer=lambda images: answer(served, images),
        data=config.data,
        input=config.input,
        made=made_by(checkpoint["config"]),
        epochs=checkpoint.get("epochs", ()),
    )


def open_network(source: Path, overrides: Sequence[str] = ()) -> tuple[TrainConfig, tuple[str, ...], nn.Module]:
    """Build the averaged network of a checkpoint or a configuration's run, on the CPU; return it with its labels.

    Raises FileNotFoundError where nothing was trained yet, UserError where the weights do not fit.
    """
    config, checkpoint = read_run(source, overrides)
    return config, classes_of(checkpoint), restore(source, checkpoint, config)


def open_gradients(source: Path, overrides: Sequence[str] = ()) -> nn.Module | None:
    """Build the network behind a source, to take gradients of; an exported `.onnx` file holds its weights too.

    Returns None where the file holds none that can be had back: an int8 form, an ensemble, another format.
    """
    if source.suffix not in BACKENDS:
        return open_network(source, overrides)[2]
    engine = load_engine(source, "expression", precision="f32")
    engine.close()
    spec, made = engine.spec, engine.spec.training
    if source.suffix != ".onnx" or "int8" in made or made.get("networks") != 1:
        return None
    model = made["config"]["model"]
    network = models.build(model["name"], len(spec.labels), spec.channels, model["args"])
    models.load_weights(network, source)
    return network.eval()


def read_run(source: Path, overrides: Sequence[str] = ()) -> tuple[TrainConfig, dict[str, Any]]:
    """Read the checkpoint of a run, given by itself or by its configuration, and the configuration to use it with.

    That is the one that the run was begun with, and `overrides`; a YAML file says where things lie and how to serve.
    """
    if source.suffix in YAML:
        file = load_config(TrainConfig, source, overrides)
        checkpoint = load(file.runs / file.name / "checkpoint.pt")
        here = file.model_dump(mode="json", include={**file.PLACES, "serve": True})
        values = {**checkpoint["config"], **here, "data": {**checkpoint["config"]["data"], **here["data"]}}
    elif source.suffix == ".pt":
        checkpoint = load(source)
        values = checkpoint["config"]
    else:
        kinds = f"a configuration (.yaml), a checkpoint (.pt) or a model ({', '.join(BACKENDS)})"
        raise UserError(f"{source}: expected {kinds}")
    return check_config(TrainConfig, copy.deepcopy(values), overrides, str(source)), checkpoint


def made_by(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return of a configuration's plain values what tells runs apart."""
    rule, model = config.get("optimizer", {}).get("rule"), config.get("model", {}).get("name")
    return {"model": model, "rule": rule, "init": bool(config.get("init")), "seed": config.get("seed")}


def _open_engine(source: Path, overrides: Sequence[str], precision: str) -> Classifier:
    engine = load_engine(source, "expression", precision=precision)
    spec = engine.spec
    judged = check_config(Judged, _judged_by(spec), overrides, str(source))
    return Classifier(
        name=spec.name,
        labels=spec.labels,
        infer=engine.infer,
        data=judged.data,
        input=judged.input,
        made=made_by({"seed": spec.training.get("seed"), **spec.training.get("config", {})}),
        timed=True,
        size=_served(source, spec).stat().st_size,
        calibration=spec.views,
    )


def _served(source: Path, spec: EngineSpec) -> Path:
    """Return the file that serves: the one that was asked for, or the int8 form beside it."""
    form = int8_name(source)
    return form if "int8" in spec.training and form.is_file() else source


def fit_classic(config: TrainConfig) -> Classifier:
    """Fit a hand-made baseline to its training rows."""
    rows, _ = training_rows(config)
    machine = build_classic(config.model.name, config.model.args, config.seed).fit(cut(rows, config, 0))
    return Classifier(
        name=config.name,
        labels=rows.classes,
        infer=lambda images: {"probabilities": machine(images)},
        data=config.data,
        input=config.input,
        made=made_by(config.model_dump(mode="json")),
    )


def _judged_by(spec: EngineSpec) -> dict[str, object]:
    if spec.height is None or spec.width is None:
        raise UserError(f"{spec.name}: expected a fixed input size to evaluate, found any")
    seen = {"size": spec.height, "width": spec.width, "channels": spec.channels, **spec.crop.model_dump()}
    return {"data": dict(spec.training.get("data", {})), "input": {**spec.training.get("input", {}), **seen}}
