"""Do maps show what the answer rests on? Deletion and insertion curves (Petsiuk et al. 2018, section 4).

Deletion greys out the picture where the map is hottest first: the sooner the probability of the answer falls, the more
faithful the map. Insertion starts from a blurred picture and brings these places back: the sooner it rises, the better.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from engines import Outputs
from engines.errors import UserError
from train.analysis.maps import maps_of
from train.data import FaceSet
from train.expression.classifier import Classifier
from train.markdown import table

STEPS = 12  # of a curve
BLUR = 0.1  # of the picture's side: deviation of the Gaussian that insertion starts from
RESAMPLES = 2000
BASELINES = ("random", "centre")
WAYS = ("deletion", "insertion")


def write(
    classifier: Classifier, network: nn.Module | None, rows: FaceSet, folder: Path, most: int = 600
) -> dict[str, Any]:
    """Write `faithful.md`, `.json` and `.png` for rightly answered faces, at most `most`, drawn with a fixed seed.

    network: what saliency takes gradients of; without it saliency is left out. Returns what the JSON holds.
    Raises UserError where no face is answered rightly or the network has no map.
    """
    outputs = classifier.infer(rows.images)
    right = np.flatnonzero(outputs["probabilities"].argmax(axis=1) == rows.labels)
    chosen = np.sort(np.random.default_rng(0).permutation(right)[:most])
    if not len(chosen):
        raise UserError(f"{classifier.name}: expected faces that are answered rightly, found none")
    images, labels = rows.images[chosen], rows.labels[chosen]
    maps = orders({name: value[chosen] for name, value in outputs.items()}, network, images, labels)
    if set(maps) == set(BASELINES):
        raise UserError(f"{classifier.name}: expected a network with maps (cam or attention), found none")
    curves = {name: {way: curve(classifier, images, labels, heat, way) for way in WAYS} for name, heat in maps.items()}
    values = {"network": classifier.name, "faces": len(chosen), "steps": STEPS, **judge(curves)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faithful.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "faithful.md").write_text(to_markdown(values), encoding="utf-8")
    _draw(curves, folder / "faithful.png", classifier.name)
    return values


def orders(
    outputs: Outputs, network: nn.Module | None, images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Return (N, H, W) heat by name: the maps that there are, and the two baselines.

    'random' is a map of random cells as coarse as the activation maps and up-sampled like them, which is a stronger
    rival than random pixels; 'centre' falls with the distance from the middle.
    """
    count, (height, width) = len(images), images.shape[1:3]
    found = maps_of(outputs, network, images, labels)
    if "saliency" in found:
        found["saliency"] = np.stack([cv2.GaussianBlur(one, (0, 0), 0.04 * height) for one in found["saliency"]])
    cells = found["cam"].shape[1:] if "cam" in found else (6, 6)
    found["random"] = np.random.default_rng(0).random((count, *cells), np.float32)
    down, right = np.mgrid[:height, :width]
    distance = np.hypot(down / height - 0.5, right / width - 0.5).astype(np.float32)
    found["centre"] = np.repeat(-distance[None], count, axis=0)
    large = cv2.INTER_CUBIC
    return {
        name: np.stack([cv2.resize(one, (width, height), interpolation=large) for one in heat]).astype(np.float32)
        for name, heat in found.items()
    }


def curve(
    classifier: Classifier, images: NDArray[np.uint8], labels: NDArray[np.int64], heat: NDArray[np.float32], way: str
) -> NDArray[np.float32]:
    """Return the probability of the label while pixels are changed, hottest first: (N, STEPS + 1)."""
    count = len(images)
    rank = np.argsort(np.argsort(-heat.reshape(count, -1), axis=1, kind="stable"), axis=1).reshape(heat.shape)
    start, end = images, _grey(images)
    if way == "insertion":
        start, end = _blurred(images), images
    found = np.empty((count, STEPS + 1), np.float32)
    for step in range(STEPS + 1):
        changed = (rank < rank[0].size * step / STEPS)[..., None]
        answers = classifier.classify(np.where(changed, end, start))
        found[:, step] = answers[np.arange(count), labels]
    return found


def judge(curves: Mapping[str, Mapping[str, NDArray[np.float32]]]) -> dict[str, Any]:
    """Return the mean area under each curve, and how much better each map is than each baseline with 95 % intervals.

    'better' is the lead in area, positive where the map is more faithful: lower under deletion, higher under insertion;
    intervals are bootstrapped over faces, which are the same for both.
    """
    areas = {name: {way: _area(one) for way, one in ways.items()} for name, ways in curves.items()}
    random = np.random.default_rng(0)
    count = len(next(iter(areas.values()))["deletion"])
    drawn = random.integers(0, count, (RESAMPLES, count))
    better: dict[str, Any] = {}
    for name in (name for name in areas if name not in BASELINES):
        for rival in BASELINES:
            for way, sign in zip(WAYS, (-1, 1), strict=True):
                lead = sign * (areas[name][way] - areas[rival][way])
                low, high = np.quantile(lead[drawn].mean(axis=1), (0.025, 0.975))
                figures = {"lead": float(lead.mean()), "low": float(low), "high": float(high)}
                better.setdefault(name, {}).setdefault(rival, {})[way] = figures
    means = {name: {way: float(one.mean()) for way, one in ways.items()} for name, ways in areas.items()}
    return {"areas": means, "better": better}


def to_markdown(values: Mapping[str, Any]) -> str:
    """Write the areas and the leads as tables."""
    areas = [(name, *(f"{ways[way]:.4f}" for way in WAYS)) for name, ways in values["areas"].items()]
    leads = [
        (
            f"{name} over {rival}",
            *(f"{ways[way]['lead']:+.4f} ({ways[way]['low']:+.4f} to {ways[way]['high']:+.4f})" for way in WAYS),
        )
        for name, rivals in values["better"].items()
        for rival, ways in rivals.items()
    ]
    head = (
        f"{values['faces']:,} rightly answered faces; mean probability of the answer over {values['steps']} steps. "
        "Deletion greys the hottest places first (lower is better), insertion brings them back into a blurred picture "
        "(higher is better)."
    )
    parts = [
        f"# {values['network']}: faithfulness of maps",
        head,
        table(("map", *WAYS), areas),
        "Lead of each map, positive where it is more faithful, with 95 % bootstrap intervals over the faces:",
        table(("map", *WAYS), leads),
        "![curves](faithful.png)",
    ]
    return "\n\n".join(parts) + "\n"


def _area(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the area under each row by the trapezoid rule, over 0-1."""
    return np.asarray((values[:, 1:] + values[:, :-1]).mean(axis=1) / 2, np.float32)


def _grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    mean = images.mean(axis=(1, 2), keepdims=True)
    return np.broadcast_to(mean, images.shape).astype(np.uint8)


def _blurred(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = BLUR * images.shape[1]
    return np.stack([cv2.GaussianBlur(image, (0, 0), side).reshape(image.shape) for image in images]).astype(np.uint8)


def _draw(curves: Mapping[str, Mapping[str, NDArray[np.float32]]], path: Path, title: str) -> None:
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9, 3.6), layout="constrained")
    canvas.suptitle(f"{title}: probability of the answer, mean over faces")
    for position, way in enumerate(WAYS, start=1):
        axes = canvas.add_subplot(1, 2, position, title=way, xlabel="share of the picture")
        for name, ways in curves.items():
            style = ":" if name in BASELINES else "-"
            axes.plot(np.linspace(0, 1, STEPS + 1), ways[way].mean(axis=0), style, label=name)
        axes.legend(fontsize="small")
    canvas.savefig(path, dpi=100)
