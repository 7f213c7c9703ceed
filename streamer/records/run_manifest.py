"""The manifest of a run, `NAME.manifest.json` beside its log: what was run on what, enough to run it again."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import streamer
from engines.errors import UserError, invalid
from engines.manifest import sha256_of
from streamer.build import models
from streamer.config import Config, Section
from streamer.sources import Source
from streamer.sources.pictures import Pictures

log = logging.getLogger(__name__)

PACKAGES = ("numpy", "opencv-python-headless", "openvino", "dlib-bin")  # what figures can depend on


class Input(Section):
    """Describe a source: what it was called with, and the sha256 of its files, none for what cannot be read again."""

    source: str
    name: str
    live: bool
    sha256: dict[str, str]


class Manifest(Section):
    """Describe a run. models: sha256 by path. log: file name of the log beside the manifest."""

    manifest: int = 1
    run: str
    version: str
    versions: dict[str, str]
    inputs: list[Input]
    models: dict[str, str]
    config: Config
    log: str


def manifest_path(log: Path) -> Path:
    """Return where the manifest of a log lies."""
    return log.with_name(f"{log.stem}.manifest.json")


def describe(run: str, config: Config, names: Sequence[str], sources: Sequence[Source], log: Path) -> Manifest:
    """Return the manifest of a run of the sources that the names stand for. Raises OSError where a file is gone."""
    return Manifest(
        run=run,
        version=streamer.__version__,
        versions=_versions(),
        inputs=[_describe(name, source) for name, source in zip(names, sources, strict=True)],
        models=model_hashes(config),
        config=config,
        log=log.name,
    )


def model_hashes(config: Config) -> dict[str, str]:
    """Return the sha256 of every model that a run of this configuration reads, by path."""
    return {str(path): sha256_of(path) for path in models(config)}


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write the manifest, whole or not at all. Raises OSError."""
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.write_text(json.dumps(manifest.model_dump(), indent=2, default=str) + "\n", encoding="ascii")
        os.replace(unfinished, path)
    except OSError as error:
        raise OSError(f"{path}: cannot write the manifest: {error.strerror}") from error


def read_manifest(path: Path) -> Manifest:
    """Read a manifest. Raises OSError, and UserError where it is none, or one of another version."""
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or values.get("manifest") != 1:
            found = values.get("manifest") if isinstance(values, dict) else None
            raise UserError(f"{path}: expected a run's manifest of version 1, found version {found!r}")
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise invalid(str(path), error) from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: expected a run's manifest, found no JSON") from error


def check_unchanged(manifest: Manifest, path: Path) -> None:
    """Raise UserError where the run cannot be repeated: a live input, or a file that is gone or another one."""
    for one in manifest.inputs:
        if one.live or not one.sha256:
            raise UserError(f"{path}: cannot replay '{one.name}': only files can be read again, not a live source")
    files = [item for one in manifest.inputs for item in one.sha256.items()]
    for name, expected in [*files, *manifest.models.items()]:
        if not Path(name).is_file():
            raise UserError(f"{path}: {name} is gone: expected the file with sha256 {expected}")
        if (found := sha256_of(Path(name))) != expected:
            raise UserError(f"{path}: {name} was changed: expected sha256 {expected}, found {found}")
    now = {"streamer": streamer.__version__, **_versions()}
    for name, then in {"streamer": manifest.version, **manifest.versions}.items():
        if now.get(name) != then:
            log.warning("%s: recorded with %s %s, this is %s: results may differ", path, name, then, now.get(name))


def files_of(name: str, source: Source) -> Sequence[Path]:
    """Return the files that a source reads, none of a camera or URL."""
    if source.live or "://" in name:
        return []
    return source.paths if isinstance(source, Pictures) else [Path(name)]


def _describe(name: str, source: Source) -> Input:
    paths = files_of(name, source)
    if not paths:
        return Input(source=source.name, name=source.name, live=source.live, sha256={})
    found = {}
    for path in paths:
        try:
            found[str(path.absolute())] = sha256_of(path)
        except OSError:
            if not isinstance(source, Pictures):  # which skips and names what it cannot read
                raise
    return Input(source=str(Path(name).absolute()), name=source.name, live=False, sha256=found)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # such as another build of OpenCV
            found[name] = "unknown"
    return found
