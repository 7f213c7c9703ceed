"""`train analyze`: one command for each analysis; what they have in common is said once, by `analysis`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engines import ZOO
from engines.errors import UserError
from train.options import DataPath, Folder, Overrides, SetName, Source, Sources, Split, with_data

if TYPE_CHECKING:
    from train.data import FaceSet
    from train.expression.classifier import Classifier

analyze = typer.Typer(no_args_is_help=True, help="Analyses over whole splits, as the papers have them.")


@dataclass(frozen=True)
class Given:
    """Hold what every analysis is asked: which networks, on which rows, and where the answer is written."""

    sources: Sequence[Path]
    out: Path
    split: str | None
    overrides: Sequence[str]

    def open(self, source: Path | None = None, precision: str = "auto") -> Classifier:
        """Open one of the networks, the first unless said."""
        from train.expression.open import open_classifier

        return open_classifier(source or self.sources[0], self.overrides, precision)

    def rows(self, classifier: Classifier) -> FaceSet:
        """Load the labelled rows of the split that is asked for."""
        return classifier.rows(classifier.split_of(self.split))


def show(folder: Path, name: str) -> None:
    """Print the tables of an analysis."""
    typer.echo((folder / f"{name}.md").read_text(encoding="utf-8"))


def analysis(several: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a command of a function: the options that fill a `Given` stand around those that it takes beside it."""

    def common(source: Source, out: Folder, split: Split, data: DataPath, overrides: Overrides) -> None: ...
    def commons(sources: Sources, out: Folder, split: Split, data: DataPath, overrides: Overrides) -> None: ...

    def register(run: Callable[..., None]) -> Callable[..., None]:
        def command(out: Path, split: str | None, data: Path | None, overrides: list[str], **own: Any) -> None:
            sources = own.pop("sources", None) or [own.pop("source")]
            run(Given(sources, out, split, with_data(overrides, data)), **own)

        first = list(inspect.signature(commons if several else common, eval_str=True).parameters.values())
        first[2:] = [one.replace(default=[] if one.name == "overrides" else None) for one in first[2:]]
        parts = [*first, *list(inspect.signature(run, eval_str=True).parameters.values())[1:]]
        keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parts]
        command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parts}
        analyze.command(run.__name__, help=run.__doc__)(command)
        return run

    return register


@analysis()
def faithful(
    given: Given,
    faces: Annotated[int, typer.Option(min=2, help="The most faces, of those that are answered rightly.")] = 600,
) -> None:
    """Delete and insert what maps mark: whether they show what answers rest on, against chance and the centre."""
    from train.analysis import faithful as maps
    from train.expression.open import open_gradients

    classifier = given.open(precision="f32")
    network = open_gradients(given.sources[0], given.overrides)
    maps.write(classifier, network, given.rows(classifier), given.out, faces)
    show(given.out, "faithful")


@analysis(several=True)
def saliency(given: Given, faces: Annotated[int, typer.Option(min=1, help="The most faces.")] = 800) -> None:
    """Compare the gradient saliency of several networks, or of one run after several epochs (Rao & Li)."""
    from train.analysis import saliency as maps
    from train.expression.open import open_gradients

    found = []
    for source in given.sources:
        classifier, network = given.open(source, "f32"), open_gradients(source, given.overrides)
        if network is None:
            raise UserError(f"{source}: expected a checkpoint or an exported network (.onnx) in float, found another")
        epochs = len(classifier.epochs)
        name = f"{classifier.name} after epoch {epochs}" if epochs else source.stem  # int8 forms have no gradients
        found.append(maps.Source(name, network, given.rows(classifier)))
    maps.compare(maps.of_the_same_faces(found, faces), given.out)
    show(given.out, "saliency")


@analysis(several=True)
def regions(given: Given) -> None:
    """Compare the regions of the face: Tables 5 and 6, Figures 5 to 7 and the reliability of <emotion, region>."""
    from train.analysis import regions as views

    views.regions([given.open(source) for source in given.sources], given.split, given.out)
    show(given.out, "regions")


