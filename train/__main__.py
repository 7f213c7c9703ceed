"""Command line of the train package: `python -m train fit CONFIG`, then `evaluate`, `export`, `explain` and more."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.commands.packages import check_packages

check_packages("engines")  # `python -m train` finds what lies in the current folder first

from engines import BACKENDS, ZOO  # noqa: E402
from engines.errors import UserError  # noqa: E402
from streamer.config import load_config  # noqa: E402
from train.expression.config import TrainConfig  # noqa: E402

if TYPE_CHECKING:
    from train.expression.classifier import Classifier

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Train, evaluate, explain and export the networks.")
analyze = typer.Typer(no_args_is_help=True, help="Analyses over whole splits, as the papers have them.")
app.add_typer(analyze, name="analyze")

Overrides = Annotated[list[str], typer.Option("--set", help="Override a key of the configuration: a.b=value.")]
DataPath = Annotated[Path | None, typer.Option("--data", help="Folder of the data set; short for --set data.path=.")]
SetName = Annotated[str | None, typer.Option("--set-name", help="Name of the data set; short for --set data.set=.")]
SPLIT = "Split to judge on; the validation split unless said. Of several sets: validation or test."
Split = Annotated[str | None, typer.Option(help=SPLIT)]
KINDS = "A configuration (.yaml), a checkpoint (.pt) or a model (.onnx, .xml, .pt2)"
Source = Annotated[Path, typer.Argument(help=f"{KINDS}.")]
Sources = Annotated[list[Path], typer.Argument(help=f"{KINDS}; several.")]
OTHER_TASK = "{}: configures no expression network; --set says all that there is to say"
Folder = Annotated[Path, typer.Option("--out", help="Folder for tables and pictures.")]


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
    from train.expression.fit import fit as run
    from train.tasks import task_of

    if task := task_of(config):
        _refuse(OTHER_TASK.format(config), {"--data": data})
        typer.echo(task.fit(config, overrides, until))
        return
    typer.echo(run(load_config(TrainConfig, config, _with_data(overrides, data, None)), until))


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
    from train.expression import repeat as repeats

    read = load_config(TrainConfig, config, _with_data(overrides, data, None))
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
    from train.tasks import task_of

    if task := task_of(source):
        _refuse(OTHER_TASK.format(source), {"--split": split, "--data": data, "--set-name": set_name})
        typer.echo(task.evaluate(source, overrides, out))
        return
    from train.expression import report
    from train.expression.classifier import open_classifier
    from train.expression.evaluate import evaluate as judge

    judged = open_classifier(source, _with_data(overrides, data, set_name)).alone()
    for one in judged:
        found = judge(one, split_of(one, split))
        report.show(found)
        if out:
            report.write(found, out / one.name if len(judged) > 1 else out)


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
    from train.tasks import task_of

    if task := task_of(sources[0]):
        given = {"--test": test, "--int8": int8, "--target": target, "--data": data, "--format": suffix != "onnx"}
        _refuse(OTHER_TASK.format(sources[0]), given | _named(sources[1:]))
        typer.echo(task.export(sources[0], overrides, out))
        return
    from train.expression.export import export as run
    from train.expression.export import export_int8

    if target:
        typer.echo(_build_plan(target, sources, out, precision, _with_data(overrides, data, None), test))
        return
    if int8 and sources[0].suffix in BACKENDS:
        from train.expression.classifier import open_classifier

        _refuse(f"{sources[0]}: its int8 form is written beside it", {"--out": out} | _named(sources[1:]))
        exported = open_classifier(sources[0], _with_data(overrides, data, None))
        typer.echo(export_int8(sources[0], exported.data, exported.input, test=test))
        return
    overrides = [*overrides, *(["serve.int8=true"] if int8 else [])]
    overrides = _with_data(overrides, data, None)
    typer.echo(run(sources, out or ZOO / f"{_name_of_run(sources[0], overrides)}.{suffix}", overrides, test=test))


def _name_of_run(source: Path, overrides: list[str]) -> str:
    """Return the name that a run's artefact has unless another is asked for."""
    from train.expression.classifier import read_run

    return read_run(source, overrides)[0].name.replace("/", "-")


