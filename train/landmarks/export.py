"""Turn a trained landmark network into one artefact: uint8 crops in; points, visibility and usable out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines import Crop, EngineSpec, load_engine
from streamer.faces.landmarks import ZooLandmarker
from streamer.faces.visibility import WEIGHTS
from train import checkpoint
from train.export import answers, provenance, publish, require_format
from train.landmarks import card
from train.landmarks.batches.draw import Batch, held_back
from train.landmarks.batches.read import read
from train.landmarks.config import LandmarksConfig
from train.landmarks.scores import normalised_error
from train.landmarks.served import OUTPUTS, ServedLandmarks, graph_of
from train.landmarks.start import build

log = logging.getLogger(__name__)

# Most that points, in shares of the side, and scores may differ from the network's, at most and in the mean.
PARITY = {"f32": (1e-3, 1e-4), "auto": (0.05, 6e-3)}


def export(config: LandmarksConfig, out: Path) -> Path:
    """Write the network of a run with its borders, check it against its source, and enter it into the manifest.

    Raises UserError where the configuration is not the run's own, RuntimeError where the artefact disagrees with the
    network; then nothing is written.
    """
    require_format(out, ("onnx",))
    network, epochs = checkpoint.of_run(config, build(config))
    judged = held_back(config)
    served = ServedLandmarks(network, *borders(network, judged))

    def check(unchecked: Path) -> dict[str, Any]:
        check_parity(served, unchecked, judged.images[:256])
        return {"metrics": measured(unchecked, judged, config)}

    spec = describe(config, served, epochs)
    publish(out, spec, graph_of(served, config.model.size), check, card.write)
    return out


def borders(network: nn.Module, judged: Batch) -> tuple[float, float]:
    """Return the logits that best part seen from hidden parts, and usable from unusable faces: balanced accuracy."""
    with torch.inference_mode():
        found = network(torch.from_numpy(judged.images[:, None, :, :, 0]).float())
    told = np.isfinite(judged.visibility).all(axis=1)
    points, usable = found.visibility.numpy()[told], found.usable.numpy()
    shifts = np.linspace(-2, 2, 41)
    truth = judged.visibility[told] @ WEIGHTS.T >= 0.5
    clear = np.abs(judged.visibility[told] @ WEIGHTS.T - 0.5) > 0.2  # who could say what half a mouth is
    seen = [_balanced((_sigmoid(points - shift) @ WEIGHTS.T)[clear] >= 0.5, truth[clear]) for shift in shifts]
    known = np.isfinite(judged.usable)
    kept = [_balanced(usable[known] >= shift, judged.usable[known] > 0.5) for shift in shifts]
    return float(shifts[int(np.argmax(seen))]), float(shifts[int(np.argmax(kept))])


def _balanced(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float(found[truth].mean() - found[~truth].mean())


def _sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def describe(config: LandmarksConfig, served: ServedLandmarks, epochs: int) -> EngineSpec:
    """Say what the artefact is."""
    return EngineSpec(
        name=config.name,
        task="landmarks",
        height=config.model.size,
        width=config.model.size,
        channels=1,
        crop=Crop(region="face", margin=config.margin),
        outputs=OUTPUTS,
        training={
            **provenance(config, served, epochs),
            "borders": {"seen": served.seen, "usable": served.usable},
        },
    )


def check_parity(served: ServedLandmarks, path: Path, images: NDArray[np.uint8]) -> None:
    """Compare all outputs with the network's: in f32 and as served."""
    with torch.inference_mode():
        wanted = dict(zip(OUTPUTS, (part.numpy() for part in served(torch.from_numpy(images))), strict=True))
    for precision, found in answers(path, "landmarks", images, PARITY):
        most, mean = PARITY[precision]
        gaps = {name: np.abs(found[name] - wanted[name]) for name in OUTPUTS}
        words = ", ".join(f"{name} by {gap.max():.5f} at most, {gap.mean():.6f} mean" for name, gap in gaps.items())
        log.info("parity %s: %s", precision, words)
        bad = [name for name, gap in gaps.items() if name == "points" and (gap.max() > most or gap.mean() > mean)]
        bad += [name for name in ("visibility", "usable") if gaps[name].mean() > max(10 * mean, 1e-3)]
        if bad:
            raise RuntimeError(f"{path.name} in {precision}: differs from its network: {words}; it is not written")


def measured(path: Path, judged: Batch, config: LandmarksConfig) -> dict[str, float]:
    """Measure the artefact on held-back people: the error of the points, and how well hidden is told from seen."""
    from sklearn.metrics import roc_auc_score

    engine = load_engine(path, "landmarks")
    try:
        answers = engine.infer(judged.images)
        [clean] = read(config.sources[0], "validation")
        landmarker = ZooLandmarker(engine)
        boxes = [box[None] for box in clean.boxes]
        points = np.concatenate([one.points for one in landmarker.look(clean.pictures, boxes)])
    finally:
        engine.close()
    located = judged.located
    known, told = np.isfinite(judged.usable), located & np.isfinite(judged.visibility).all(axis=1)
    error = normalised_error(answers["points"][located], judged.points[located])
    return {
        "held_back.faces": float(len(clean)),
        "held_back.error": float(normalised_error(points, clean.points).mean()),
        "changed.error": float(np.median(error)),
        "changed.visibility_auroc": float(
            roc_auc_score(judged.visibility[told].ravel() >= 0.5, answers["visibility"][told].ravel())
        ),
        "changed.usable_auroc": float(roc_auc_score(judged.usable[known] > 0.5, answers["usable"][known])),
    }
