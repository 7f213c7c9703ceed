"""Turn a trained detector into one artefact: uint8 pictures in, scores, boxes and points in pixels of the input out."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines import EngineSpec
from train import checkpoint
from train.detector import card
from train.detector.config import DetectorConfig
from train.detector.evaluate import choose_threshold
from train.detector.predict import predict
from train.detector.scores import at_threshold, average_precision, match
from train.detector.served import OUTPUTS, ServedDetector, graph_of
from train.detector.sets import Judged, scenes
from train.detector.start import build
from train.export import answers, provenance, publish, require_format

log = logging.getLogger(__name__)

LIKELY = 0.3  # score of the cells whose boxes are compared
PARITY = {"f32": (1e-3, 1e-3), "auto": (0.06, 0.06)}  # most that scores, and boxes in shares of their side, may differ


def export(config: DetectorConfig, out: Path) -> Path:
    """Write the network of a run with its threshold, check it against its source, and enter it into the manifest.

    Raises UserError where the configuration is not the run's own, RuntimeError where the artefact disagrees with the
    network; then nothing is written.
    """
    require_format(out, ("onnx",))
    network, epochs = checkpoint.of_run(config, build(config))
    judged = scenes(config)
    threshold, metrics = working_point(network, judged)
    served = ServedDetector(network, math.log(threshold / (1 - threshold)))
    shown = np.stack([picture.image for picture in judged[:8]])[..., :1]

    def check(unchecked: Path) -> dict[str, Any]:
        check_parity(served, unchecked, shown)
        return {"metrics": metrics}

    publish(out, describe(config, served, epochs), graph_of(served), check, card.write)
    return out


def describe(config: DetectorConfig, served: ServedDetector, epochs: int) -> EngineSpec:
    """Say what the artefact is."""
    return EngineSpec(
        name=config.name,
        task="detection",
        height=None,
        width=None,
        channels=1,
        outputs=OUTPUTS,
        training=provenance(config, served, epochs),
    )


def check_parity(served: ServedDetector, path: Path, images: NDArray[np.uint8]) -> None:
    """Compare scores, and the boxes of likely faces in shares of their side, with the network's: f32 and as served."""
    with torch.inference_mode():
        scores, boxes, _ = (part.numpy() for part in served(torch.from_numpy(images)))
    likely = scores > LIKELY
    for precision, found in answers(path, "detection", images, PARITY):
        most_score, most_box = PARITY[precision]
        sides = np.maximum((boxes[..., 2:] - boxes[..., :2]).max(axis=2), 1)
        score = float(np.abs(found["scores"] - scores).max())
        box = float((np.abs(found["boxes"] - boxes).max(axis=2) / sides)[likely].max(initial=0))
        log.info(
            "parity %s: scores differ by %.5f, boxes of %d cells by %.5f at most", precision, score, likely.sum(), box
        )
        if score > most_score or box > most_box:
            raise RuntimeError(
                f"{path.name} in {precision}: scores differ by {score:.4f}, boxes by {box:.4f} of their side; expected "
                f"at most {most_score:g} and {most_box:g}; it is not written"
            )


def working_point(network: nn.Module, judged: Sequence[Judged]) -> tuple[float, dict[str, float]]:
    """Choose the threshold on held-back scenes; return it with what it gives there."""
    images = np.stack([picture.image[..., 0] for picture in judged])
    found = predict(network, images)
    matches = [match(faces, one.faces, one.disputed) for faces, one in zip(found, judged, strict=True)]
    threshold = choose_threshold(matches)
    counts = at_threshold(matches, threshold)
    return threshold, {
        "scenes.average_precision": average_precision(matches),
        "scenes.recall": counts["recall"],
        "scenes.precision": counts["precision"],
        "scenes.faces": counts["faces"],
    }
