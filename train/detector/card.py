"""Write the model card of a detector."""

from __future__ import annotations

from pathlib import Path

from engines import EngineSpec
from engines.manifest import sha256_of

INTENDED = """Finding faces in pictures and video, for what comes after: following them and labelling expressions. It
finds faces; it does not tell who somebody is."""

LIMITS = """Training was short. Clothes, hands and round things are sometimes taken for faces, mostly with scores
below 0.7; faces in profile and those below 20 input pixels are often missed.
Every label comes from other detectors, so their blind spots are inherited: what they missed was at best
left out of the loss. Colour is not used. Photos are mostly press pictures of well-known people; ages and origins are
not balanced, and no measurement here says how recall differs between groups of people. Faces that are turned away,
upside down or below 8 input pixels are outside what was trained."""

DATA = """Scenes painted anew in every step from LFW, YouTube Faces, FER+ training faces, half of a set of masked and
bare faces, seven group photos, frames of eleven clips, thirteen textures of scikit-image and pictures without people.
What the network itself took for a face where none is was painted often. Boxes and points are those of YuNet on scaled
and mirrored copies where the copies agree, with dlib's HOG as a second witness; disputed faces teach nothing."""

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
