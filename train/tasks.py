"""Tasks other than expression: which configurations name one, and what the command line does with them.

A task is a package with the modules config, fit, export and evaluate; these are imported when they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from engines import ZOO
from streamer.config import load_config


@dataclass(frozen=True)
class Task:
    """Name a package and the class of its configuration."""

    package: str
    config: str

    def fit(self, path: Path, overrides: Sequence[str] = (), until: int | None = None) -> Path:
        """Train the network of a YAML file and return the checkpoint."""
        return Path(self._module("fit").fit(self._read(path, overrides), until))

    def export(self, path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> Path:
        """Write the artefact of a YAML file's run with its card and return its path; the zoo keeps it unless said."""
        config = self._read(path, overrides)
        return Path(self._module("export").export(config, out or ZOO / f"{config.name}.onnx"))

    def evaluate(self, path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> str:
        """Judge the artefact of a YAML file, the zoo's of that name unless it says; return the tables as Markdown."""
        config = self._read(path, overrides)
        return str(self._module("evaluate").evaluate(config.artefact or ZOO / f"{config.name}.onnx", config, out))

    def _module(self, name: str) -> Any:
        return import_module(f"{self.package}.{name}")

    def _read(self, path: Path, overrides: Sequence[str]) -> Any:
        return load_config(getattr(self._module("config"), self.config), path, overrides)


TASKS = {
    "detection": Task("train.detector", "DetectorConfig"),
    "landmarks": Task("train.landmarks", "LandmarksConfig"),
}


def task_of(config: Path) -> Task | None:
    """Return the task that a YAML file names, None where it configures an expression network."""
    if config.suffix not in (".yaml", ".yml") or not config.is_file():
        return None
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    return TASKS.get(str(values.get("task"))) if isinstance(values, dict) else None
