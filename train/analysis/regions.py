"""What the regions of the face tell about each emotion (Lian et al., section 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import UserError
from streamer.drawing.heat import heated
from train.analysis import embedding
from train.analysis.maps import draw_grid, surest
from train.data import FaceSet
from train.expression.classifier import Classifier
from train.expression.evaluate import Evaluation, evaluate
from train.expression.reports.compare import Figure, Run, reference
from train.expression.reports.report import draw_confusion, to_json
from train.expression.scores import reliability
from train.markdown import table

REGIONS = ("mouth", "nose", "eyes", "nose_mouth", "nose_eyes", "mouth_eyes", "face")
KINDS = {"pad": "", "mask": ", the rest hidden"}  # input modes in which a region is seen whole
SETS = {"FER+": ("fer", "ferplus"), "RAF-DB": ("rafdb",), "ExpW": ("expw",)}
POINTS = 1500  # of a t-SNE picture
PER_CLASS = 5  # pictures of a class in a grid


def regions(classifiers: Sequence[Classifier], split: str | None, folder: Path) -> dict[str, Any]:
    """Write Tables 5 and 6, the reliability of every <emotion, region> and Figures 5 to 7 for the given networks.

    split: what accuracy is reported on, each network's validation split unless said; reliability is always measured on
    the validation split. Returns what `regions.json` holds. Raises UserError where two networks are of one kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str, str], Evaluation] = {}
    chosen: dict[tuple[str, str, str], Evaluation] = {}
    for classifier in (view for one in classifiers for view in one.views()):
        kind = (classifier.data.set, classifier.input.region, classifier.input.mode)
        if kind in found:
            raise UserError(f"{classifier.name}: another network for {' '.join(kind)} was given before")
        found[kind] = evaluate(classifier, split or classifier.data.validation)
        same = found[kind].split == classifier.data.validation
        chosen[kind] = found[kind] if same else evaluate(classifier, classifier.data.validation)
        draw(classifier, found[kind], folder, "-".join(kind))
    values = {
        "accuracy": {" ".join(kind): to_json(one) for kind, one in found.items()},
        "reliability": {" ".join(kind): reliability(one.first) for kind, one in chosen.items()},
    }
    (folder / "regions.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "regions.md").write_text(to_markdown(found, chosen), encoding="utf-8")
    return values


def to_markdown(
    found: Mapping[tuple[str, str, str], Evaluation], chosen: Mapping[tuple[str, str, str], Evaluation]
) -> str:
    """Write the tables as Markdown; columns without data stay empty."""
    splits = ", ".join(sorted({f"{one.data.set} {one.split} ({one.data.labels})" for one in found.values()}))
    parts = [
        "# Regions of the face",
        f"Accuracy in percent on {splits}; the paper's figure in brackets.",
        "## Table 5: non-padding and padding",
        table(("region", *(f"{name} {mode}" for name in SETS for mode in ("non-padding", "padding"))), _table_5(found)),
        "## Table 6: accuracy of the regions",
        "Regions cut out and padded; then a network that sees all of the face but the parts that a region lacks.",
        table(("region", *(f"{name}{kind}" for name in SETS for kind in KINDS.values())), _table_6(found)),
        "## Reliability of each <emotion, region>",
        "Precision of the answer on the validation split, its 95 % Wilson interval and the number of answers.",
        *(_reliability(name, mode, chosen) for name in SETS for mode in KINDS),
        "Pictures: `confusion-*.png` (Figures 5, 7), `tsne-*.png` (Figure 5), `cam-*.png` (Figure 6).",
    ]
    return "\n\n".join([*(part for part in parts if part), ""])


def _table_5(found: Mapping[tuple[str, str, str], Evaluation]) -> list[tuple[str, ...]]:
    modes = ("centre", "pad")
    return [(region, *(_cell(found, name, region, mode) for name in SETS for mode in modes)) for region in REGIONS]


def _table_6(found: Mapping[tuple[str, str, str], Evaluation]) -> list[tuple[str, ...]]:
    return [(region, *(_cell(found, name, region, mode) for name in SETS for mode in KINDS)) for region in REGIONS]


def _cell(found: Mapping[tuple[str, str, str], Evaluation], name: str, region: str, mode: str) -> str:
    for data_set in SETS[name]:
        if (one := found.get((data_set, region, mode))) is not None:
            figure = reference(Run(to_json(one)))
            return f"{100 * one.first.accuracy:.2f}{_bracket(figure)}"
    return ""


def _bracket(figure: Figure | None) -> str:
    return f" ({figure.accuracy:.2f})" if figure else ""


def _reliability(name: str, wanted: str, chosen: Mapping[tuple[str, str, str], Evaluation]) -> str:
    own = {region: one for (data, region, mode), one in chosen.items() if data in SETS[name] and mode == wanted}
    if not own:
        return ""
    columns = {region: reliability(own[region].first) for region in REGIONS if region in own}
    labels = next(iter(own.values())).labels
    lines = [(label, *(_share(column.get(label)) for column in columns.values())) for label in labels]
    return f"{name}{KINDS[wanted]}:\n\n{table(('answer', *columns), lines)}"


def _share(row: Mapping[str, float] | None) -> str:
    if row is None:
        return "never"
    return f"{row['precision']:.3f} ({row['low']:.3f}-{row['high']:.3f}, {row['answers']:.0f})"


def draw(classifier: Classifier, found: Evaluation, folder: Path, name: str) -> None:
    """Draw confusion, t-SNE of the features and, where the network has maps, CAM examples of every emotion."""
    draw_confusion(found.first, folder / f"confusion-{name}.png", f"{classifier.name}: {found.split}")
    rows = classifier.rows(found.split)
    part = spread(len(rows), POINTS)
    outputs = classifier.infer(rows.images[part])
    if "features" in outputs:
        places = embedding.embed(outputs["features"])
        embedding.draw(places, rows.labels[part], found.labels, folder / f"tsne-{name}.png", classifier.name)
    examples = {label: surest(found.probabilities, found.truth, i, PER_CLASS) for i, label in enumerate(found.labels)}
    examples = {label: numbers for label, numbers in examples.items() if len(numbers)}
    if "cam" in outputs and examples:
        draw_grid(
            {label: _cams(classifier, rows, numbers, found.labels.index(label)) for label, numbers in examples.items()},
            folder / f"cam-{name}.png",
        )


def _cams(classifier: Classifier, rows: FaceSet, numbers: Any, label: int) -> list[Any]:
    maps = classifier.infer(rows.images[numbers])["cam"][:, label]
    return [heated(picture, heat) for picture, heat in zip(rows.images[numbers], maps, strict=True)]


def spread(n: int, count: int) -> Any:
    """Return at most `count` row numbers spread evenly over 0..n-1."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(int))
