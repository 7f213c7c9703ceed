"""What occluders cost an expression network, by family and by how much of the face they hide, and what routing saves.

Faces go the way they go when the analyzer runs: landmarks and visibility come from the landmark network that serves,
`streamer.faces.visibility` picks the region, `streamer.faces.regions` cuts it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines import load_engine, tempered
from engines.errors import UserError
from streamer.faces.landmarks import DlibLandmarker, Landmarks, ZooLandmarker
from streamer.faces.regions import crops
from streamer.faces.visibility import VisibilitySettings, VisibleRegion
from train.data import FaceSet
from train.data.locate import locate
from train.expression.batches.cutting import whole
from train.expression.batches.rows import read
from train.expression.classifier import Classifier
from train.expression.scores import calibration_error
from train.markdown import table
from train.occluders import EVALUATION_ONLY, FAMILIES, NONE, occlude

COVERS = (0.25, 0.5, 0.75, 1.0)
VIEWS = ("face", "nose_eyes", "eyes", "nose_mouth", "mouth_eyes", "mouth", "nose")
BATCH = 256


class Pair(NamedTuple):
    """Name the network that judges whole faces, and the one that judges what can be seen of partly hidden ones."""

    whole: Classifier
    parts: Classifier | None

    @property
    def name(self) -> str:
        """Return what the report calls them."""
        if self.parts is None or self.parts is self.whole:
            return self.whole.name
        return f"{self.whole.name} + {self.parts.name}"


@dataclass(frozen=True)
class Occluded:
    """Hold faces with something over them.

    pictures: N grey (H, W, 1) uint8. boxes: (N, 4) face boxes. hidden: mean share of the landmarks that are hidden.
    found: what the landmark network says. regions: N regions to judge by, None where nothing can be judged by.
    """

    pictures: list[NDArray[np.uint8]]
    boxes: NDArray[np.float32]
    hidden: float
    found: Landmarks
    regions: list[str | None]


def write(
    classifiers: Sequence[Classifier],
    landmarks: Path,
    split: str | None,
    folder: Path,
    families: Sequence[str] = tuple(FAMILIES),
    most: int = 0,
) -> dict[str, Any]:
    """Write `occlusion.md`, `.json` and `.png` for networks of one data set; return what the JSON holds.

    Every network of whole faces is measured with each of those of several regions, which are rivals in judging partly
    hidden ones; see `pairs`. landmarks: model file of the landmark network. split: the first network's validation
    split unless said. families: occluders to draw. most: the most rows that are judged, evenly chosen; 0 takes all.
    Raises UserError where the networks do not share data and labels, or where none knows whole faces.
    """
    first, judged = classifiers[0], pairs(classifiers)
    if any((one.data, one.labels) != (first.data, first.labels) for one in classifiers):
        raise UserError("expected networks of one data set with the same labels")
    if unknown := set(families) - set(FAMILIES):
        raise UserError(f"unknown occluders {sorted(unknown)}: expected some of {', '.join(FAMILIES)}")
    rows, left_out = _rows(first, split or first.data.validation, most)
    engine = load_engine(landmarks, "landmarks")
    try:
        landmarker = ZooLandmarker(engine)
        results = measure(judged, rows, landmarker, families)
        clean = _hide(rows, NONE, 0.0, landmarker)
    finally:
        engine.close()
    assert rows.landmarks is not None
    labelled = Landmarks(rows.landmarks)
    values = {
        "split": split or first.data.validation,
        "labels": first.data.labels,
        "rows": len(rows),
        "without_landmarks": left_out,
        "held_out": [family for family in families if family in EVALUATION_ONLY],
        "clean": {one.name: _views(one, replace(clean, found=labelled), rows.labels) for one in classifiers},
        "clean_served": {one.name: _views(one, clean, rows.labels) for one in classifiers},
        "results": results,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "occlusion.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / "occlusion.md").write_text(to_markdown(values), encoding="utf-8")
    draw(values, folder / "occlusion.png")
    return values


def learned(classifier: Classifier) -> tuple[str, ...]:
    """Return the regions that a network knows."""
    return classifier.input.regions or (classifier.input.region,)


def pairs(classifiers: Sequence[Classifier]) -> list[Pair]:
    """Pair every network of whole faces alone with each of several regions, as the analyzer runs them.

    Where there are none of the one kind, those of the other stand alone. Raises UserError where no whole face can be
    judged.
    """
    whole = [one for one in classifiers if learned(one) == ("face",)]
    routed = [one for one in classifiers if one not in whole]
    if whole and routed:
        return [Pair(one, other) for one in whole for other in routed]
    if whole:
        return [Pair(one, None) for one in whole]
    if blind := [one.name for one in routed if "face" not in learned(one)]:
        raise UserError(f"expected a network of whole faces beside {', '.join(blind)}, found none")
    return [Pair(one, one) for one in routed]


def measure(
    judged: Sequence[Pair], rows: FaceSet, landmarker: ZooLandmarker, families: Sequence[str]
) -> list[dict[str, Any]]:
    """Judge clean faces, then faces under every family at every cover; rows need labels and landmarks."""
    cells, results = [(NONE, 0.0), *((family, cover) for family in families for cover in COVERS)], []
    bare = [picture if picture.shape[2] == 1 else _grey(picture)[..., None] for picture in rows.images]
    for family, cover in track(cells, "hiding parts", transient=True, disable=not Console().is_terminal):
        faces = _hide(rows, family, cover, landmarker)
        results += [_judge(pair, faces, bare, rows.labels, family, cover) for pair in judged]
    return results


def _rows(classifier: Classifier, split: str, most: int) -> tuple[FaceSet, int]:
    """Return rows with a label and landmarks to draw occluders by, and how many have no landmarks."""
    data = classifier.data
    rows = read(data, split)
    rows = rows[rows.labels >= 0]
    rows = locate(rows, data.cache, DlibLandmarker()) if rows.landmarks is None else rows
    assert rows.landmarks is not None
    found: NDArray[np.bool_] = np.isfinite(rows.landmarks.reshape(len(rows), -1)).min(axis=1)
    kept = np.flatnonzero(found)
    if most and most < len(kept):
        kept = kept[np.linspace(0, len(kept) - 1, most).astype(np.int64)]
    return rows[kept], int((~found).sum())


def _hide(rows: FaceSet, family: str, cover: float, landmarker: ZooLandmarker) -> Occluded:
    """Draw an occluder over every face and look at what can be seen."""
    points, number = rows.landmarks, list(FAMILIES).index(family) + 1 if family else 0
    assert points is not None
    random = np.random.default_rng([number, round(100 * cover)])
    pictures, seen = [], []
    for row, picture in enumerate(rows.images):
        grey = picture[..., 0] if picture.shape[2] == 1 else _grey(picture)
        changed, visibility = occlude(grey[None], points[row : row + 1], [family], random, cover)
        pictures.append(changed[0][..., None])
        seen.append(visibility[0])
    boxes = _boxes(rows)
    looks = []
    for start in range(0, len(pictures), BATCH):
        part = slice(start, start + BATCH)
        looks += landmarker.look(pictures[part], [box[None] for box in boxes[part]])
    columns = ("points", "visibility", "usable")
    found = Landmarks(*(np.concatenate([getattr(one, name) for one in looks]) for name in columns))
    assert found.visibility is not None
    assert found.usable is not None
    settings = VisibilitySettings()
    regions = [
        VisibleRegion(settings).update(visibility, float(usable))
        for visibility, usable in zip(found.visibility, found.usable, strict=True)
    ]
    return Occluded(pictures, boxes, float(1 - np.mean(seen)), found, regions)


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def _boxes(rows: FaceSet) -> NDArray[np.float32]:
    """Return the (N, 4) face boxes: the whole picture where none is known."""
    boxes = np.stack([whole(picture) for picture in rows.images])
    if rows.boxes is None or rows.images.dtype != object:  # pictures that come as faces are cut whole
        return boxes
    return np.where(np.isfinite(rows.boxes).all(axis=1, keepdims=True), rows.boxes, boxes)


def _judge(
    pair: Pair,
    faces: Occluded,
    bare: list[NDArray[np.uint8]],
    labels: NDArray[np.int64],
    family: str,
    cover: float,
) -> dict[str, Any]:
    """Answer faces by the whole of them and, where a network knows the regions, by what can be seen.

    bare: the pictures without the occluder. What the same regions of these give is the best that routing can reach:
    the rest is lost to what it takes for seen, and to parts of the occluder that it shows.
    """
    plain = answer(pair.whole, faces, ["face"] * len(labels))
    result: dict[str, Any] = {
        "model": pair.name,
        "occluder": family or "none",
        "cover": cover,
        "hidden": faces.hidden,
        "whole": float((plain.argmax(axis=1) == labels).mean()),
    }
    if pair.parts is None:
        return result
    seen = np.array([region is not None for region in faces.regions])
    partly = np.array([region not in (None, "face") for region in faces.regions])
    views = [region or "face" for region in faces.regions]
    routed, spared = plain.copy(), plain.copy()
    if partly.any():
        routed[partly] = answer(pair.parts, faces, views, partly)
        spared[partly] = answer(pair.parts, replace(faces, pictures=bare), views, partly)
    right = routed.argmax(axis=1) == labels
    names, counts = np.unique([region or "none" for region in faces.regions], return_counts=True)
    return result | {
        "routed": float((right & seen).mean()),
        "bare": float(((spared.argmax(axis=1) == labels) & seen).mean()),
        "answered": float(seen.mean()),
        "routed_answered": float(right[seen].mean()) if seen.any() else None,
        "calibration_error": calibration_error(routed[seen], labels[seen]) if seen.any() else None,
        "regions": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
    }


def answer(
    classifier: Classifier, faces: Occluded, views: Sequence[str], chosen: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return the (N, classes) probabilities of the chosen faces, or all, which are shown by one region each."""
    rows = list(range(len(views))) if chosen is None else np.flatnonzero(chosen).tolist()
    spec, cut = classifier.spec, []
    for row in rows:
        shown, own = np.repeat(faces.pictures[row], spec.channels, axis=2), slice(row, row + 1)
        visibility = None if faces.found.visibility is None else faces.found.visibility[own]
        cut.append(crops(shown, faces.boxes[own], spec, faces.found.points[own], [views[row]], visibility))
    found = classifier.infer(np.concatenate(cut))["probabilities"]
    return tempered(found, np.array([[spec.view(views[row]).temperature] for row in rows]))


