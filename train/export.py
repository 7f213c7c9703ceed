"""What exports share: an artefact is written apart, checked as the analyzer loads it, and then put in its place."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines import EngineSpec, Outputs, Task, load_engine
from engines.errors import UserError
from engines.manifest import write_entry
from train.config import RunConfig

FORMATS = ("onnx", "pt2")
Write = Callable[[EngineSpec, Path], None]


def require_format(out: Path, formats: Sequence[str] = FORMATS) -> None:
    """Raise UserError where a file is not to be written in one of the formats."""
    if out.suffix.lstrip(".") not in formats:
        raise UserError(f"{out}: expected a name that ends in .{' or .'.join(formats)}")


def publish(
    out: Path,
    spec: EngineSpec,
    write: Write,
    check: Callable[[Path], dict[str, Any]],
    card: Callable[[EngineSpec, Path], str],
) -> EngineSpec:
    """Write an artefact, check it, and only then put it in its place, with its manifest entry and its card.

    write: writes the network with a spec to a path. check: raises where the file at a path disagrees with its network;
    returns the fields of the spec that it measured. card: returns the text of the card. Returns the spec that was
    written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".unchecked-") as folder:
        unchecked = Path(folder) / out.name
        write(spec, unchecked)
        if measured := check(unchecked):
            spec = spec.model_copy(update=measured)
            write(spec, unchecked)
        load_engine(unchecked, spec.task).close()
        unchecked.replace(out)
    write_entry(out)
    out.with_suffix(".md").write_text(card(spec, out), encoding="utf-8")
    return spec


def answers(
    path: Path, task: Task, images: NDArray[np.uint8], precisions: Iterable[str]
) -> Iterator[tuple[str, Outputs]]:
    """Yield what an artefact answers in each precision."""
    for precision in precisions:
        engine = load_engine(path, task, precision=precision)
        try:
            found = engine.infer(images)
        finally:
            engine.close()
        yield precision, found


def traced(served: nn.Module, example: NDArray[np.uint8], shapes: dict[int, Any]) -> Any:
    """Export a network that is called with (N, H, W, C) `images` as a program; shapes: its free axes."""
    with quiet():
        return torch.export.export(served, (torch.from_numpy(example),), dynamic_shapes={"images": shapes})


def onnx_writer(program: Any, outputs: Sequence[str]) -> Write:
    """Turn an exported program into ONNX; return what writes it with a spec inside to a path."""
    return partial(write_onnx, to_onnx(program, outputs))


def to_onnx(program: Any, outputs: Sequence[str]) -> Any:
    """Turn an exported program into an ONNX model that holds no path of this machine."""
    with quiet():
        graph = torch.onnx.export(
            program,
            dynamo=True,
            external_data=False,
            input_names=["images"],
            output_names=list(outputs),
            verbose=False,
        )
    if graph is None:
        raise RuntimeError("the ONNX exporter gave no graph")
    model = graph.model_proto
    # The exporter notes the source line of every node: half the text of the file, and paths of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
    del model.graph.value_info[:]
    model.producer_name, model.doc_string = "emotion-streamer", ""
    return model


def write_onnx(model: Any, spec: EngineSpec, path: Path) -> None:
    """Write an ONNX model with its spec inside."""
    import onnx

    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = "spec", spec.model_dump_json()
    onnx.checker.check_model(model)
    onnx.save(model, path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence what the exporter says about itself: missing torchvision, deprecations inside torch."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        warnings.simplefilter("ignore")
        exporter = logging.getLogger("torch.onnx")
        level = exporter.level
        exporter.setLevel(logging.ERROR)
        try:
            yield
        finally:
            exporter.setLevel(level)


def provenance(config: RunConfig, served: nn.Module, epochs: int) -> dict[str, Any]:
    """Say which configuration and commit made a network."""
    return {
        "parameters": sum(parameter.numel() for parameter in served.parameters()),
        "epochs": epochs,
        "seed": config.seed,
        "commit": commit(),
        "config": config.told(),
    }


def commit() -> str | None:
    """Return the commit of the source tree, with '-dirty' where files differ from it, or None outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
