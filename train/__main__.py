"""Command line of the train package: `python -m train fit CONFIG`, then `evaluate`, `export`, `explain` and more."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamer.commands.packages import check_packages

check_packages("engines")  # `python -m train` finds what lies in the current folder first

from engines.errors import UserError  # noqa: E402
from train.analysis.commands import analyze  # noqa: E402
from train.options import KINDS, DataPath, Folder, Overrides, SetName, Source, Split, with_data  # noqa: E402
from train.tasks import Asked, task_of  # noqa: E402

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, evaluate, explain and export the networks.")
app.add_typer(analyze, name="analyze")


@app.callback()
def main() -> None:
    """Train, evaluate, explain and export the networks."""
    logging.basicConfig(format="%(message)s")
    for name in ("train", "engines"):
        logging.getLogger(name).setLevel(logging.INFO)


@app.command()
def fit(
    config: Path,
    until: Annotated[int | None, typer.Option(min=1, help="End after this epoch; the next call goes on.")] = None,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Train one network from its YAML; goes on where a stopped run ended."""
    typer.echo(task_of(config).fit(config, Asked(overrides, until=until, data=data)))


@app.command()
def repeat(
    config: Path,
    seeds: Annotated[str | None, typer.Option(help="Train once for every seed, like 1,2,3,4,5.")] = None,
    folds: Annotated[bool, typer.Option("--folds", help="Train once for every fold of subjects.")] = False,
    split: Annotated[str | None, typer.Option(help="With --seeds: split to judge on, else validation.")] = None,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Train a configuration several times and report mean and standard deviation; a fold is judged on itself."""
    from streamer.config import load_config
    from train.expression.config import TrainConfig
    from train.expression.reports import repeat as repeats

    read = load_config(TrainConfig, config, with_data(overrides, data))
    if bool(seeds) == folds:
        raise UserError("expected one of --seeds and --folds")
    runs = repeats.with_folds(read) if folds else repeats.with_seeds(read, repeats.seeds_of(seeds or ""), split)
    found = repeats.repeat(read.name, runs)
    typer.echo(f"{found.name}: {100 * found.mean:.2f} ± {100 * found.deviation:.2f} % ({len(found.runs)} runs)")


@app.command()
def evaluate(
    source: Source,
    split: Split = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.md, report.json and the pictures.")] = None,
    data: DataPath = None,
    set_name: SetName = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Judge a network on a split: accuracy with its interval, classes, confusion, calibration."""
    task_of(source).evaluate(source, Asked(overrides, out, data=data, set_name=set_name, split=split))


@app.command()
def export(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="A configuration or checkpoint, several make one ensemble; or an exported model, for --int8."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="File to write; engines/zoo/NAME.FORMAT unless said.")] = None,
    suffix: Annotated[str, typer.Option("--format", help="onnx or pt2, where --out does not say.")] = "onnx",
    test: Annotated[bool, typer.Option("--test", help="Also report on the test split in the card.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also write NAME.int8.FORMAT, quantised; short for --set serve.int8=true.")
    ] = False,
    target: Annotated[
        str | None, typer.Option(help="'tensorrt': build the plan for this machine's GPU from a .pt2, into the cache.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the plan: f16, bf16, f32 or int8.")] = "f16",
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Write a network as one file with its spec inside, check it against its source, and write its card."""
    asked = Asked(overrides, out, data=data, test=test, int8=int8, target=target, precision=precision, suffix=suffix)
    typer.echo(task_of(sources[0]).export(sources, asked))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help=f"{KINDS}, or a folder or file with report or repeats.")],
    split: Split = None,
    out: Annotated[Path | None, typer.Option(help="Folder for compare.md, curves.png and epochs.json.")] = None,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """List runs side by side with the figures of the papers."""
    from train.expression.reports import compare as compared

    opened = [compared.open_run(run, split, with_data(overrides, data)) for run in runs]
    compared.show(opened)
    if out:
        compared.write(opened, out)


@app.command()
def explain(
    source: Source,
    out: Folder,
    split: Split = None,
    per_class: Annotated[int, typer.Option(help="Example pictures of each emotion.")] = 4,
    store: Annotated[bool, typer.Option("--store", help="Write rules and typical faces into the model file.")] = False,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Draw maps and typical faces, compare with Action Units, and write the rules that stand for the last layer."""
    from train.analysis import explain as report
    from train.expression.batches.rows import fitting_rows, some_rows
    from train.expression.open import open_classifier, open_gradients

    given = with_data(overrides, data)
    classifier = open_classifier(source, given, "f32")
    if store and source.suffix != ".onnx":
        raise UserError(f"--store {source}: expected a model (.onnx)")
    judged = classifier.split_of(split)
    fitting = None
    if judged != classifier.data.train:
        fitting = some_rows(fitting_rows(classifier.data, classifier.input, judged), 24_000)
    network = open_gradients(source, given)
    found = report.write(classifier, network, classifier.rows(judged), out, per_class, fitting)
    if store:
        from train.expression.export import store_explanation

        pictures = {label: one.encoded() for label, one in found.prototypes.items()}
        store_explanation(source, [one.rule for one in found.rules], pictures)
    typer.echo(out)


def run() -> None:
    """Run the command line; what a user can mend is one line and exit code 2, a broken promise 1, a bug a traceback."""
    try:
        app()
    except (UserError, OSError) as error:
        sys.exit(_fail(error, 2))
    except RuntimeError as error:
        sys.exit(_fail(error, 1))
    except ModuleNotFoundError as error:
        sys.exit(_fail(f'{error}; pip install "emotion-streamer[train]" has what training needs', 2))


def _fail(error: Exception | str, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    run()
