"""`streamer log convert|validate|summary`."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from streamer.records.reading import problems, read_log, trusting
from streamer.records.summary import print_log_summary, summarise_log
from streamer.records.tables import Rows, convert

MOST_SHOWN = 20  # problems

app = typer.Typer(no_args_is_help=True, help="Convert, check and sum up logs.")
Log = Annotated[Path, typer.Argument(help="Log of a run, out.jsonl; its rotated parts belong to it.")]


@app.command("convert")
def convert_log(
    log: Log,
    table: Annotated[Path, typer.Argument(help="Table to write: out.csv, or out.parquet (extra `parquet`).")],
    rows: Annotated[Rows, typer.Option(help="What a row is.")] = "face",
    bom: Annotated[
        bool, typer.Option("--bom", help="Begin CSV with a byte order mark: Excel needs it to read umlauts.")
    ] = False,
) -> None:
    """Write a log as a table.

    `streamer log convert out.jsonl faces.parquet`
    """
    print(f"{table}: {convert(log, table, rows, bom=bom)} rows")


@app.command()
def validate(log: Log) -> None:
    """Check every record: schema, values, order, repetition. Exit code 1 where something is wrong."""
    found = list(islice(problems(log), MOST_SHOWN + 1))
    for problem in found[:MOST_SHOWN]:
        print(problem)
    if len(found) > MOST_SHOWN:
        print("... and more")
    if found:
        raise typer.Exit(1)
    print(f"{log}: valid")


@app.command()
def summary(
    log: Log, as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False
) -> None:
    """Show what a log holds: frames, faces, tracks, labels and troubles of every stream."""
    with trusting(log):
        figures = summarise_log(read_log(log))
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        print_log_summary(figures, Console(highlight=False))
