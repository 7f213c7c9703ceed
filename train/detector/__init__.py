"""Our own face detector: its data are made, its labels come from teachers, its network is small enough to ship."""

from __future__ import annotations

from pathlib import Path

import yaml


def is_detector(config: Path) -> bool:
    """Say whether a YAML file configures a detector, not an expression network."""
    if config.suffix not in (".yaml", ".yml") or not config.is_file():
        return False
    try:
        values = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
    return isinstance(values, dict) and values.get("task") == "detection"
