"""Judge expression networks, and the whole program with them, on sets that show faces in the wild.

Usage: python benchmarks/wild.py --data DATA [--networks zoo/face.onnx,NEW.onnx] [--sets rafdb,sfew] [--name NAME]

Below DATA lies one folder a set, named like it and laid out as docs/data.md says. A network is asked for the labels of
the set alone. 'picture' is the set's own picture; 'detector' the crop that `streamer photo` would take of its largest
face, or the picture where none is found. The program finds, cuts and answers by itself: no face is a wrong answer. The
test splits are for reports, never for choices.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import report
from numpy.typing import NDArray

from engines import Engine, load_engine
from streamer.build import in_zoo
from streamer.config import Config, load_config
from streamer.photo.analyst import Analyst
from train.data import FaceSet
from train.expression.batches.rows import judged_rows, read
from train.expression.classifier import Classifier
from train.expression.config import Data
from train.expression.open import open_classifier
from train.expression.scores import Scores, limited, measure

TESTS = {
    "fer": [("ferplus_seed", "private"), ("ferplus_majority", "private")],
    "rafdb": [("basic", "train:fifth")],
    "sfew": [("basic", "val")],
}
ENLARGED = {"fer"}  # sets whose pictures are too small for a detector
BATCH, ROUNDS = 8, 60


def judged(root: Path, sets: Sequence[str], networks: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Yield a line for each set and label rule, each network on the set's pictures, its crops, and as a program."""
    for name in sets:
        for rule, split in TESTS[name]:
            data = Data(set=name, path=root / name, labels=rule, validation=split, test=split, finder="zoo",
                        cache=root / "cache")  # fmt: skip
            rows = read(data, split)
            for network in networks:
                where = {"set": name, "labels": rule, "split": split, "network": network.name}
                classifier = replace(open_classifier(in_zoo(network)), data=data)
                for way in ("picture",) if name in ENLARGED else ("picture", "detector"):
                    yield {**where, "by": way, **figures(*on_crops(classifier, way, split), rows.classes), "no_face": 0}
                if name not in ENLARGED:
                    found, missed = by_program(network, rows)
                    yield {**where, "by": "program", **figures(found, rows.labels, rows.classes), "no_face": missed}


def on_crops(classifier: Classifier, way: str, split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return (N, labels of the set) probabilities and labels of the rows that have one, the faces cut one way."""
    rows = judged_rows(classifier.data, classifier.input.model_copy(update={"face_box": way}), split)
    rows = rows[rows.labels >= 0]
    return limited(classifier.classify(rows.images), classifier.labels, rows.classes), rows.labels


def by_program(network: Path, rows: FaceSet) -> tuple[NDArray[np.float32], int]:
    """Return what `streamer photo` says of the largest face of each picture, and in how many it finds none.

    (N, labels of the set) probabilities; all zero without a face, which is no label's answer.
    """
    config = load_config(Config, "photos", [f"classifier.model={network}"])
    found = np.zeros((len(rows), len(rows.classes)), np.float32)
    with Analyst(config) as analyst:
        for row, picture in enumerate(rows.images):
            faces = [face for face in analyst.look(picture, str(row)).faces if face.expression]
            if faces:
                largest = max(faces, key=lambda face: float(np.prod(face.box[2:] - face.box[:2])))
                assert largest.expression
                said = np.array([[largest.expression.probabilities[label] for label in rows.classes]], np.float32)
                found[row] = limited(said, rows.classes, rows.classes)[0] / max(said.sum(), 1e-12)
    return found, int((~found.any(axis=1)).sum())


def figures(probabilities: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    """Measure; a row without an answer is given another answer than its label, and is the least sure."""
    answered = probabilities.any(axis=1)
    wrong = np.eye(len(classes), dtype=np.float32)[(labels + 1) % len(classes)] * 1e-3
    scores: Scores = measure(np.where(answered[:, None], probabilities, wrong), labels, classes)
    return scores.to_json()


def times(networks: Sequence[Path]) -> dict[str, float]:
    """Return the median milliseconds a face of each network at batch 8 on one thread, measured in turns."""
    engines = {path.name: _forced(path) for path in networks}
    batches = {name: _noise(engine) for name, engine in engines.items()}
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            started = time.process_time()
            engine.infer(batches[name])
            taken[name].append(time.process_time() - started)
    for engine in engines.values():
        engine.close()
    return {name: 1000 * statistics.median(values) / BATCH for name, values in taken.items()}


def _forced(path: Path) -> Engine:
    return load_engine(in_zoo(path), "expression")


def _noise(engine: Engine) -> NDArray[np.uint8]:
    spec = engine.spec
    assert spec.height
    assert spec.width
    return np.random.default_rng(0).integers(0, 256, (BATCH, spec.height, spec.width, spec.channels), np.uint8)


def row_of(line: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a line by their column."""
    recalls = ", ".join(f"{name} {one['recall']:.2f}" for name, one in line["classes"].items() if one["rows"])
    return {
        "set": f"{line['set']} {line['split']} ({line['labels']})",
        "what answers": f"{line['network']}, {line['by']}",
        "rows": f"{line['rows']:,}",
        "accuracy, %": f"{100 * line['accuracy']:.2f} ({_span([100 * edge for edge in line['interval']], 2)})",
        "macro recall": f"{line['macro_recall']:.3f} ({_span(line['macro_recall_interval'], 3)})",
        "macro F1": f"{line['macro_f1']:.3f} ({_span(line['macro_f1_interval'], 3)})",
        "calibration error": f"{line['calibration_error']:.3f}",
        "surest 80 %": f"{100 * line['surest']:.2f}",
        "recall by label": recalls,
        "no face": str(line["no_face"]),
    }


def _span(edges: Sequence[float], digits: int) -> str:
    return "-".join(f"{edge:.{digits}f}" for edge in edges)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", default="zoo/face.onnx")
    parser.add_argument("--sets", default=",".join(TESTS))
    parser.add_argument("--name", default="wild", help="of the files in benchmarks/results")
    given = parser.parse_args()
    networks = [Path(name) for name in given.networks.split(",")]
    rows = [row_of(line) for line in judged(given.data, given.sets.split(","), networks)]
    speed = "; ".join(f"{name} {value:.3f} ms" for name, value in times(networks).items())
    notes = f"95 % intervals in brackets. CPU time a face at batch {BATCH}, in turns: {speed}."
    report.write(given.name, "Expressions in the wild", rows, notes)


if __name__ == "__main__":
    main()
