"""Set runs side by side with the figures of the papers: one table, and the curves of their training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engines.errors import UserError
from train.expression.evaluate import evaluate
from train.expression.open import open_classifier
from train.expression.reports.report import to_json
from train.markdown import table

PAPERS = Path(__file__).with_name("papers.yaml")
REPORT = {"name", "data", "labels", "input", "made"}  # keys of reports and of repeats, and what each adds
MEASURED = ({"scores"}, {"mean", "deviation", "runs"})
HEAD = ("run", "data", "rows", "n", "accuracy", "95 % interval or deviation", "macro F1", "ms", "paper", "difference")
COLOURS, STYLES = 10, ("-", "--", ":", "-.")  # of curves: matplotlib knows ten colours by number
TRAINED = ("run", "labels", "rule", "epochs", "minutes", "loss", "validation", "best", "at epoch")


@dataclass(frozen=True)
class Figure:
    """Hold what a paper reports for a run like this: accuracy in percent and where it stands."""

    paper: str
    where: str
    accuracy: float


@dataclass(frozen=True)
class Run:
    """Hold a run as `report.json` or `repeats.json` tell it, and the figures of its epochs where they are known."""

    values: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]] = ()

    @property
    def name(self) -> str:
        """Return the run's name."""
        return str(self.values["name"])

    def traits(self) -> dict[str, Any]:
        """Return what an entry of `papers.yaml` may ask for."""
        seen = {key: self.values["input"][key] for key in ("region", "mode")}
        return {"set": self.values["data"], "labels": self.values["labels"], **seen, **self.values["made"]}


def open_run(source: Path, split: str | None, overrides: Sequence[str] = ()) -> Run:
    """Read a report or repeats, given as file or folder; judge anything else on a split (its validation split).

    Raises FileNotFoundError where a folder holds neither, UserError where a file is something else.
    """
    if source.is_dir():
        known = [source / name for name in ("report.json", "repeats.json") if (source / name).is_file()]
        if not known:
            raise FileNotFoundError(f"{source}: expected report.json or repeats.json in this folder, found neither")
        source = known[0]
    if source.suffix == ".json":
        return _read(source)
    classifier = open_classifier(source, overrides)
    return Run(to_json(evaluate(classifier, split or classifier.data.validation)), classifier.epochs)


def _read(source: Path) -> Run:
    """Read a report or repeats."""
    try:
        values = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{source}: not a readable JSON file: {error}") from error
    found = values.keys() if isinstance(values, Mapping) else set()
    if not any(found >= REPORT | measured for measured in MEASURED):
        raise UserError(
            f"{source}: expected what `train evaluate --out` or `train repeat` writes, found something else"
        )
    return Run(values)


def reference(run: Run, labels: str | None = None) -> Figure | None:
    """Return the papers' figure for a run like this, or None; labels: another label rule that it is judged by."""
    traits = run.traits() | ({"labels": labels} if labels else {})
    for entry in yaml.safe_load(PAPERS.read_text(encoding="utf-8")):
        figure = Figure(entry.pop("paper"), entry.pop("where"), entry.pop("accuracy"))
        if all(_fits(traits.get(key), wanted) for key, wanted in entry.items()):
            return figure
    return None


def _fits(found: Any, wanted: Any) -> bool:
    return found in wanted if isinstance(wanted, list) else found == wanted


def rows(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return the cells of every run: one line for each choice of rows, one for repeated runs."""
    cells = []
    for run in runs:
        if "mean" in run.values:
            spread = f"± {100 * run.values['deviation']:.2f} of {len(run.values['runs'])}"
            mean = float(run.values["mean"])
            cells.append(_cells(run, "", "", mean, spread, "", reference(run)))
            continue
        for name, scores in run.values["scores"].items():
            low, high = scores["interval"]
            spread = f"{100 * low:.2f}-{100 * high:.2f}"
            rows = f"{scores['rows']:,}"
            figure = reference(run, labels=name.partition(", ")[0])
            cells.append(_cells(run, name, rows, scores["accuracy"], spread, f"{scores['macro_f1']:.3f}", figure))
    return cells


def _cells(
    run: Run, name: str, count: str, accuracy: float, spread: str, macro_f1: str, figure: Figure | None
) -> tuple[str, ...]:
    milliseconds = run.values.get("milliseconds")
    return (
        run.name,
        f"{run.values['data']} {run.values.get('split', '')}".strip(),
        name,
        count,
        f"{100 * accuracy:.2f}",
        spread,
        macro_f1,
        f"{milliseconds:.2f}" if milliseconds else "",
        f"{figure.accuracy:.2f} ({figure.paper}, {figure.where})" if figure else "",
        f"{100 * accuracy - figure.accuracy:+.2f}" if figure else "",
    )


def training(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return the cells of runs whose epochs are known: loss and validation accuracy of the last, and the best."""
    cells: list[tuple[str, ...]] = []
    for run in runs:
        last = run.epochs[-1]
        accuracies = [line["validation_accuracy"] for line in run.epochs]
        best = max(accuracies)
        cells.append(
            (
                run.name,
                f"{run.values['data']} {run.values['labels']}",
                str(run.values["made"].get("rule", "")),
                str(len(run.epochs)),
                f"{sum(line.get('seconds', 0) for line in run.epochs) / 60:.0f}",
                f"{last['loss']:.3f}",
                f"{100 * last['validation_accuracy']:.2f}",
                f"{100 * best:.2f}",
                str(1 + accuracies.index(best)),
            )
        )
    return cells


def write(runs: Sequence[Run], folder: Path) -> None:
    """Write `compare.md`, and `curves.png` and `epochs.json` where epochs are known. Raises OSError where it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# Runs and papers\n\nAccuracy in percent.\n\n{table(HEAD, rows(runs))}\n"
    known = [run for run in runs if run.epochs]
    if known:
        draw_curves(known, folder / "curves.png")
        lines = {run.name: run.epochs for run in known}
        (folder / "epochs.json").write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")
        text += f"\n## Training\n\n{table(TRAINED, training(known))}\n"
        text += "\n![loss and validation accuracy by epoch](curves.png)\n"
    (folder / "compare.md").write_text(text, encoding="utf-8")


def draw_curves(runs: Sequence[Run], path: Path) -> None:
    """Draw training loss and validation accuracy of every run over its epochs (Rao & Li, Fig. 2 and 4)."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    canvas = Canvas(figsize=(11, 4.5), layout="constrained")
    for position, key in enumerate(("loss", "validation_accuracy"), start=1):
        axes = canvas.add_subplot(1, 2, position, xlabel="epoch", ylabel=key.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for at, run in enumerate(runs):
            lines = [line for line in run.epochs if key in line]
            axes.plot(
                range(1, len(lines) + 1),
                [line[key] for line in lines],
                f"C{at % COLOURS}",
                linestyle=STYLES[at // COLOURS % len(STYLES)],
                marker="." if len(lines) == 1 else None,
                label=f"{run.name} ({run.values['made'].get('rule')})",
            )
    handles, labels = canvas.axes[0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside right upper", fontsize="small")
    canvas.savefig(path, dpi=100)


def show(runs: Sequence[Run]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(*HEAD, title="accuracy in percent")
    for cells in rows(runs):
        shown.add_row(*cells)
    Console().print(shown)
