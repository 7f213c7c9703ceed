"""Judge detectors side by side on the same pictures: ours, dlib's HOG and YuNet."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import Engine, load_engine
from streamer.faces.decode import YUNET
from streamer.faces.detect import Detector, HogDetector, YuNetDetector, ZooDetector
from streamer.types import Detections
from train.detector.config import DetectorConfig
from train.detector.scores import Match, at_threshold, average_precision, curve, match, recall_at_alarms
from train.detector.sets import SETS, TRUSTED, Judged

LOWEST = 0.05  # score down to which answers are collected
SIZES = ((0.0, 10.0), (10.0, 20.0), (20.0, 40.0), (40.0, 80.0), (80.0, np.inf))
ALARMS = 0.02  # answers on no face, a scene of held-back people, at the working point
WORKING = 0.5  # score of ours and of HOG from which the analyzer starts to follow a face


@dataclass(frozen=True, eq=False)
class Judgement:
    """Hold how one detector did on one set: answers and how they fit, by picture; median milliseconds a picture."""

    detector: str
    threshold: float
    found: list[Detections]
    matches: list[Match]
    milliseconds: float


def evaluate(model: Path, config: DetectorConfig, out: Path | None = None) -> str:
    """Run all detectors over all sets and return the tables as Markdown; write curves and pictures to `out` too."""
    engine = load_engine(model, "detection")
    yunet = load_engine(config.data.teacher, "detection", spec=YUNET)
    try:
        tables = []
        for name, read in SETS.items():
            judged = read(config)
            found = [
                judge(title, detector, threshold, judged)
                for title, (detector, threshold) in rivals(engine, yunet, name in ("groups", "halved")).items()
            ]
            tables.append(table(name, len(judged), [figures(judgement) for judgement in found]))
            if out:
                write(out, name, judged, found)
        report = "\n".join([f"# {engine.spec.name}", "", *tables])
        if out:
            (out / "report.md").write_text(report, encoding="utf-8")
        return report
    finally:
        engine.close()
        yunet.close()


def rivals(engine: Engine, yunet: Engine, small: bool) -> dict[str, tuple[Detector, float]]:
    """Return detectors with their working thresholds; `small` adds ours in tiles of an enlarged picture.

    All but 'as it comes' see one copy: it is the networks that are compared.
    """
    ours = ZooDetector(engine, ZooDetector.SMALLEST, LOWEST, coarse=())
    found: dict[str, tuple[Detector, float]] = {
        "ours": (ours, WORKING),
        "ours, as it comes": (ZooDetector(engine, threshold=LOWEST), WORKING),
        "HOG": (HogDetector(HogDetector.WINDOW, 0.3), WORKING),
        "YuNet": (YuNetDetector(yunet, YuNetDetector.SMALLEST, LOWEST, coarse=()), TRUSTED),
    }
    if small:
        twice, tile = ZooDetector.SMALLEST // 2, 640
        found["ours, enlarged twice"] = (ZooDetector(engine, twice, LOWEST, coarse=()), WORKING)
        found["ours, tiled"] = (ZooDetector(engine, twice, LOWEST, tile), WORKING)
    return found


def judge(title: str, detector: Detector, threshold: float, judged: Sequence[Judged]) -> Judgement:
    """Let one detector search every picture by itself."""
    found, seconds = [], []
    for picture in judged:
        started = time.perf_counter()
        found += detector.detect([picture.image])
        seconds.append(time.perf_counter() - started)
    matches = [match(faces, one.faces, one.disputed) for faces, one in zip(found, judged, strict=True)]
    return Judgement(title, threshold, found, matches, 1e3 * float(np.median(seconds)))


def choose_threshold(matches: Sequence[Match], alarms: float = ALARMS) -> float:
    """Return the lowest score, in steps of 0.01, with no more answers a picture than that which lie on no face."""
    wrong = np.concatenate([one.scores[one.stray] for one in matches])
    steps = np.arange(5, 96) / 100
    few = [step for step in steps if (wrong >= step).sum() <= alarms * len(matches)]
    return float(few[0] if few else steps[-1])


def figures(judgement: Judgement) -> dict[str, Any]:
    """Return the measures of one detector on one set."""
    recall, threshold = recall_at_alarms(judgement.matches, 1.0)
    sizes = {
        f"{low:g}-{high:g}": at_threshold(judgement.matches, judgement.threshold, (low, high)) for low, high in SIZES
    }
    return {
        "detector": judgement.detector,
        "threshold": judgement.threshold,
        **at_threshold(judgement.matches, judgement.threshold),
        "average_precision": average_precision(judgement.matches),
        "recall_at_one_alarm": recall,
        "threshold_at_one_alarm": threshold,
        "milliseconds": judgement.milliseconds,
        "sizes": {name: counts for name, counts in sizes.items() if counts["faces"]},
    }


def write(out: Path, name: str, judged: Sequence[Judged], judgements: Sequence[Judgement]) -> None:
    """Write NAME.json and NAME.png (curves), and pictures with the answers to a folder NAME."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    rows = [figures(judgement) for judgement in judgements]
    (out / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    _draw_curves(out / f"{name}.png", name, judgements)
    for number, picture in enumerate(judged):
        shown = draw(picture, judgements[0].found[number], judgements[0].threshold)
        cv2.imwrite(str(folder / f"{Path(picture.name).stem}.jpg"), shown)


def table(name: str, pictures: int, rows: Sequence[dict[str, Any]]) -> str:
    """Return the figures of one set as Markdown."""
    lines = [
        f"## {name}: {pictures} pictures, {rows[0]['faces']} faces",
        "",
        "| detector | score | recall | found | false alarms | precision | AP 0.5 | recall at 1 alarm a picture | ms |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['detector']} | {row['threshold']:.2f} | {row['recall']:.3f} | {row['found']} | {row['alarms']} | "
            f"{row['precision']:.3f} | {row['average_precision']:.3f} | {row['recall_at_one_alarm']:.3f} | "
            f"{row['milliseconds']:.1f} |"
        )
    lines += ["", "| recall by longer side, px | " + " | ".join(rows[0]["sizes"]) + " |"]
    lines.append("| --- " * (1 + len(rows[0]["sizes"])) + "|")
    for row in rows:
        cells = (f"{size['recall']:.3f} ({size['found']}/{size['faces']})" for size in row["sizes"].values())
        lines.append(f"| {row['detector']} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", ""])


