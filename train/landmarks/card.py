"""Write the model card of a landmark network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engines import EngineSpec
from engines.manifest import sha256_of

OUTPUT = """For the crop of a face: 68 landmarks (iBUG order) in shares of the crop's side, for each of them how far
it can be seen (0-1), and a score that there is a face that can be judged (0-1). Scores are 0.5 at borders chosen on
held-back people with the occluders of training."""

INTENDED = """Cropping regions of faces and choosing the region by which an expression is judged. Points on hidden
parts are guesses of where they would be; their visibility says so."""

LIMITS = """Crops of turned heads must be turned upright; faces on their side or upside down are answered with a low
`usable`, not with good points. Profiles are rare in training and their points are coarse. Visibility was learned from
drawn occluders; what hides a face in other ways may be taken for skin. A part that the head itself hides (profiles)
counts as seen. The labels' own errors are inherited. Photos are mostly press and video pictures of well-known people;
no measurement here says how errors differ between groups of people."""

CODE = "The code is Apache-2.0. The weights learned from:"
# What the weights owe to each set, by its name in the configuration.
TERMS = {
    "ytf": "YouTube-Faces frames with their published 68 points (MIT repository; the frames are YouTube videos that "
    "were collected for research)",
    "taught": "faces of the detector's labelled pictures with the answers of MediaPipe's face landmarker (Apache-2.0), "
    "whose makers taught it by data of their own",
    "found": "what our own detector finds in these pictures, faces and things, told apart by boxes that people drew "
    "and, where they drew none, by YuNet (MIT) and CenterFace (MIT), which were trained on WIDER FACE (research)",
    "lfw": "photos of Labeled Faces in the Wild, released for research",
    "fer": "pictures of FER2013, released for research",
}
LABELLED = """The labelled pictures are those of the detector's card: photos and videos released for research, photos
said to be in the public domain, one picture a class of ImageNet (research only), and pages, screens and drawings."""
PREDICTOR = """Points that no set brings come from dlib's 68-point predictor. It was trained on 300-W, whose terms
exclude commercial use: the network was taught by its answers, not by that data, and none of it is in the file."""


def write(spec: EngineSpec, path: Path) -> str:
    """Return the card as Markdown."""
    training, metrics = spec.training, spec.metrics
    settings = training["config"]
    changes = settings["changes"]
    shares = ", ".join(f"{source['set']} {source['share']:.2f}" for source in settings["sources"])
    families = ", ".join(dict.fromkeys(changes["families"]))
    return "\n\n".join(
        [
            f"# {path.name}",
            OUTPUT,
            f"Input: uint8, grey, {spec.height}x{spec.width}, the square around the face's box with a margin of "
            f"{spec.crop.margin:.2f}. {training['parameters']:,} parameters, {path.stat().st_size / 1e6:.2f} MB. "
            f"sha256 `{sha256_of(path)}`.",
            "## Data",
            f"Share of each batch: {shares}; people of YouTube-Faces and LFW are split 8:1:1. {training['epochs']} "
            f"epochs of {settings['steps']} steps of {settings['optimizer']['batch']} faces, seed {training['seed']}, "
            f"source `{training['commit']}`. Occluders trained on, some more often: {families}; held out for "
            f"reports: {', '.join(changes['held_out'])}.",
            "## Measured on held-back people",
            f"Mean error of the points {100 * metrics['held_back.error']:.2f} % of the distance of the outer eye "
            f"corners on {metrics['held_back.faces']:.0f} frames of YouTube-Faces (validation). On changed, occluded "
            f"faces: median {100 * metrics['changed.error']:.2f} %, AUROC of visible points "
            f"{metrics['changed.visibility_auroc']:.4f}, of usable faces {metrics['changed.usable_auroc']:.4f}. "
            "docs/landmarks.md has the figures on test people, on photos and on occluders never trained on.",
            "## Intended use",
            INTENDED,
            "## Limits",
            LIMITS,
            "## Terms of the weights",
            _terms(settings["sources"]),
            "",
        ]
    )


def _terms(sources: Sequence[Mapping[str, Any]]) -> str:
    """Say what the weights owe to each source."""
    names = [source["set"] for source in sources]
    told = [f"{CODE} {'; '.join(TERMS[name] for name in dict.fromkeys(names))}."]
    if {"taught", "found"} & set(names):
        told.append(LABELLED)
    if any(source.get("cache") and source["set"] not in ("taught", "found") for source in sources):
        told.append(PREDICTOR)
    return "\n".join(told)
