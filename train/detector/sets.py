"""What detectors are judged on: painted scenes of held-back people, and photos that nothing was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from streamer.faces.landmarks import HOG_TO_FACE
from train.detector.batches.place import Scene
from train.detector.batches.sources import HELD_BACK, prepared
from train.detector.config import DetectorConfig
from train.detector.fit import held_scenes
from train.detector.teacher import Teacher, merge

TRUSTED = 0.7  # score from which an answer of YuNet counts as a face
DOUBTED = 0.4  # below which it counts as nothing; between the two it is disputed


@dataclass(frozen=True, eq=False)
class Judged:
    """Hold one picture, (H, W, 3) uint8 BGR, its faces (N, 4) and the disputed places (M, 4)."""

    name: str
    image: NDArray[np.uint8]
    faces: NDArray[np.float32]
    disputed: NDArray[np.float32]


def scenes(config: DetectorConfig) -> list[Judged]:
    """Paint scenes of 512 pixels from held-back people: thresholds are chosen on them."""
    painted = held_scenes(prepared(config.data), config, count=300, size=512)
    return [_from_scene(f"scene-{number}", scene) for number, scene in enumerate(painted)]


def _from_scene(name: str, scene: Scene) -> Judged:
    boxes, kind = np.array(scene.boxes, np.float32).reshape(-1, 4), np.array(scene.kind, int)
    image = cv2.cvtColor(scene.image, cv2.COLOR_GRAY2BGR)
    return Judged(name, np.asarray(image, np.uint8), boxes[kind == 1], boxes[kind == -1])


def dlib_photos(config: DetectorConfig) -> list[Judged]:
    """Read the photos whose faces people marked; dlib's square boxes are turned into canonical ones."""
    folder = config.data.root / "media" / "photos" / "dlib"
    found = []
    for file in ("training.xml", "testing.xml"):
        for entry in ElementTree.parse(folder / file).iter("image"):
            path = folder / entry.attrib["file"]
            rows = [[float(box.attrib[key]) for key in ("left", "top", "width", "height")] for box in entry.iter("box")]
            found.append(Judged(path.name, _read(path), _canonical(np.array(rows, np.float32).reshape(-1, 4)), _none()))
    return found


def _canonical(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    shift, size = HOG_TO_FACE[:2], HOG_TO_FACE[2:]
    centre = rows[:, :2] + rows[:, 2:] / 2 + rows[:, 2:] * shift
    half = rows[:, 2:] * size / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def groups(config: DetectorConfig) -> list[Judged]:
    """Read the held-back group photos, with YuNet's answers at full size and enlarged twice as their faces."""
    folder = config.data.root / "media" / "photos" / "groups"
    return [_taught(folder / f"{name}.jpg", config, (1.0, 2.0)) for name in HELD_BACK]


def halved(config: DetectorConfig) -> list[Judged]:
    """Shrink the held-back group photos to half; their faces are still those that YuNet sees in the full size."""
    return [_half(picture) for picture in groups(config)]


def _half(picture: Judged) -> Judged:
    image = np.asarray(cv2.resize(picture.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
    return Judged(picture.name, image, picture.faces * np.float32(0.5), picture.disputed * np.float32(0.5))


def masked(config: DetectorConfig) -> list[Judged]:
    """Read the odd-numbered masked faces, with YuNet's answers at full size as their faces."""
    return _portraits(config, "with_mask")


def bare(config: DetectorConfig) -> list[Judged]:
    """Read the odd-numbered bare faces, with YuNet's answers at full size as their faces."""
    return _portraits(config, "without_mask")


def _portraits(config: DetectorConfig, kind: str) -> list[Judged]:
    files = sorted((config.data.root / "media" / "masks" / kind).glob("*.jpg"))
    return [_taught(file, config, (1.0,)) for file in files if int(file.stem) % 2]


def _taught(path: Path, config: DetectorConfig, scales: Sequence[float]) -> Judged:
    image = _read(path)
    teacher = Teacher(config.data.teacher)
    faces, _ = merge([teacher.look(image, scale) for scale in scales])
    sure, doubted = faces.scores >= TRUSTED, (faces.scores < TRUSTED) & (faces.scores >= DOUBTED)
    return Judged(path.name, image, faces.boxes[sure], faces.boxes[doubted])


def _read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path))
    if image is None:
        raise FileNotFoundError(f"{path}: expected a picture; is data.root right?")
    return np.asarray(image, np.uint8)


def _none() -> NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


SETS: dict[str, Callable[[DetectorConfig], list[Judged]]] = {
    "scenes": scenes,
    "dlib": dlib_photos,
    "groups": groups,
    "halved": halved,
    "masked": masked,
    "bare": bare,
}