def draw(picture: Judged, found: Detections, threshold: float) -> NDArray[np.uint8]:
    """Draw faces white, disputed places grey, right answers green and wrong ones red."""
    image = picture.image.copy()
    shown = found[found.scores >= threshold]
    fit = match(shown, picture.faces, np.zeros((0, 4), np.float32))
    for boxes, colour in ((picture.faces, (255, 255, 255)), (picture.disputed, (128, 128, 128))):
        for x0, y0, x1, y1 in boxes.round().astype(int).tolist():
            cv2.rectangle(image, (x0, y0), (x1, y1), colour, 1)
    ordered = shown[np.argsort(-shown.scores, kind="stable")]
    for box, right in zip(ordered.boxes.round().astype(int).tolist(), fit.right, strict=True):
        cv2.rectangle(image, (box[0], box[1]), (box[2], box[3]), (0, 200, 0) if right else (0, 0, 255), 1)
    return image


def _draw_curves(path: Path, name: str, judgements: Sequence[Judgement]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4))
    axes = figure.subplots()
    for judgement in judgements:
        recall, precision, _ = curve(judgement.matches)
        axes.plot(recall, precision, label=f"{judgement.detector} ({average_precision(judgement.matches):.3f})")
    axes.set(xlabel="recall", ylabel="precision", title=name, xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
