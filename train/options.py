"""Options that commands share, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from engines.errors import UserError

KINDS = "A configuration (.yaml), a checkpoint (.pt) or a model (.onnx, .xml, .pt2)"
SPLIT = "Split to judge on; the validation split unless said. Of several sets: validation or test."

Source = Annotated[Path, typer.Argument(help=f"{KINDS}.")]
Sources = Annotated[list[Path], typer.Argument(help=f"{KINDS}; several.")]
Folder = Annotated[Path, typer.Option("--out", help="Folder for tables and pictures.")]
Split = Annotated[str | None, typer.Option(help=SPLIT)]
Overrides = Annotated[list[str], typer.Option("--set", help="Override a key of the configuration: a.b=value.")]
DataPath = Annotated[Path | None, typer.Option("--data", help="Folder of the data set; short for --set data.path=.")]
SetName = Annotated[str | None, typer.Option("--set-name", help="Name of the data set; short for --set data.set=.")]


def with_data(overrides: Sequence[str], data: Path | None, set_name: str | None = None) -> list[str]:
    """Return overrides with those in front that --data and --set-name are short for."""
    given = [f"data.path={data}"] if data else []
    return [*given, *([f"data.set={set_name}"] if set_name else []), *overrides]


def refuse(what: str, given: Sequence[str]) -> None:
    """Raise UserError where options are given that would be ignored."""
    if given:
        raise UserError(f"{what}: expected it without {', '.join(given)}")