def _build_plan(
    target: str, sources: list[Path], out: Path | None, precision: str, overrides: list[str], test: bool
) -> Path:
    """Export a network as `.pt2` where it is none yet, and build its TensorRT plan."""
    import platformdirs

    from engines.tensorrt import check_buildable, plan_of
    from train.expression.export import export as run

    if target != "tensorrt":
        raise UserError(f"--target {target}: expected tensorrt")
    check_buildable()
    model = sources[0]
    if model.suffix != ".pt2":
        overrides = [*overrides, *(["serve.int8=true"] if precision == "int8" else [])]
        model = run(sources, out or ZOO / f"{_name_of_run(model, overrides)}.pt2", overrides, test=test)
    return plan_of(model, precision, Path(platformdirs.user_cache_dir("emotion-streamer")))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help=f"{KINDS}, or a folder or file with report or repeats.")],
    split: Split = None,
    out: Annotated[Path | None, typer.Option(help="Folder for compare.md, curves.png and epochs.json.")] = None,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """List runs side by side with the figures of the papers."""
    from train.expression import compare as compared

    opened = [compared.open_run(run, split, _with_data(overrides, data, None)) for run in runs]
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
    from train.expression.classifier import open_classifier, open_gradients

    given = _with_data(overrides, data, None)
    classifier = open_classifier(source, given, "f32")
    if store and source.suffix != ".onnx":
        raise UserError(f"--store {source}: expected a model (.onnx)")
    judged = split or classifier.data.validation
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