@analysis()
def grid(
    given: Given,
    per_class: Annotated[int, typer.Option(help="The most pictures of an emotion for the curves.")] = 40,
) -> None:
    """Hide the cells of a 4x4 grid and see what changes, and recognise from mouth and eyes alone."""
    from train.analysis import hidden_cells

    hidden_cells.write(given.open(), given.split, given.out, per_class)
    show(given.out, "grid")


@analysis(several=True)
def occlusion(
    given: Given,
    landmarks: Annotated[Path, typer.Option(help="Model file of the landmark network.")] = ZOO / "landmarks.onnx",
    occluders: Annotated[str | None, typer.Option(help="Families to draw, like hand,hair; all unless said.")] = None,
    most: Annotated[int, typer.Option(help="The most rows to judge; 0 takes all.")] = 0,
) -> None:
    """Draw occluders over faces: accuracy by family and hidden share, by the whole face and by what can be seen."""
    from train.analysis import occlusion as hidden
    from train.occluders import FAMILIES

    families = occluders.split(",") if occluders else tuple(FAMILIES)
    opened = [given.open(source) for source in given.sources]
    hidden.write(opened, landmarks, given.split, given.out, families, most)
    show(given.out, "occlusion")


@analysis()
def consistency(given: Given, set_name: SetName = None) -> None:
    """Count the answers that change with the picture alone: mirrored, turned, lit, compressed, small, blurred."""
    from train.analysis import consistency as changes
    from train.expression.batches.rows import judged_rows
    from train.expression.open import open_classifier

    judged = open_classifier(given.sources[0], with_data(given.overrides, None, set_name)).alone()
    for one in judged:
        rows = judged_rows(one.data, one.input, one.split_of(given.split))
        folder = given.out / one.name if len(judged) > 1 else given.out
        changes.write(one, rows[rows.labels >= 0], folder)
        show(folder, "consistency")


@analyze.command()
def prior(
    model: Annotated[Path, typer.Argument(help="An exported network of several sets (.onnx, .xml, .pt2).")],
    out: Folder,
    data: DataPath = None,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compare the priors that a network of several sets could answer for (serve.prior), on the validation splits."""
    from engines import load_engine
    from train.analysis import prior as shares
    from train.expression.open import open_classifier

    engine = load_engine(model, "expression")
    stated = engine.spec.prior
    engine.close()
    if not stated:
        raise UserError(f"{model}: expected a network of several sets, whose spec states its prior; found none in it")
    shares.write(open_classifier(model, with_data(overrides, data)), stated, out)
    show(out, "prior")


@analyze.command()
def groups(
    source: Source,
    photos: Annotated[Path, typer.Option(help="UTKFace: the folder of its pictures.")],
    out: Folder,
    overrides: Overrides = [],  # noqa: B006
) -> None:
    """Compare what is answered about people of several ages, genders and groups (UTKFace); nothing is labelled."""
    from train.analysis import groups as people
    from train.expression.batches.rows import judged_rows
    from train.expression.open import open_classifier

    wanted = [f"data.{key}={value}" for key, value in (("set", "utkface"), ("path", photos), ("labels", "none"))]
    wanted += ["data.sets=[]", "data.map={}", "data.finder=zoo", "input.face_box=detector"]
    one = open_classifier(source, [*wanted, *overrides])
    rows = judged_rows(one.data, one.input, "all")
    people.write(one.name, one.classify(rows.images), one.labels, rows, out)
    show(out, "groups")


@analyze.command()
def transfer(
    model: Annotated[Path, typer.Argument(help="A model (.onnx, .xml, .pt2).")],
    photos: Annotated[Path, typer.Option(help="LFW: folder of people, or of parquet files.")],
    out: Folder,
    most: Annotated[int, typer.Option(min=1, help="The most photos.")] = 1000,
) -> None:
    """Answer photos that nobody aligned, with and without finding the face first."""
    from engines import load_engine
    from train.analysis import transfer as photographed
    from train.data import load
    from train.expression.batches.rows import some_rows

    engine = load_engine(model, "expression")
    photographed.write(engine, some_rows(load("lfw", photos, "all", "none"), most), out)
    show(out, "transfer")
