"""Compose scenes of people whose places are known: cut out of clips and photos, and moved before photos without people.

A scene is asked for its frames in turn and tells for each where every person's face is and how much of it can be seen.
Faces are placed by a reference detector (YuNet) in the clip that they come from, not by the one that is measured.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Matte = NDArray[np.float32]
Box = NDArray[np.float32]
Path2D = Callable[[float], tuple[float, float] | None]
FPS = 25
MATTE = 160  # pixels, longer side of the picture in which people are cut out


class Seen(NamedTuple):
    """Say where a face is (xyxy) and which share of it, 0-1, can be seen."""

    box: Box
    share: float


Moment = tuple[Picture, dict[str, Seen]]


class Layer(NamedTuple):
    """Hold the opacity, 0-1, of something drawn with its left upper corner at a place."""

    left: int
    top: int
    matte: Matte


class Reference:
    """Find the largest face of a picture with YuNet."""

    def __init__(self, model: Path, score: float = 0.6) -> None:
        self._net = cv2.FaceDetectorYN.create(str(model), "", (320, 320), score, 0.3, 5000)

    def all(self, picture: Picture) -> NDArray[np.float32]:
        """Return (N, 4) xyxy boxes."""
        self._net.setInputSize(picture.shape[1::-1])
        rows = self._net.detect(picture)[1]
        rows = np.zeros((0, 15), np.float32) if rows is None else rows[np.isfinite(rows).all(axis=1)]
        return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1).astype(np.float32)

    def one(self, picture: Picture) -> Box | None:
        """Return the box of the only face, None where there is none or several."""
        found = self.all(picture)
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class Person:
    """Hold somebody cut out of consecutive pictures: what to paste, how opaque it is (0-1), where the face is."""

    name: str
    pictures: Sequence[Picture]
    mattes: Sequence[Matte]
    boxes: NDArray[np.float32]

    @property
    def side(self) -> float:
        return float(np.median((self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1)))

    @property
    def centre(self) -> NDArray[np.float32]:
        return np.asarray(np.median((self.boxes[:, :2] + self.boxes[:, 2:]) / 2, axis=0), np.float32)


def cut_out(picture: Picture, box: Box) -> Matte:
    """Return the (H, W) opacity of the person with this face: GrabCut from a sure face and a likely bust."""
    scale = MATTE / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top, right, bottom = (box * scale).tolist()
    x, y, w, h = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.ellipse(marks, (round(x), round(y - 0.1 * h)), (round(0.95 * w), round(0.95 * h)), 0, 0, 360, cv2.GC_PR_FGD, -1)
    chest = np.array([[x - 0.6 * w, y], [x + 0.6 * w, y], [x + 1.8 * w, MATTE], [x - 1.8 * w, MATTE]])
    cv2.fillPoly(marks, [chest.astype(int)], cv2.GC_PR_FGD)
    cv2.ellipse(marks, (round(x), round(y)), (round(0.45 * w), round(0.5 * h)), 0, 0, 360, cv2.GC_FGD, -1)
    marks[:2] = cv2.GC_BGD  # there must be some
    cv2.grabCut(small, marks, None, np.zeros((1, 65)), np.zeros((1, 65)), 2, cv2.GC_INIT_WITH_MASK)
    kept = ((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD)).astype(np.uint8)
    parts, labels, stats, _ = cv2.connectedComponentsWithStats(kept)
    if parts > 1:
        kept = (labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)
    kept = cv2.morphologyEx(kept, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    soft = cv2.GaussianBlur(kept.astype(np.float32), (0, 0), 1.0)
    return np.asarray(cv2.resize(soft, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def from_clip(path: Path, reference: Reference, most: int = 60) -> Person | None:
    """Cut the only person out of the first pictures of a clip; None where some picture has no face."""
    video, pictures, boxes = cv2.VideoCapture(str(path)), [], []
    while len(pictures) < most and (read := video.read())[0]:
        picture = np.asarray(read[1], np.uint8)
        if (box := reference.one(picture)) is None:
            break
        pictures.append(picture)
        boxes.append(box)
    video.release()
    if len(pictures) < min(most, 50):
        return None
    mattes = [cut_out(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
    return Person(path.stem, pictures, mattes, np.stack(boxes))


def from_photo(path: Path, reference: Reference, longest: int = 384) -> Person | None:
    """Cut the only person out of a photo; None where the face is small or reaches to the edge."""
    picture = cv2.imread(str(path))
    if picture is None or min(picture.shape[:2]) < 100:
        return None
    scale = min(1.0, longest / max(picture.shape[:2]))
    picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    box = reference.one(picture)
    if box is None or (box[:2] < 4).any() or (box[2:] > [picture.shape[1] - 4, picture.shape[0] - 4]).any():
        return None
    return Person(path.stem, [picture], [cut_out(picture, box)], box[None]) if box[3] - box[1] >= 48 else None


@dataclass
class Actor:
    """Move a person's face, `side` pixels long, along path(seconds): its centre, or None while away."""

    person: Person
    side: float
    path: Path2D
    name: str = ""
    phase: int = 0
    sway: float = 0.0  # of a photo, which has no movement of its own: degrees

    def place(self, time: float) -> tuple[int, NDArray[np.float32]] | None:
        """Return which picture of the person is shown, and the (2, 3) matrix that puts it into the scene."""
        at = self.path(time)
        if at is None:
            return None
        count = len(self.person.pictures)
        step = (round(time * FPS) + self.phase) % max(1, 2 * count - 2)
        index = min(step, 2 * count - 2 - step) if count > 1 else 0
        turn = self.sway * np.sin(2.1 * time + self.phase)
        matrix = cv2.getRotationMatrix2D(self.person.centre.tolist(), turn, self.side / self.person.side)
        matrix[:, 2] += np.array(at) - self.person.centre
        return index, np.asarray(matrix, np.float32)