def _views(classifier: Classifier, faces: Occluded, labels: NDArray[np.int64]) -> dict[str, float]:
    """Return the accuracy on faces that are shown by one region each, for every region the network can be shown."""
    views = learned(classifier)
    found = {view: answer(classifier, faces, [view] * len(labels)) for view in views}
    return {view: float((one.argmax(axis=1) == labels).mean()) for view, one in found.items()}


def to_markdown(values: Mapping[str, Any]) -> str:
    """Write the tables as Markdown."""
    results = values["results"]
    models = list(dict.fromkeys(one["model"] for one in results))
    networks = list(values["clean"])
    heads = ["occluder", "cover", "hidden"]
    for model in models:
        heads += [f"{model} whole"]
        if any("routed" in one for one in results if one["model"] == model):
            heads += [f"{model} routed", "bare", "answered", "of these right", "calibration error"]
    lines: dict[tuple[str, float], list[str]] = {}
    for one in results:
        place = (one["occluder"], one["cover"])
        lines.setdefault(place, [place[0], f"{place[1]:.2f}", _percent(one["hidden"])]).append(_percent(one["whole"]))
        if "routed" in one:
            keys = ("routed", "bare", "answered", "routed_answered", "calibration_error")
            lines[place] += [_percent(one[key]) for key in keys]
    sides = ("clean", "clean_served")
    views = [(view, *(_percent(values[side][one].get(view)) for one in networks for side in sides)) for view in VIEWS]
    return "\n\n".join(
        [
            "# Occlusion",
            f"Accuracy in percent on {values['rows']} rows of `{values['split']}` ({values['labels']}); left out for "
            f"lack of landmarks: {values['without_landmarks']}. 'hidden' is the mean share of the 68 landmarks that "
            "cannot be seen. 'whole' shows the network the whole face, 'routed' the largest region that can be seen; "
            "faces of which nothing can be seen are not answered, which counts as wrong under 'routed'. 'bare' shows "
            "the regions of 'routed', hidden parts and all, of the faces without the occluder. Never trained "
            f"on: {', '.join(values['held_out']) or 'none of these'}.",
            table(heads, lines.values()),
            "## Clean faces by region",
            "Cut by the landmarks that occluders are drawn by, and by those of the network that serves.",
            table(("region", *(f"{model}{served}" for model in networks for served in ("", ", served"))), views),
            "![accuracy by hidden share](occlusion.png)",
            "",
        ]
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f}"


