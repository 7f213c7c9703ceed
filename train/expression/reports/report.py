"""Write an evaluation as Markdown, JSON and PNG, and print it as a table."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from engines import tempered
from streamer.watching.machine import processor
from train.expression.evaluate import Evaluation
from train.expression.scores import BINS, Scores, calibration_bins, calibration_error, nll
from train.markdown import table


def write(found: Evaluation, folder: Path) -> None:
    """Write `report.md`, `report.json`, `confusion.png` and `calibration.png` into a folder.

    Raises OSError where it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(to_json(found), indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(to_markdown(found), encoding="utf-8")
    draw_confusion(found.first, folder / "confusion.png", f"{found.name}: {found.data.set} {found.split}")
    draw_calibration(found, folder / "calibration.png")


def to_json(found: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain values."""
    after = tempered(found.probabilities, found.temperature)
    return {
        "name": found.name,
        "data": found.data.set,
        "split": found.split,
        "labels": found.data.labels,
        "input": found.input.model_dump(mode="json"),
        "made": dict(found.made),
        "scores": {name: scores.to_json() for name, scores in found.scores.items()},
        "temperature": {"value": found.temperature, "fitted_on": found.data.validation},
        "after_temperature": {
            "calibration_error": calibration_error(after, found.truth),
            "nll": nll(after, found.truth),
        },
        "near_duplicates": found.near_duplicates,
        "milliseconds": found.milliseconds,
        "bytes": found.size,
        "measured": {"date": datetime.now(UTC).date().isoformat(), "machine": machine()},
    }


def machine() -> str:
    """Name the processor and system that measured."""
    return f"{processor()}, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


SUMMARY = (
    *("rows", "n", "accuracy", "95 % interval", "macro recall", "95 % interval", "macro F1", "95 % interval"),
    *("calibration error", "surest 80 %"),
)
CLASSES = ("class", "rows", "recall", "precision", "F1")


def to_markdown(found: Evaluation) -> str:
    """Write the report as Markdown."""
    confusion = [(name, *map(str, row)) for name, row in zip(found.labels, found.first.confusion, strict=True)]
    parts = [
        f"# {found.name} on {found.data.set} {found.split}",
        f"Measured {datetime.now(UTC).date()} on {machine()}.",
        summary_table(found),
        " ".join(calibration_lines(found)),
        class_table(found),
        "Confusion (rows: truth, columns: answer):",
        table(("", *found.labels), confusion),
        "![confusion](confusion.png) ![calibration](calibration.png)",
    ]
    return "\n\n".join([*parts, ""])


def summary_table(found: Evaluation) -> str:
    """Write the figures of every choice of rows as a Markdown table."""
    return table(SUMMARY, [summary(name, scores) for name, scores in found.scores.items()])


def class_table(found: Evaluation) -> str:
    """Write the figures of every class as a Markdown table."""
    return table(CLASSES, class_rows(found.first))


def summary(name: str, scores: Scores) -> tuple[str, ...]:
    """Return the cells that sum up one choice of rows."""
    low, high = scores.interval
    return (
        name,
        f"{scores.rows:,}",
        f"{100 * scores.accuracy:.2f} %",
        f"{100 * low:.2f}-{100 * high:.2f}",
        f"{scores.macro_recall:.3f}",
        "{:.3f}-{:.3f}".format(*scores.macro_recall_interval),
        f"{scores.macro_f1:.3f}",
        "{:.3f}-{:.3f}".format(*scores.macro_f1_interval),
        f"{scores.calibration_error:.3f}",
        f"{100 * scores.surest:.2f} %",
    )


def class_rows(scores: Scores) -> list[tuple[str, ...]]:
    """Return the cells of each class."""
    return [
        (name, f"{found.rows:,}", f"{found.recall:.3f}", f"{found.precision:.3f}", f"{found.f1:.3f}")
        for name, found in scores.classes.items()
    ]


def calibration_lines(found: Evaluation) -> list[str]:
    """Say how well confidence fits accuracy, what a temperature would still change, and what a picture costs."""
    first, after = found.first, tempered(found.probabilities, found.temperature)
    lines = [
        f"Calibration error {first.calibration_error:.4f} and NLL {first.nll:.4f} as answered; "
        f"{calibration_error(after, found.truth):.4f} and {nll(after, found.truth):.4f} with a further temperature of "
        f"{found.temperature:.3f}, fitted on '{found.data.validation}'.",
    ]
    if found.near_duplicates is not None:
        n = found.near_duplicates
        lines.append(f"{n} of the rows show a photo of the split '{found.data.train}' again, by perceptual hash.")
    if found.milliseconds is not None and found.size is not None:
        lines.append(f"{found.milliseconds:.2f} ms a picture (batch 8, one thread, median); {found.size / 1e6:.1f} MB.")
    return lines


def show(found: Evaluation) -> None:
    """Print the tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    rows = Table(*SUMMARY, title=f"{found.name}: {found.data.set} {found.split}")
    for name, scores in found.scores.items():
        rows.add_row(*summary(name, scores))
    classes = Table(*CLASSES)
    for row in class_rows(found.first):
        classes.add_row(*row)
    console.print(rows, classes, *calibration_lines(found))


def draw_confusion(scores: Scores, path: Path, title: str) -> None:
    """Draw the confusion matrix as shares of the truth, with the counts' rows named."""
    from matplotlib.figure import Figure

    names, counts = list(scores.classes), np.array(scores.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(1.5 + 0.7 * len(names), 1.2 + 0.7 * len(names)), layout="constrained")
    axes = figure.add_subplot(xlabel="answer", ylabel="truth", title=f"{title}, {100 * scores.accuracy:.2f} %")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), [f"{name} ({n})" for name, n in zip(names, counts.sum(axis=1), strict=True)])
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column, row, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.5 else "black"
        )
    figure.savefig(path, dpi=100)


def draw_calibration(found: Evaluation, path: Path) -> None:
    """Draw the reliability diagram: accuracy against confidence, and the share of the rows in each bin."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    error = found.first.calibration_error
    axes = figure.add_subplot(
        xlabel="confidence",
        ylabel="accuracy",
        title=f"{found.name}: calibration error {error:.3f}",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    middles = (np.arange(BINS) + 0.5) / BINS
    shares, confidence, accuracy = calibration_bins(found.probabilities, found.truth).T
    axes.bar(middles, shares, width=0.9 / BINS, color="lightgrey", label="share of the rows")
    filled = shares > 0
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1)
    axes.plot(confidence[filled], accuracy[filled], marker="o", label="accuracy")
    axes.legend()
    figure.savefig(path, dpi=100)
