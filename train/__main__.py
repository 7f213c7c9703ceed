"""Command line of the train package: `python -m train fit CONFIG`, `evaluate`, `export`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from engines import ZOO
from streamer.config import load_config
from train.config import TrainConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, evaluate and export the networks.")
Overrides = Annotated[list[str], typer.Option("--set", help="Override a key of the configuration: a.b=value.")]
DataPath = Annotated[
    Path | None, typer.Option("--data", help="Folder of the data set: short for --set data.path=PATH.")
]
SetName = Annotated[str | None, typer.Option("--set-name", help="Name of the data set: short for --set data.set=NAME.")]
Source = Annotated[
    Path, typer.Argument(help="A configuration (.yaml), a checkpoint (.pt) or a model (.onnx, .xml, .pt2).")
]


@app.callback()
def main() -> None:
    """Train, evaluate and export the networks."""
    logging.basicConfig(format="%(message)s")
    for name in ("train", "engines"):
        logging.getLogger(name).setLevel(logging.INFO)


@app.command()
def fit(
    config: Path,
    until: Annotated[int | None, typer.Option(help="End after this epoch; the next call goes on.")] = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Train one network from its YAML; goes on where a stopped run ended."""
    from train.fit import fit as run

    typer.echo(run(load_config(TrainConfig, config, overrides), until))


@app.command()
def evaluate(
    source: Source,
    split: Annotated[str | None, typer.Option(help="Split to judge on; the validation split unless said.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, report.json and the pictures.")] = None,
    data: DataPath = None,
    set_name: SetName = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Judge a network on a split: accuracy with its interval, classes, confusion, calibration."""
    from train import report
    from train.classifier import open_classifier
    from train.evaluate import evaluate as judge

    classifier = open_classifier(source, _with_data(overrides, data, set_name))
    found = judge(classifier, split or classifier.data.validation)
    report.show(found)
    if out:
        report.write(found, out)


@app.command()
def export(
    sources: Annotated[list[Path], typer.Argument(help="A configuration or checkpoint; several make one ensemble.")],
    out: Annotated[Path | None, typer.Option(help="File to write; engines/zoo/NAME.FORMAT unless said.")] = None,
    suffix: Annotated[str, typer.Option("--format", help="onnx or pt2, where --out does not say.")] = "onnx",
    test: Annotated[bool, typer.Option("--test", help="Also report on the test split in the card.")] = False,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Write a network as one file with its spec inside, check it against its source, and write its card."""
    from train.export import export as run

    name = sources[0].stem if sources[0].stem != "checkpoint" else sources[0].parent.name
    typer.echo(run(sources, out or ZOO / f"{name}.{suffix}", _with_data(overrides, data, None), test=test))


def _with_data(overrides: list[str], data: Path | None, set_name: str | None) -> list[str]:
    given = [f"data.path={data}"] if data else []
    return [*given, *([f"data.set={set_name}"] if set_name else []), *overrides]


def run() -> None:
    """Run the command line; a wrong request or a missing file is one line and exit code 2."""
    try:
        app()
    except (ValueError, OSError) as error:
        sys.exit(_fail(error, 2))
    except RuntimeError as error:
        sys.exit(_fail(error, 1))


def _fail(error: Exception, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    run()