def draw(values: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy against the hidden share, a panel for each family: whole faces dashed, routed solid."""
    from matplotlib.figure import Figure

    results = values["results"]
    families = list(dict.fromkeys(one["occluder"] for one in results if one["occluder"] != "none"))
    columns = min(4, max(1, len(families)))
    canvas = Figure(figsize=(3.2 * columns, 2.7 * -(-len(families) // columns)), layout="constrained")
    for number, family in enumerate(families, start=1):
        title = f"{family} (held out)" if family in values["held_out"] else family
        axes = canvas.add_subplot(-(-len(families) // columns), columns, number, title=title, ylim=(0, 100))
        for colour, model in enumerate(dict.fromkeys(one["model"] for one in results)):
            own = [one for one in results if one["model"] == model and one["occluder"] in ("none", family)]
            hidden = [100 * one["hidden"] for one in own]
            axes.plot(hidden, [100 * one["whole"] for one in own], "o--", color=f"C{colour}", label=f"{model} whole")
            if all("routed" in one for one in own):
                axes.plot(
                    hidden, [100 * one["routed"] for one in own], "o-", color=f"C{colour}", label=f"{model} routed"
                )
        axes.set_xlabel("landmarks hidden, %")
        axes.set_ylabel("accuracy, %")
        axes.grid(alpha=0.3)
        if number == 1:
            axes.legend(fontsize="x-small")
    canvas.savefig(path, dpi=90)
