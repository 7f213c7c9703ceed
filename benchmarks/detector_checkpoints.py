"""Choose between networks of our detector, and see YuNet beside them, on what was held back from training.

Usage: python benchmarks/detector_checkpoints.py CONFIG --network NAME=FILE [...] [--set data.cache=... ...]

FILE is a checkpoint (.pt) or an artefact (.onnx) of any width. What is reported on is in `train/detector/sets.py`.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engines import load_engine
from streamer.config import load_config
from streamer.types import Detections
from train import checkpoint
from train.detector.batches.sources import prepared
from train.detector.config import Architecture, DetectorConfig
from train.detector.predict import predict
from train.detector.start import build, go_on_from
from train.detector.teacher import YuNet, look
from train.detector.validate import Finder, judge, trials


def network_of(path: Path, config: DetectorConfig) -> torch.nn.Module:
    """Build the network of a file, with the widths that it has."""
    if path.suffix == ".pt":
        saved = checkpoint.load(path)
        network = build(config.model_copy(update={"model": Architecture.model_validate(saved["config"]["model"])}))
        network.load_state_dict(saved["average"])
        return network.eval()
    engine = load_engine(path, "detection")
    sizes = {**engine.spec.training["config"]["model"], "normalised": False}
    engine.close()
    network = build(config.model_copy(update={"model": Architecture.model_validate(sizes)}))
    go_on_from(network, path)
    return network.eval()


def _search(network: torch.nn.Module, image: NDArray[np.uint8]) -> Detections:
    return predict(network, image[None])[0]


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--network", action="append", default=[])
    parser.add_argument("--yunet", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    options = parser.parse_args()
    config = load_config(DetectorConfig, options.config, options.overrides)
    finders: dict[str, Finder] = {}
    for entry in options.network:
        name, _, file = entry.rpartition("=")
        finders[name or Path(file).stem] = partial(_search, network_of(Path(file), config))
    if options.yunet:
        finders["YuNet"] = partial(look, YuNet(config.data.teacher), scale=1.0)
    sets = trials(prepared(config.data), config.data.fonts)
    found = {name: judge(find, sets) for name, find in finders.items()}
    print("| recall | " + " | ".join(found) + " |\n| --- " + "| --- " * len(found) + "|")
    for row in next(iter(found.values())):
        print(f"| {row} | " + " | ".join(f"{figures[row]:.3f}" for figures in found.values()) + " |")


if __name__ == "__main__":
    main()