Cover = Callable[[Picture, float], Matte]  # paints over a picture at a time; tells the opacity of what it painted
Camera = Callable[[float], tuple[float, float, float]]  # left and top of what is seen, and how much it is enlarged


@dataclass
class Scene:
    """Draw actors, the last in front, then covers, before a ground; a camera may see a part of all that."""

    seconds: float
    ground: Picture
    actors: list[Actor]
    covers: list[Cover] = field(default_factory=list)
    camera: Camera | None = None
    view: tuple[int, int] = (640, 360)

    @property
    def frames(self) -> int:
        return round(self.seconds * FPS)

    def at(self, index: int) -> Moment:
        """Return a frame and the faces in it by the name of the actor."""
        time, picture = index / FPS, self.ground.copy()
        boxes: dict[str, Box] = {}
        layers: list[Layer] = []
        for actor in self.actors:
            if (placed := actor.place(time)) is not None:
                layers.append(_paste(picture, actor.person, *placed))
                boxes[actor.name] = _face(actor.person, *placed)
        behind = [layers[number + 1 :] for number in range(len(layers))]
        covers = [Layer(0, 0, cover(picture, time)) for cover in self.covers]
        size = picture.shape[1::-1]
        shares = {
            name: _shown(box, [*front, *covers], size) for (name, box), front in zip(boxes.items(), behind, strict=True)
        }
        if self.camera is None:
            return picture, {name: Seen(box, shares[name]) for name, box in boxes.items()}
        left, top, zoom = self.camera(time)
        matrix = np.array([[zoom, 0, -zoom * left], [0, zoom, -zoom * top]])
        seen = np.asarray(cv2.warpAffine(picture, matrix, self.view, borderMode=cv2.BORDER_REFLECT), np.uint8)
        moved = {
            name: ((box.reshape(2, 2) - (left, top)) * zoom).astype(np.float32).ravel() for name, box in boxes.items()
        }
        return seen, {name: Seen(box, shares[name] * _inside(box, self.view)) for name, box in moved.items()}


@dataclass
class Film:
    """Show scenes after each other; each blends into the next for `blend` frames, or is cut where that is 0.

    black: blends go through black.
    """

    scenes: Sequence[Scene]
    blend: int = 0
    black: bool = False

    @property
    def frames(self) -> int:
        return sum(scene.frames for scene in self.scenes) - self.blend * (len(self.scenes) - 1)

    def at(self, index: int) -> Moment:
        """Return a frame and its faces by 'shot/name'; of a mixture a shot counts the more it is beyond one half."""
        start, shown = 0, []
        for number, scene in enumerate(self.scenes):
            if start <= index < start + scene.frames:
                shown.append((number, scene, index - start))
            start += scene.frames - self.blend
        weight = (shown[-1][2] + 1) / (self.blend + 1) if len(shown) == 2 else 1.0
        weights = [1 - weight, weight][-len(shown) :]
        if self.black and len(shown) == 2:
            weights = [max(0.0, 1 - 2 * weight), max(0.0, 2 * weight - 1)]
        picture, faces = np.zeros((self.scenes[0].view[1], self.scenes[0].view[0], 3), np.float32), {}
        for (number, scene, at), share in zip(shown, weights, strict=True):
            own, seen = scene.at(at)
            picture += np.float32(share) * own
            clear = max(0.0, 2 * share - 1)
            faces |= {f"{number}/{name}": Seen(one.box, one.share * clear) for name, one in seen.items()}
        return (picture + 0.5).clip(0, 255).astype(np.uint8), faces


