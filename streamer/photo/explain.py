"""`streamer explain`: why each face of a photo got its answer, as PNG, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from streamer.config import Config
from streamer.explain.face import PANEL, Explanation, explain_face
from streamer.faces.regions import crops_of
from streamer.photo.analyst import Analyst
from streamer.photo.reading import read_photo
from streamer.stencils import lettering

CAPTION = 28  # pixels below each panel
WHITE = (235, 235, 235)
ABOUT = {
    "face": "what the network saw",
    "cam": "class activation map of the answer: where its evidence is (Zhou et al. 2016)",
    "attention": "attention: how much each position counts",
    "occlusion": "where hiding a cell of a 4x4 grid takes probability from the answer, mean over six grey levels",
}


def explain_faces(analyst: Analyst, image: NDArray[np.uint8], most: int = 8) -> list[Explanation]:
    """Explain the answers to the faces of a (H, W, 3) uint8 BGR picture, the largest first."""
    faces = sorted(analyst.look(image).faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))
    engine = analyst.stages.express.engine
    cut = [crops_of(image, [face], engine.spec)[0] for face in faces[:most] if analyst.stages.express.can_see(face)]
    return [explain_face(engine, picture) for picture in cut]


def words(number: int, one: Explanation) -> list[str]:
    """Say in sentences (Markdown) what an explanation holds."""
    shares = ", ".join(f"{name} {100 * value:.1f} %" for name, value in one.probabilities.items())
    change = one.grid.mean(axis=2)
    lines = [
        f"**Face {number}: {one.label}**, next most likely {one.following}.",
        f"Probabilities: {shares}.",
        f"Hiding cell {int(change.argmin()) + 1} of the 4 × 4 grid takes most from {one.label}: {change.min():+.2f}.",
    ]
    for rule, holds in one.rules:
        agrees = "holds here" if holds else "does not hold here"
        like = f"like the network on {100 * rule.fidelity:.1f} % of faces, never saying it would be on"
        lines.append(f"Rule for {rule.label} ({like} {100 * rule.baseline:.1f} %), {agrees}: `{rule.text()}`")
    return lines


def run(config: Config, path: Path, out: Path) -> int:
    """Explain the faces of a photo into a folder; return the exit code. Raises ValueError or OSError with one line."""
    photo = read_photo(path)
    with Analyst(config) as analyst:
        found = explain_faces(analyst, photo.image)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(found, start=1):
            (out / f"face-{number}.png").write_bytes(cv2.imencode(".png", sheet(one.panels()))[1].tobytes())
        values = {"name": path.name, "faces": [one.to_json() for one in found]}
        (out / "explain.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        (out / "explain.md").write_text(to_markdown(path.name, found), encoding="utf-8")
    except OSError as error:
        raise OSError(f"{out}: cannot write the explanation: {error.strerror}") from error
    Console(stderr=True, highlight=False, markup=False).print(f"{len(found)} faces: {out / 'explain.md'}")
    return 0


def to_markdown(name: str, found: Sequence[Explanation]) -> str:
    """Write the explanations of a photo's faces."""
    lines = [f"# {name}", *([] if found else ["No face was found."])]
    for number, one in enumerate(found, start=1):
        lines += [f"![face {number}](face-{number}.png)", *words(number, one)]
    shown = list(dict.fromkeys(name for one in found for name in one.panels()))
    lines += ["\n".join(f"* {name}: {ABOUT[name]}" for name in shown)] if shown else []
    return "\n\n".join(lines) + "\n"


def sheet(panels: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put captioned panels side by side."""
    columns = []
    for name, picture in panels.items():
        column = np.full((PANEL + CAPTION, PANEL, 3), 24, np.uint8)
        column[:PANEL] = picture
        text = lettering(name, 10, WHITE)
        text.stamp(column, (PANEL - text.size[0]) // 2, PANEL + (CAPTION - text.size[1]) // 2)
        columns.append(column)
    return np.hstack(columns)