@analyze.command()
def faithful(
    source: Source,
    out: Folder,
    split: Split = None,
    faces: Annotated[int, typer.Option(min=2, help="The most faces, of those that are answered rightly.")] = 600,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Delete and insert what maps mark: whether they show what answers rest on, against chance and the centre."""
    from train.analysis import faithful as faithfulness
    from train.expression.classifier import open_classifier, open_gradients

    given = _with_data(overrides, data, None)
    classifier = open_classifier(source, given, "f32")
    rows = classifier.rows(split or classifier.data.validation)
    faithfulness.write(classifier, open_gradients(source, given), rows, out, faces)
    typer.echo((out / "faithful.md").read_text(encoding="utf-8"))


@analyze.command()
def saliency(
    sources: Sources,
    out: Folder,
    split: Split = None,
    faces: Annotated[int, typer.Option(min=1, help="The most faces.")] = 800,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compare the gradient saliency of several networks, or of one run after several epochs (Rao & Li)."""
    from train.analysis import saliency as maps
    from train.expression.classifier import open_classifier, open_gradients

    given = _with_data(overrides, data, None)
    found = []
    for source in sources:
        classifier, network = open_classifier(source, given, "f32"), open_gradients(source, given)
        if network is None:
            raise UserError(f"{source}: expected a checkpoint or an exported network (.onnx) in float, found another")
        epochs, rows = len(classifier.epochs), classifier.rows(split or classifier.data.validation)
        name = f"{classifier.name} after epoch {epochs}" if epochs else source.stem  # int8 forms have no gradients
        found.append(maps.Source(name, network, rows))
    maps.compare(maps.of_the_same_faces(found, faces), out)
    typer.echo((out / "saliency.md").read_text(encoding="utf-8"))


@analyze.command()
def transfer(
    model: Annotated[Path, typer.Argument(help="A model (.onnx, .xml, .pt2).")],
    photos: Annotated[Path, typer.Option(help="LFW: folder of people, or of parquet files.")],
    out: Folder,
    most: Annotated[int, typer.Option(min=1, help="The most photos.")] = 1000,
) -> None:
    """Answer photos that nobody aligned, with and without finding the face first."""
    from engines import load_engine
    from train.analysis import transfer as transferring
    from train.data import load
    from train.expression.batches.rows import some_rows

    engine = load_engine(model, "expression")
    transferring.write(engine, some_rows(load("lfw", photos, "all", "none"), most), out)
    typer.echo((out / "transfer.md").read_text(encoding="utf-8"))


@analyze.command()
def consistency(
    source: Source,
    out: Folder,
    split: Split = None,
    data: DataPath = None,
    set_name: SetName = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Count the answers that change with the picture alone: mirrored, turned, lit, compressed, small, blurred."""
    from train.analysis import consistency as analysis
    from train.expression.batches.rows import judged_rows
    from train.expression.classifier import open_classifier

    judged = open_classifier(source, _with_data(overrides, data, set_name)).alone()
    for one in judged:
        rows = judged_rows(one.data, one.input, split_of(one, split))
        folder = out / one.name if len(judged) > 1 else out
        analysis.write(one, rows[rows.labels >= 0], folder)
        typer.echo((folder / "consistency.md").read_text(encoding="utf-8"))


@analyze.command()
def groups(
    source: Source,
    photos: Annotated[Path, typer.Option(help="UTKFace: the folder of its pictures.")],
    out: Folder,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compare what is answered about people of several ages, genders and groups (UTKFace); nothing is labelled."""
    from train.analysis import groups as analysis
    from train.expression.batches.rows import judged_rows
    from train.expression.classifier import open_classifier

    wanted = [f"data.{key}={value}" for key, value in (("set", "utkface"), ("path", photos), ("labels", "none"))]
    wanted += ["data.sets=[]", "data.map={}", "data.finder=zoo", "input.face_box=detector"]
    one = open_classifier(source, [*wanted, *overrides])
    rows = judged_rows(one.data, one.input, "all")
    analysis.write(one.name, one.classify(rows.images), one.labels, rows, out)
    typer.echo((out / "groups.md").read_text(encoding="utf-8"))


@analyze.command()
def regions(
    sources: Sources,
    out: Folder,
    split: Split = None,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compare the regions of the face: Tables 5 and 6, Figures 5 to 7 and the reliability of <emotion, region>."""
    from train.analysis import regions as analysis
    from train.expression.classifier import open_classifier

    given = _with_data(overrides, data, None)
    analysis.regions([open_classifier(source, given) for source in sources], split, out)
    typer.echo((out / "regions.md").read_text(encoding="utf-8"))


@analyze.command()
def grid(
    source: Source,
    out: Folder,
    split: Split = None,
    per_class: Annotated[int, typer.Option(help="The most pictures of an emotion for the curves.")] = 40,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Hide the cells of a 4x4 grid and see what changes, and recognise from mouth and eyes alone."""
    from train.analysis import hidden_cells as hiding
    from train.expression.classifier import open_classifier

    hiding.write(open_classifier(source, _with_data(overrides, data, None)), split, out, per_class)
    typer.echo((out / "grid.md").read_text(encoding="utf-8"))


@analyze.command()
def occlusion(
    sources: Sources,
    out: Folder,
    split: Split = None,
    landmarks: Annotated[Path, typer.Option(help="Model file of the landmark network.")] = ZOO / "landmarks.onnx",
    occluders: Annotated[str | None, typer.Option(help="Families to draw, like hand,hair; all unless said.")] = None,
    most: Annotated[int, typer.Option(help="The most rows to judge; 0 takes all.")] = 0,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Draw occluders over faces: accuracy by family and hidden share, by the whole face and by what can be seen."""
    from train.analysis import occlusion as analysis
    from train.expression.classifier import open_classifier
    from train.occluders import FAMILIES

    given = _with_data(overrides, data, None)
    families = occluders.split(",") if occluders else tuple(FAMILIES)
    analysis.write([open_classifier(source, given) for source in sources], landmarks, split, out, families, most)
    typer.echo((out / "occlusion.md").read_text(encoding="utf-8"))


def split_of(classifier: Classifier, wanted: str | None) -> str:
    """Return the split that is wanted: of several sets each has names of its own for validation and test."""
    own = {"validation": classifier.data.validation, "test": classifier.data.test} if classifier.apart else {}
    return own.get(wanted or "validation", wanted or classifier.data.validation)


def _refuse(what: str, given: Mapping[str, object]) -> None:
    """Raise UserError where options are given that would be ignored."""
    if named := [name for name, value in given.items() if value]:
        raise UserError(f"{what}: expected it without {', '.join(named)}")


def _named(sources: Sequence[Path]) -> dict[str, object]:
    return {str(source): True for source in sources}


def _with_data(overrides: list[str], data: Path | None, set_name: str | None) -> list[str]:
    given = [f"data.path={data}"] if data else []
    return [*given, *([f"data.set={set_name}"] if set_name else []), *overrides]


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
