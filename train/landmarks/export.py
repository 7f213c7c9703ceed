"""Turn a trained landmark network into one artefact: uint8 crops in; points, visibility and usable out."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines import Crop, EngineSpec, load_engine
from engines.errors import UserError
from engines.manifest import write_entry
from streamer.faces.landmarks import ZooLandmarker
from streamer.faces.visibility import WEIGHTS
from train import checkpoint
from train.expression.export import commit, quiet, to_onnx, write_onnx
from train.landmarks import card
from train.landmarks.batches import Batch, draw
from train.landmarks.config import LandmarksConfig
from train.landmarks.faces import read
from train.landmarks.fit import build, normalised_error

log = logging.getLogger(__name__)

OUTPUTS = ("points", "visibility", "usable")
CHOSEN_ON = 1500  # drawn faces of held-back people on which the borders are chosen
# Most that points, in shares of the side, and scores may differ from the network's, at most and in the mean.
PARITY = {"f32": (1e-3, 1e-4), "auto": (0.05, 6e-3)}


class ServedLandmarks(nn.Module):
    """Map grey uint8 crops (N, S, S, 1) to points (N, 68, 2) in shares of the side, visibility (N, 68), usable (N,).

    seen, usable: logits of the borders chosen on held-back people, where the scores are to be 0.5.
    """

    def __init__(self, network: nn.Module, seen: float = 0.0, usable: float = 0.0) -> None:
        super().__init__()
        self.network, self.seen, self.usable = network.eval(), seen, usable

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Answer with scores in 0-1."""
        count, height, width, channels = images.shape
        found = self.network(images.reshape(count, channels, height, width).float())
        return found.points, (found.visibility - self.seen).sigmoid(), (found.usable - self.usable).sigmoid()


def export(config: LandmarksConfig, out: Path) -> Path:
    """Write the network of a run with its borders, check it against its source, and enter it into the manifest.

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
    judged = held_back(config)
    served = ServedLandmarks(network, *borders(network, judged))
    spec = describe(config, served, len(saved["epochs"]))
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        unchecked = Path(folder) / out.name
        write = graph_of(served, spec)
        write(spec, unchecked)
        check_parity(served, unchecked, judged.images[:256])
        spec = spec.model_copy(update={"metrics": measured(unchecked, judged, config)})
        write(spec, unchecked)
        load_engine(unchecked, "landmarks").close()
        unchecked.replace(out)
    write_entry(out)
    out.with_suffix(".md").write_text(card.write(spec, out), encoding="utf-8")
    return out


def held_back(config: LandmarksConfig) -> Batch:
    """Draw faces of people who were not trained on, changed and occluded as in training."""
    sources = [read(source, "validation") for source in config.sources[:2]]
    random = np.random.default_rng(0)
    rows = [(faces, int(random.integers(len(faces)))) for faces in sources for _ in range(CHOSEN_ON // len(sources))]
    return draw(rows, config, random)


def borders(network: nn.Module, judged: Batch) -> tuple[float, float]:
    """Return the logits that best part seen from hidden parts, and usable from unusable faces: balanced accuracy."""
    with torch.inference_mode():
        found = network(torch.from_numpy(judged.images[:, None, :, :, 0]).float())
    points, usable = found.visibility.numpy(), found.usable.numpy()
    shifts = np.linspace(-2, 2, 41)
    truth = judged.visibility @ WEIGHTS.T >= 0.5
    clear = np.abs(judged.visibility @ WEIGHTS.T - 0.5) > 0.2  # who could say what half a mouth is
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
            "parameters": sum(parameter.numel() for parameter in served.parameters()),
            "epochs": epochs,
            "borders": {"seen": served.seen, "usable": served.usable},
            "seed": config.seed,
            "commit": commit(),
            "config": config.told(),
        },
    )


def graph_of(served: ServedLandmarks, spec: EngineSpec) -> Callable[[EngineSpec, Path], None]:
    """Trace the network for any number of crops; return what writes it with a spec."""
    example = (torch.zeros((2, spec.height or 0, spec.width or 0, 1), dtype=torch.uint8),)
    with quiet():
        program = torch.export.export(served, example, dynamic_shapes={"images": {0: torch.export.Dim("batch")}})
    return partial(write_onnx, to_onnx(program, OUTPUTS))


def check_parity(served: ServedLandmarks, path: Path, images: NDArray[np.uint8]) -> None:
    """Compare all outputs with the network's: in f32 and as served."""
    with torch.inference_mode():
        wanted = dict(zip(OUTPUTS, (part.numpy() for part in served(torch.from_numpy(images))), strict=True))
    for precision, (most, mean) in PARITY.items():
        engine = load_engine(path, "landmarks", precision=precision)
        try:
            found = engine.infer(images)
        finally:
            engine.close()
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
        clean = read(config.sources[0], "validation")
        landmarker = ZooLandmarker(engine)
        boxes = [box[None] for box in clean.boxes]
        points = np.concatenate([one.points for one in landmarker.look(clean.pictures, boxes)])
    finally:
        engine.close()
    located = judged.located
    known = np.isfinite(judged.usable)
    error = normalised_error(answers["points"][located], judged.points[located])
    return {
        "held_back.faces": float(len(clean)),
        "held_back.error": float(normalised_error(points, clean.points).mean()),
        "changed.error": float(np.median(error)),
        "changed.visibility_auroc": float(
            roc_auc_score(judged.visibility[located].ravel() >= 0.5, answers["visibility"][located].ravel())
        ),
        "changed.usable_auroc": float(roc_auc_score(judged.usable[known] > 0.5, answers["usable"][known])),
    }
