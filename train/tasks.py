"""The tasks: which one a configuration names, and what the command line does with it.

A task is a package with the modules config, fit, evaluate and export; these are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from engines import BACKENDS, ZOO
from engines.errors import UserError
from streamer.config import load_config
from train.config import RunConfig
from train.options import refuse, with_data

YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Asked:
    """Hold what a command line asks for beside a configuration.

    out: file or folder to write. until: epoch to end after. The rest only some tasks know: data, set_name: short for
    overrides. split: to judge on. test: report on the test split too. int8: write a quantised form. target, precision:
    of a plan that is built for this machine. suffix: format of the file to write.
    """

    overrides: Sequence[str] = ()
    out: Path | None = None
    until: int | None = None
    data: Path | None = None
    set_name: str | None = None
    split: str | None = None
    test: bool = False
    int8: bool = False
    target: str | None = None
    precision: str = "f16"
    suffix: str = "onnx"

    def beyond(self) -> list[str]:
        """Name the options that only some tasks know and that are given."""
        given: dict[str, object] = {
            "--data": self.data,
            "--set-name": self.set_name,
            "--split": self.split,
            "--test": self.test,
            "--int8": self.int8,
            "--target": self.target,
            "--format": self.suffix != "onnx",
        }
        return [name for name, value in given.items() if value]


@dataclass(frozen=True)
class Task:
    """Fit, judge and export by configurations alone.

    package: has the modules. config: the class of its configuration. Raises UserError for options that would be
    ignored.
    """

    package: str
    config: str

    def fit(self, path: Path, asked: Asked) -> Path:
        """Train the network of a YAML file and return the checkpoint."""
        return Path(self._module("fit").fit(self._read(path, asked), asked.until))

    def evaluate(self, source: Path, asked: Asked) -> None:
        """Judge the artefact of a YAML file, the zoo's of that name unless it says, and print the tables."""
        config = self._read(source, asked)
        print(self._module("evaluate").evaluate(config.artefact or ZOO / f"{config.name}.onnx", config, asked.out))

    def export(self, sources: Sequence[Path], asked: Asked) -> Path:
        """Write the artefact of a YAML file's run with its card and return its path; the zoo keeps it unless said."""
        config = self._read(sources[0], asked, sources[1:])
        return Path(self._module("export").export(config, asked.out or ZOO / f"{config.name}.onnx"))

    def _read(self, path: Path, asked: Asked, more: Sequence[Path] = ()) -> Any:
        refuse(
            f"{path}: configures no expression network; --set says all that there is to say",
            [*asked.beyond(), *map(str, more)],
        )
        return self._load(path, asked.overrides)

    def _load(self, path: Path, overrides: Sequence[str]) -> Any:
        config: type[RunConfig] = getattr(self._module("config"), self.config)
        return load_config(config, path, overrides)

    def _module(self, name: str) -> Any:
        return import_module(f"{self.package}.{name}")


class Expression(Task):
    """Fit, judge and export expression networks: on any data set and split, several as one, and quantised."""

    def evaluate(self, source: Path, asked: Asked) -> None:
        """Judge a network on a split, print the tables, and write them where that is asked for."""
        from train.expression.evaluate import evaluate
        from train.expression.open import open_classifier
        from train.expression.reports import report

        judged = open_classifier(source, with_data(asked.overrides, asked.data, asked.set_name)).alone()
        for one in judged:
            found = evaluate(one, one.split_of(asked.split))
            report.show(found)
            if asked.out:
                report.write(found, asked.out / one.name if len(judged) > 1 else asked.out)

    def export(self, sources: Sequence[Path], asked: Asked) -> Path:
        """Write the network of a run, the ensemble of several, the int8 form of a model, or a plan of one."""
        from train.expression.export import export_int8
        from train.expression.open import open_classifier

        overrides = with_data(asked.overrides, asked.data)
        if asked.target:
            return self._build_plan(sources, asked, overrides)
        if not (asked.int8 and sources[0].suffix in BACKENDS):
            return self._export(sources, asked, [*overrides, *(["serve.int8=true"] if asked.int8 else [])])
        others = [*(["--out"] if asked.out else []), *map(str, sources[1:])]
        refuse(f"{sources[0]}: its int8 form is written beside it", others)
        exported = open_classifier(sources[0], overrides)
        return export_int8(sources[0], exported.data, exported.input, test=asked.test)

    def _export(self, sources: Sequence[Path], asked: Asked, overrides: Sequence[str], suffix: str = "") -> Path:
        """Write runs as one file, called as the first is unless said."""
        from train.expression.open import read_run

        out = asked.out
        if out is None:
            name = read_run(sources[0], overrides)[0].name.replace("/", "-")
            out = ZOO / f"{name}.{suffix or asked.suffix}"
        return Path(self._module("export").export(sources, out, overrides, test=asked.test))

    def _build_plan(self, sources: Sequence[Path], asked: Asked, overrides: Sequence[str]) -> Path:
        """Export a network as `.pt2` where it is none yet, and build its TensorRT plan."""
        import platformdirs

        from engines.tensorrt import check_buildable, plan_of

        if asked.target != "tensorrt":
            raise UserError(f"--target {asked.target}: expected tensorrt")
        check_buildable()
        model = sources[0]
        if model.suffix != ".pt2":
            overrides = [*overrides, *(["serve.int8=true"] if asked.precision == "int8" else [])]
            model = self._export(sources, asked, overrides, "pt2")
        return plan_of(model, asked.precision, Path(platformdirs.user_cache_dir("emotion-streamer")))

    def _read(self, path: Path, asked: Asked, more: Sequence[Path] = ()) -> Any:
        return self._load(path, with_data(asked.overrides, asked.data))


TASKS: dict[str, Task] = {
    "expression": Expression("train.expression", "TrainConfig"),
    "detection": Task("train.detector", "DetectorConfig"),
    "landmarks": Task("train.landmarks", "LandmarksConfig"),
}


def task_of(source: Path) -> Task:
    """Return the task that a YAML file names; it configures an expression network where it names none.

    So does all that is no YAML file: checkpoints and models are opened by what opens those of expression networks.
    Raises UserError for a task that there is not.
    """
    name = "expression"
    if source.suffix in YAML and source.is_file():
        try:
            values = yaml.safe_load(source.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            values = None  # what reads it says what is wrong
        name = str(values.get("task", name)) if isinstance(values, dict) else name
    if name not in TASKS:
        raise UserError(f"{source}: unknown task '{name}': expected one of {', '.join(TASKS)}")
    return TASKS[name]
