"""Measure what live maps cost a tick of four faces, over classification and drawing alone.

Usage: python benchmarks/cam.py [--rounds 300] [--networks FILE...]

--networks: networks for the map alone (exports of configs/train/a_densenet.yaml or b_attention.yaml). Without any, a
DenseNet-BC with random weights is exported here: its time does not depend on them. It needs the extra `train`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import report

from engines import Engine, EngineSpec, load_engine
from streamer.build import load_classifier
from streamer.config import ClassifierConfig
from streamer.drawing.overlay import draw
from streamer.explain.maps import Explainer, MapSettings
from streamer.stages.express import Expresser
from streamer.stages.smoothing import ExpressionSettings
from streamer.types import Face, Frame, Result

# Four boxes of about a face's size; what is in them costs nothing.
BOXES = np.array([[x, y, x + 108, y + 130] for y in (50, 290) for x in (105, 425)], np.float32)


def untrained_densenet(folder: Path) -> Path:
    """Write DenseNet-BC with random weights as int8, as `python -m train export` would."""
    import torch

    from train.export import write_onnx
    from train.expression.quantise import quantised
    from train.expression.served import Served, graph_of
    from train.models.densenet import DenseNet

    torch.manual_seed(0)
    served = Served([DenseNet(8)])
    path = folder / "densenet.onnx"
    labels = load_classifier(ClassifierConfig()).spec.labels
    spec = EngineSpec(
        name="densenet-untrained",
        task="expression",
        height=64,
        width=64,
        channels=1,
        labels=labels,
        outputs=("probabilities", "features", "cam"),
    )
    graph_of(served, spec, np.zeros((2, 64, 64, 1), np.uint8), ".onnx")(spec, path)
    pictures = np.random.default_rng(0).integers(0, 255, (32, 64, 64, 1), np.uint8)
    quick = folder / "densenet.int8.onnx"
    write_onnx(quantised(path, pictures), spec.model_copy(update={"name": "densenet-untrained int8"}), quick)
    return quick


class Setting:
    """Run ticks of one way to explain; each tick is a new moment, so that all four faces are due."""

    def __init__(self, label: str, explainer: Explainer | None) -> None:
        self.label = label
        self.maps = explainer is not None
        self.express = Expresser(load_classifier(ClassifierConfig()), ExpressionSettings(), explainer)
        self.stage: list[float] = []
        self.drawing: list[float] = []

    def tick(self, image: np.ndarray[Any, Any], at: float) -> None:
        frame = Frame(image, "cam", 0, at, time.monotonic(), True)
        given = Result(frame, tuple(Face(row + 1, box, 0.9, at) for row, box in enumerate(BOXES)))
        started = time.perf_counter()
        [result] = self.express([given])
        classified = time.perf_counter()
        draw(result, maps=self.maps)
        self.stage.append(classified - started)
        self.drawing.append(time.perf_counter() - classified)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--networks", type=Path, nargs="*", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engines: list[Engine] = [
            load_engine(path, "expression") for path in options.networks or [untrained_densenet(Path(folder))]
        ]
    settings = [Setting("no map", None), Setting("own map of the classifier", Explainer(MapSettings()))]
    for engine in engines:
        name = "cam" if "cam" in engine.spec.outputs else "attention"
        explainer = Explainer(MapSettings(name=name, budget=10.0), engine)  # nothing is skipped: costs are measured
        settings.append(Setting(f"{engine.spec.name} ({name})", explainer))
    image = cv2.imread(str(files("streamer.demo") / "examples" / "two.jpg"))
    for number in range(options.rounds):  # in turn, so that other work on the machine meets all alike
        for one in settings:
            one.tick(image.copy(), number / 10)
    base = settings[0]
    rows = []
    for one in settings:
        stage, drawing = 1000 * np.median(one.stage[10:]), 1000 * np.median(one.drawing[10:])
        both = stage + drawing
        over = both - 1000 * (np.median(base.stage[10:]) + np.median(base.drawing[10:]))
        figures = {"classify and map ms": stage, "draw ms": drawing, "both ms": both, "over no map ms": over}
        rows.append({"map": one.label, **{name: round(float(value), 2) for name, value in figures.items()}})
    notes = "Medians a tick of four faces of about 110 pixels, all due, at 640x480; one thread; settings in turn."
    report.write("cam", "Cost of live maps", rows, notes)


if __name__ == "__main__":
    main()
