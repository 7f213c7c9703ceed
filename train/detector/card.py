"""Write the model card of a detector."""

from __future__ import annotations

from pathlib import Path

from engines import EngineSpec
from engines.manifest import sha256_of

INTENDED = """Finding faces in pictures and video, for what comes after: following them and labelling expressions. It
finds faces; it does not tell who somebody is."""

LIMITS = """It is made to miss little, not to be sure: much else looks like a face to it, and the landmark network's
`usable` has its say before a face is shown. Faces in profile behind a mask, those turned by more than 60 degrees and
those below 16 input pixels are often missed. Where people marked nothing, labels come from other detectors, whose blind
spots are inherited: what they missed was at best left out of the loss. Colour is not used. Photos are mostly press
pictures of well-known people; ages and origins are not balanced, and no measurement here says how recall differs
between groups of people."""

DATA = """Scenes painted anew in every step from LFW, YouTube-Faces, FER+ training faces, masked and bare faces, group
photos, frames of clips and street photos (all released for research, to the public domain or under Apache-2.0), from
pictures without people (one a class of ImageNet, research only; free drawings, textures, wallpapers), and from pages,
slides, screens and signs that are drawn here. What the network itself took for a face where none is was painted often.
Boxes are those that people drew, where they did; elsewhere those of YuNet (MIT) and CenterFace (MIT), which learned
from WIDER FACE (research), where the two agree. Disputed faces teach nothing."""

OUTPUT = """Faces in a picture: score, box and five points (eyes, nose, mouth corners) for every cell of strides 8, 16
and 32; the caller drops weak and overlapping ones."""


def write(spec: EngineSpec, path: Path) -> str:
    """Return the card as Markdown."""
    training = spec.training
    settings, metrics = training["config"], spec.metrics
    batch = settings["optimizer"]["batch"]
    phases = ", ".join(f"{phase['epochs']} at {phase['size']}" for phase in settings["phases"])
    return "\n\n".join(
        [
            f"# {path.name}",
            OUTPUT,
            f"Input: uint8, grey, any size in steps of 32. Outputs: {', '.join(spec.outputs)}, in pixels of the input. "
            f"{training['parameters']:,} parameters, {path.stat().st_size / 1e6:.2f} MB. sha256 `{sha256_of(path)}`.",
            "## Data",
            DATA,
            f"{training['epochs']} epochs of {settings['steps']} steps of {batch} scenes; planned "
            f"by side in pixels: {phases}. Seed {training['seed']}, source `{training['commit']}`.",
            "## Measured on scenes of held-back people",
            f"Average precision at IoU 0.5 {metrics['scenes.average_precision']:.3f}; at score 0.5 recall "
            f"{metrics['scenes.recall']:.3f}, precision {metrics['scenes.precision']:.3f} of "
            f"{metrics['scenes.faces']:,.0f} faces from 8 pixels on. `python -m train evaluate "
            "configs/train/detector.yaml` compares it with other detectors on photos.",
            "## Intended use",
            INTENDED,
            "## Limits",
            LIMITS,
            "",
        ]
    )
