"""Command line of the train package: `python -m train fit CONFIG`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamer.config import load_config
from train.config import TrainConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, evaluate and export the networks.")
Overrides = Annotated[list[str], typer.Option("--set", help="Override a key of the configuration: a.b=value.")]


@app.callback()
def main() -> None:
    pass


@app.command()
def fit(config: Path, overrides: Overrides = []) -> None:  # noqa: B006
    """Train one network from its YAML; goes on where a stopped run ended."""
    from train.fit import fit as run

    typer.echo(run(load_config(TrainConfig, config, overrides)))


if __name__ == "__main__":
    app()
