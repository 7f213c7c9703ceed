"""What the command line does with the configuration of a landmark network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines import ZOO
from streamer.config import load_config
from train.landmarks.config import LandmarksConfig


def fit(path: Path, overrides: Sequence[str] = (), until: int | None = None) -> Path:
    """Train the network of a YAML file and return the checkpoint."""
    from train.landmarks import fit as fitting

    return fitting.fit(_config(path, overrides), until)


def export(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> Path:
    """Write the artefact of a YAML file's run with its card and return its path; the zoo keeps it unless said."""
    from train.landmarks import export as exporting

    config = _config(path, overrides)
    return exporting.export(config, out or ZOO / f"{config.name}.onnx")


def evaluate(path: Path, overrides: Sequence[str] = (), out: Path | None = None) -> str:
    """Judge the artefact of a YAML file beside dlib's predictor; return the tables as Markdown."""
    from train.landmarks import evaluate as judging

    config = _config(path, overrides)
    return judging.evaluate(config.artefact or ZOO / f"{config.name}.onnx", config, out)


def _config(path: Path, overrides: Sequence[str]) -> LandmarksConfig:
    return load_config(LandmarksConfig, path, overrides)
