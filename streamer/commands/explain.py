"""`streamer explain`: why each face of a photo got its answer, as PNG, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from engines.errors import UserError
from engines.spec import text_of
from streamer.config import Config
from streamer.drawing.stencils import lettering
from streamer.explain.face import PANEL, Explanation, explain_face
from streamer.photo.analyst import Analyst
from streamer.photo.decode import read_photo
from streamer.sinks.files import check_replaces_none
from streamer.sources.source import printable

CAPTION = 28  # pixels below each panel
WHITE = (235, 235, 235)
ABOUT = {
    "face": "the face as it is; a line frames the region that it was judged by, where that is not all of it",
    "seen": "what the network was given",
    "cam": "class activation map of the answer: where its evidence is (Zhou et al. 2016)",
    "attention": "attention: how much each position counts",
    "occlusion": "where hiding a cell of a 4x4 grid takes probability from the answer, mean over six grey levels",
    "typical": "what faces with this answer typically look like: the mean of training faces, no single person",
}


class Explained(NamedTuple):
    """Hold the explanations of a photo's faces, and in words what there is to say about the others."""

    faces: Sequence[Explanation]
    notes: Sequence[str]


def explain_faces(analyst: Analyst, image: NDArray[np.uint8], most: int = 8) -> Explained:
    """Explain the answers to the faces of a (H, W, 3) uint8 BGR picture, the largest first, at most `most`.

    Each is explained by the network that judged it, for the region that was judged. Raises UserError where
    `privacy.blur` hides faces.
    """
    if (blur := analyst.config.privacy.blur) != "none":
        raise UserError(f"privacy.blur={blur}: an explanation shows the face that it explains: expected 'none'")
    faces = sorted(analyst.look(image).faces, key=lambda face: -float(np.prod(face.box[2:] - face.box[:2])))
    judged = [(face, face.expression.region) for face in faces if face.expression and face.expression.judged]
    judges = analyst.stages.express.judges
    notes = []
    if not faces:
        notes.append("No face was found. Faces can be missed when they are very small, turned away or in the dark.")
    if hidden := len(faces) - len(judged):
        notes.append(f"Faces of which too little can be seen to judge them: {hidden}.")
    if len(judged) > most:
        notes.append(f"These are the {most} largest of {len(judged)} faces.")
    asked = analyst.config.expression
    return Explained([explain_face(judges[region], image, face, asked) for face, region in judged[:most]], notes)


def words(number: int, one: Explanation) -> list[str]:
    """Say in sentences (Markdown) what an explanation holds."""
    shares = ", ".join(f"{name} {100 * value:.1f} %" for name, value in one.probabilities.items())
    change = one.grid.mean(axis=2)
    unsure = "" if one.shown == one.label else f", most likely {one.label}"
    part = "whole face" if one.region == "face" else one.region.replace("_", " and ")
    lines = [
        f"**Face {number}: {one.shown}**{unsure}, next most likely {one.following}; judged by the {part}.",
        f"Probabilities: {shares}.",
        f"Hiding cell {int(change.argmin()) + 1} of the 4 × 4 grid takes most from {one.label}: {change.min():+.2f}.",
    ]
    for rule, why in one.rules:
        ways = len(rule.alternatives)
        found = f"none of its {ways} ways holds here." if why is None else f"it holds here: `{text_of(why)}`"
        lines.append(
            f"The rule for {rule.label} answers like the network on {100 * rule.fidelity:.1f} % of faces, never saying "
            f"{rule.label} would on {100 * rule.baseline:.1f} %; {found}"
        )
    return lines


def run(config: Config, path: Path, out: Path) -> int:
    """Explain the faces of a photo into a folder; return the exit code. Raises UserError or OSError with one line."""
    photo, name = read_photo(path), printable(path.name)
    with Analyst(config) as analyst:
        found = explain_faces(analyst, photo.image)
    sheets = [f"face-{number}.png" for number in range(1, len(found.faces) + 1)]
    check_replaces_none([out / name for name in (*sheets, "explain.json", "explain.md")], [path])
    try:
        out.mkdir(parents=True, exist_ok=True)
        for place, one in zip(sheets, found.faces, strict=True):
            (out / place).write_bytes(sheet(one.panels()))
        values = {"name": name, "notes": found.notes, "faces": [one.to_json() for one in found.faces]}
        (out / "explain.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        (out / "explain.md").write_text(to_markdown(name, found, sheets), encoding="utf-8")
    except OSError as error:
        raise OSError(f"{out}: cannot write the explanation: {error.strerror}") from error
    Console(stderr=True, highlight=False, markup=False).print(f"{len(found.faces)} faces: {out / 'explain.md'}")
    return 0


def to_markdown(name: str, found: Explained, sheets: Sequence[str]) -> str:
    """Write the explanations of a photo's faces; sheets: where the picture of each lies."""
    lines = [f"# {name}", *found.notes]
    for number, (one, place) in enumerate(zip(found.faces, sheets, strict=True), start=1):
        lines += [f"![face {number}]({place})", *words(number, one)]
    shown = list(dict.fromkeys(name for one in found.faces for name in one.panels()))
    lines += ["\n".join(f"* {name}: {ABOUT[name]}" for name in shown)] if shown else []
    return "\n\n".join(lines) + "\n"


def sheet(panels: Mapping[str, NDArray[np.uint8]]) -> bytes:
    """Put captioned panels side by side, as PNG."""
    columns = []
    for name, picture in panels.items():
        column = np.full((PANEL + CAPTION, PANEL, 3), 24, np.uint8)
        column[:PANEL] = picture
        text = lettering(name, 10, WHITE)
        text.stamp(column, (PANEL - text.size[0]) // 2, PANEL + (CAPTION - text.size[1]) // 2)
        columns.append(column)
    return cv2.imencode(".png", np.hstack(columns))[1].tobytes()
