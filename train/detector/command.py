"""What the command line does with the configuration of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines import ZOO
from streamer.config import load_config
from train.detector.config import DetectorConfig


def fit(path: Path, overrides: Sequence[str] = (), until: int | None = None) -> Path:
    """Train the detector of a YAML file and return the checkpoint."""
    from train.detector import fit as fitting

    return fitting.fit(_config(path, overrides), until)


def export(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> Path:
    """Write the artefact of a YAML file's run with its card and return its path; the zoo keeps it unless said."""
    from train.detector import export as exporting

    config = _config(path, overrides)
    return exporting.export(config, out or ZOO / f"{config.name}.onnx")


def evaluate(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> str:
    """Judge the artefact of a YAML file beside HOG and YuNet; return the tables as Markdown."""
    from train.detector import evaluate as judging

    config = _config(path, overrides)
    return judging.evaluate(config.artefact or ZOO / f"{config.name}.onnx", config, out)


def _config(path: Path, overrides: Sequence[str]) -> DetectorConfig:
    return load_config(DetectorConfig, path, overrides)
