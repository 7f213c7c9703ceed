"""Turn a trained detector into one artefact: uint8 pictures in, scores, boxes and points in pixels of the input out."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import EngineSpec, load_engine
from engines.errors import UserError
from engines.manifest import write_entry
from train import checkpoint
from train.detector import card
from train.detector.config import DetectorConfig
from train.detector.evaluate import choose_threshold
from train.detector.predict import predict
from train.detector.scores import at_threshold, average_precision, match
from train.detector.sets import Judged, scenes
from train.detector.start import build
from train.expression.export import commit, quiet, to_onnx, write_onnx

log = logging.getLogger(__name__)

OUTPUTS = ("scores", "boxes", "points")
LARGEST = 512  # times 32 pixels: the longest side that the graph takes
LIKELY = 0.3  # score of the cells whose boxes are compared
PARITY = {"f32": (1e-3, 1e-3), "auto": (0.06, 0.06)}  # most that scores, and boxes in shares of their side, may differ


class ServedDetector(nn.Module):
    """Map grey uint8 pictures (N, H, W, 1) of any size in steps of 32 to scores 0-1, boxes and points in pixels.

    shift: logit of the working point, where the score is to be 0.5.
    """

    def __init__(self, network: nn.Module, shift: float = 0.0) -> None:
        super().__init__()
        self.network = network.eval()
        self.shift = shift

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, cells), (N, cells, 4) xyxy and (N, cells, 5, 2)."""
        count, height, width, channels = images.shape
        planes = images.reshape(count, channels, height, width)  # with one channel; a transpose costs OpenVINO 2 ms
        maps = self.network(planes.float())
        return (maps.logits - self.shift).sigmoid(), maps.boxes, maps.points


def export(config: DetectorConfig, out: Path) -> Path:
    """Write the network of a run with its threshold, check it against its source, and enter it into the manifest.

    Raises UserError where the configuration is not the run's own, RuntimeError where the artefact disagrees with the
    network; then nothing is written.
    """
    if out.suffix != ".onnx":
        raise UserError(f"{out}: expected a name that ends in .onnx")
    source = config.runs / config.name / "checkpoint.pt"
    saved = checkpoint.load(source)
    checkpoint.require_run(source, saved, config)
    network = build(config).eval()
    network.load_state_dict(saved["average"])
    judged = scenes(config)
    threshold, metrics = working_point(network, judged)
    served = ServedDetector(network, math.log(threshold / (1 - threshold)))
    spec = describe(config, served, len(saved["epochs"])).model_copy(update={"metrics": metrics})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        unchecked = Path(folder) / out.name
        graph_of(served)(spec, unchecked)
        check_parity(served, unchecked, np.stack([picture.image for picture in judged[:8]])[..., :1])
        load_engine(unchecked, "detection").close()
        unchecked.replace(out)
    write_entry(out)
    out.with_suffix(".md").write_text(card.write(spec, out), encoding="utf-8")
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
        training={
            "parameters": sum(parameter.numel() for parameter in served.parameters()),
            "epochs": epochs,
            "seed": config.seed,
            "commit": commit(),
            "config": config.told(),
        },
    )


def graph_of(served: ServedDetector) -> Callable[[EngineSpec, Path], None]:
    """Trace the network for any number of pictures of any size in steps of 32; return what writes it with a spec."""
    example = (torch.zeros((2, 192, 256, 1), dtype=torch.uint8),)
    rows, columns = torch.export.Dim("rows", max=LARGEST), torch.export.Dim("columns", max=LARGEST)
    shapes = {"images": {0: torch.export.Dim("batch"), 1: 32 * rows, 2: 32 * columns}}
    with quiet():
        program = torch.export.export(served, example, dynamic_shapes=shapes)
    return partial(write_onnx, to_onnx(program, OUTPUTS))


def check_parity(served: ServedDetector, path: Path, images: NDArray[np.uint8]) -> None:
    """Compare scores, and the boxes of likely faces in shares of their side, with the network's: f32 and as served."""
    with torch.inference_mode():
        scores, boxes, _ = (part.numpy() for part in served(torch.from_numpy(images)))
    likely = scores > LIKELY
    for precision, (most_score, most_box) in PARITY.items():
        engine = load_engine(path, "detection", precision=precision)
        try:
            found = engine.infer(images)
        finally:
            engine.close()
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
