"""Which configurations are not of an expression network, and the commands that take them: fit, export, evaluate."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import yaml

COMMANDS = {"detection": "train.detector.command", "landmarks": "train.landmarks.command"}


def command_of(config: Path) -> ModuleType | None:
    """Return the commands for the task that a YAML file names, None where it configures an expression network."""
    if config.suffix not in (".yaml", ".yml") or not config.is_file():
        return None
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return None
    task = values.get("task") if isinstance(values, dict) else None
    return import_module(COMMANDS[task]) if task in COMMANDS else None
