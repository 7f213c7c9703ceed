"""Write the model card of an artefact from what was measured on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines import EngineSpec, tempered
from engines.manifest import sha256_of
from train.expression.evaluate import Evaluation, chosen_by, pooled
from train.expression.reports.report import class_table, machine, summary_table
from train.expression.scores import Scores, calibration_error, reliability
from train.markdown import table

INTENDED = """Labelling the facial expression that a picture shows, for demonstrations, research and interfaces that say
that they do so. The input is one face cut out as described above. Probabilities are calibrated on the validation
split."""

VIEWS = """Accuracy in percent where {shown}; pictures in which no
landmarks were found are shown whole. The answers to each region have a temperature of their own, in the spec."""
ALONE = "the network is shown one region of each face and nothing else"
REST_HIDDEN = "those of eyes, nose and mouth that a region lacks are hidden"

TERMS = {
    "fer": "the pictures of FER2013, released for research, with the labels of FER+ (MIT)",
    "rafdb": "RAF-DB, for non-commercial research alone",
    "sfew": "SFEW 2.0, stills of films, for research alone",
}

LIMITS = """An expression is not a feeling: people smile in anger and frown in thought. The labels are what annotators
saw in the pictures of the sets above; ages, origins and poses are not balanced, and no measurement here says how
accuracy differs between groups of people. Rare classes rest on few rows (the tables say how many). Side views,
faces below about 24 pixels, masks and hands over the mouth are outside what was measured. Not for decisions about
people: hiring, schooling, policing, medicine, insurance."""


def write(found: Sequence[Evaluation], spec: EngineSpec, path: Path) -> str:
    """Return the card as Markdown; `found` holds the validation split first."""
    parts = [f"# {path.name}", *_summary(spec, found, path), "## Data", *_data(spec)]
    if spec.views:
        parts += [
            "## Each region",
            VIEWS.format(shown=REST_HIDDEN if spec.crop.mode == "mask" else ALONE),
            _views(found),
        ]
    for evaluation in (one for one in found if one.input.region == found[0].input.region):
        way = f", cut by {evaluation.input.face_box}" if spec.training["data"].get("sets") else ""
        parts += [f"## Measured on {evaluation.data.set} {evaluation.split}{way}", *_measured(spec, evaluation)]
    chosen = chosen_by(found)
    where = ", ".join(dict.fromkeys(f"{one.data.set} {one.split}" if len(chosen) > 1 else one.split for one in chosen))
    parts += [f"## Reliability of each answer, on {where}", _reliability(pooled(chosen))]
    return "\n\n".join([*parts, "## Intended use", INTENDED, "## Limits", LIMITS, *_terms(spec), ""])


def _terms(spec: EngineSpec) -> list[str]:
    """Say under which terms the pictures were released that the weights learned from, as far as it is known."""
    data = spec.training["data"]
    known = [TERMS[one] for one in (each["set"] for each in data.get("sets") or [data]) if one in TERMS]
    return ["## Terms", f"The code is Apache-2.0. The weights learned from {'; '.join(known)}."] if known else []


def _views(found: Sequence[Evaluation]) -> str:
    """List every region on every split, by each choice of rows."""
    kinds = list(dict.fromkeys(kind for one in found for kind in one.scores))
    head = ("region", "split", *kinds, "calibration error")
    lines = [
        (
            one.input.region,
            one.split,
            *(f"{100 * one.scores[kind].accuracy:.2f}" if kind in one.scores else "" for kind in kinds),
            f"{one.first.calibration_error:.3f}",
        )
        for one in found
    ]
    return table(head, lines)


def _summary(spec: EngineSpec, found: Sequence[Evaluation], path: Path) -> list[str]:
    crop, milliseconds = spec.crop, found[0].milliseconds or 0.0
    free = " a face, or a whole picture of any size" if spec.resizable else ""
    size = f"{spec.width}x{spec.height} pixels{free}, {'grey' if spec.channels == 1 else 'BGR'}"
    return [
        f"Expression of a face: {', '.join(spec.labels)}.",
        f"Input: uint8, {size}; region {crop.region}, margin {crop.margin:g} of its longer side, moved down by "
        f"{crop.shift_y:g}, padding {crop.padding}. Outputs: {', '.join(spec.outputs)}. "
        f"Temperature {spec.temperature:.3f} is inside the graph.",
        f"{path.stat().st_size / 1e6:.1f} MB; {milliseconds:.2f} ms a face (batch 8, one thread, median; {machine()}). "
        f"sha256 `{sha256_of(path)}`.",
    ]


def _data(spec: EngineSpec) -> list[str]:
    data, rows, config = (spec.training[key] for key in ("data", "rows", "config"))
    made = (
        f"Network `{config['model']['name']}` ({spec.training['networks']} of them), seed {spec.training['seed']}, "
        f"source `{spec.training['commit']}`; the whole configuration is in the artefact's spec."
    )
    if data.get("sets"):
        return [*_several(spec), made]
    loss = "label distributions" if config["loss"] == "distribution" else "single labels"
    return [
        f"Trained on `{data['set']}`, split `{data['train']}`, label rule `{data['labels']}`, loss on {loss}: "
        f"{rows['used']:,} rows of {rows['read']:,} ({rows['unlabelled']:,} without a usable label and "
        f"{rows['twins']:,} pixel-identical to a validation or test row left out). Every choice was made on "
        f"`{data['validation']}`; `{data['test']}` was only reported on.",
        made,
    ]


def _several(spec: EngineSpec) -> list[str]:
    """Say which sets a network learned at once, and for which prior it answers."""
    data = spec.training["data"]
    lines = [
        (one["set"], one["labels"], one["train"], f"{one['share']:g}", one["loss"],
         *(f"{rows[key]:,}" for key in ("read", "unlabelled", "near judged", "used")), one["validation"], one["test"])
        for one, rows in zip(data["sets"], spec.training["rows"].values(), strict=True)
    ]  # fmt: skip
    head = (
        *("set", "labels", "trained on", "share", "targets", "read", "no label", "photo of a judged row", "used"),
        *("chosen by", "reported on"),
    )
    apart = ", ".join(f"`{one['set']}`" for one in data.get("judged", ()))
    prior = ", ".join(f"{name} {share:.3f}" for name, share in spec.prior.items())
    return [
        "Trained on several sets at once; rows that show a photo of a row chosen by or reported on, by perceptual "
        "hash, are left out.",
        table(head, lines),
        *([f"No photo of {apart} was trained on either."] if apart else []),
        "A set's loss knows its own labels alone, and its prior is taken out of it (logit adjustment, Menon et al. "
        f"2021, tau {spec.training['config']['prior']['tau']:g}): the answers are for the prior {prior}.",
    ]


def _measured(spec: EngineSpec, found: Evaluation) -> list[str]:
    before = calibration_error(tempered(found.probabilities, 1 / spec.temperature), found.truth)
    return [
        summary_table(found),
        f"Calibration error without temperature {before:.4f}, with it {found.first.calibration_error:.4f}.",
        class_table(found),
    ]


def _reliability(found: Scores) -> str:
    lines = ["| answer | precision | 95 % Wilson interval | answers |", "| --- | --- | --- | --- |"]
    for name, row in reliability(found).items():
        lines.append(f"| {name} | {row['precision']:.3f} | {row['low']:.3f}-{row['high']:.3f} | {row['answers']:,} |")
    return "\n".join(lines)