def _paste(picture: Picture, person: Person, index: int, matrix: NDArray[np.float32]) -> Layer:
    """Draw a person into the picture; return where, and how opaque."""
    height, width = picture.shape[:2]
    high, wide = person.mattes[index].shape
    corners = np.array([[0, 0], [wide, 0], [0, high], [wide, high]], np.float32) @ matrix[:, :2].T + matrix[:, 2]
    left, top = np.clip(np.floor(corners.min(axis=0)), 0, [width, height]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(corners.max(axis=0)), 0, [width, height]).astype(int).tolist()
    if right <= left or bottom <= top:
        return Layer(0, 0, np.zeros((0, 0), np.float32))
    moved = matrix.copy()
    moved[:, 2] -= (left, top)
    size = (right - left, bottom - top)
    way = cv2.INTER_AREA if np.hypot(*matrix[0, :2]) < 1 else cv2.INTER_LINEAR
    matte = np.asarray(cv2.warpAffine(person.mattes[index], moved, size, flags=way), np.float32)
    cut = cv2.warpAffine(person.pictures[index], moved, size, flags=way, borderMode=cv2.BORDER_REPLICATE)
    part = picture[top:bottom, left:right]
    part[:] = (part + (cut - part.astype(np.float32)) * matte[..., None] + 0.5).astype(np.uint8)
    return Layer(left, top, matte)


def _face(person: Person, index: int, matrix: NDArray[np.float32]) -> Box:
    corners = person.boxes[index].reshape(2, 2)
    centre = matrix[:, :2] @ corners.mean(axis=0) + matrix[:, 2]
    half = (corners[1] - corners[0]) / 2 * float(np.hypot(*matrix[0, :2]))
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def _shown(box: Box, front: Sequence[Layer], size: tuple[int, ...]) -> float:
    """Return the share of a box that lies in the picture of a (width, height) and is not hidden by what is in front."""
    low = np.clip(box[:2].round(), 0, size).astype(int)
    high = np.clip(box[2:].round(), 0, size).astype(int)
    if (high <= low).any():
        return 0.0
    hidden = np.zeros((high[1] - low[1], high[0] - low[0]), np.float32)
    for layer in front:
        start, end = np.array([layer.left, layer.top]), np.array([layer.left, layer.top]) + layer.matte.shape[::-1]
        first, last = np.maximum(low, start), np.minimum(high, end)
        if (last > first).all():
            own = layer.matte[first[1] - start[1] : last[1] - start[1], first[0] - start[0] : last[0] - start[0]]
            part = hidden[first[1] - low[1] : last[1] - low[1], first[0] - low[0] : last[0] - low[0]]
            np.maximum(part, own, out=part)
    return float((1 - hidden).sum() / max(float((box[2:] - box[:2]).prod()), 1.0))


def _inside(box: Box, view: tuple[int, int]) -> float:
    shared = np.clip(np.minimum(box[2:], view) - np.maximum(box[:2], 0), 0, None).prod()
    return float(shared / max((box[2:] - box[:2]).prod(), 1.0))


def is_kept(name: str) -> bool:
    """Tell whether a picture is of those, every fifth, that nothing is chosen on."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0


def grounds_of(scenes: Path, kept: bool, most: int, random: np.random.Generator) -> list[Picture]:
    """Return photos without people of marked scenes (a folder with boxes.csv)."""
    with (scenes / "boxes.csv").open() as rows:
        names = sorted({row["picture"] for row in csv.DictReader(rows) if row["labels"] == "none"})
    photos = [name for name in names if name.startswith("imagenet") and is_kept(name) == kept]
    chosen = [photos[at] for at in random.permutation(len(photos))[:most]]
    return [np.asarray(cv2.imread(str(scenes / name)), np.uint8) for name in chosen]


def clips_of(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.iterdir()) if path.suffix in (".mp4", ".gif"))
