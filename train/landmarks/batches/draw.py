"""Draw batches: faces in boxes that are a little wrong, some occluded, and pictures that are no usable face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from streamer.faces.regions import face_square
from train import processes
from train.landmarks.batches.faces import MIDDLE, Faces, Kind
from train.landmarks.batches.read import read
from train.landmarks.config import Changes, LandmarksConfig
from train.occluders import NONE, occlude

# The landmark that takes each one's place in a mirror.
MIRRORED = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
     41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
)  # fmt: skip
FACE = np.arange(17, 68)  # landmarks within the face: what is left of them makes a face usable
CHOSEN_ON = 2400  # drawn faces of held-back people on which borders are chosen
USABLE, UNUSABLE = 0.3, 0.1  # visible shares of them from which a face is usable, and below which it is not


@dataclass(frozen=True)
class Batch:
    """Hold N crops and what is to be answered.

    images: (N, S, S, 1) uint8. points: (N, 68, 2) float32 in shares of the side. located: (N,), whether the points
    count. visibility: (N, 68) float32 in 0-1. usable: (N,) float32, 1 or 0. Both are NaN where nobody can say.
    """

    images: NDArray[np.uint8]
    points: NDArray[np.float32]
    located: NDArray[np.bool_]
    visibility: NDArray[np.float32]
    usable: NDArray[np.float32]


class Batches(Dataset[tuple[Tensor, ...]]):
    """Hold this process's shares of the batches of a run; each is drawn from its own number, whoever asks and when."""

    def __init__(
        self, config: LandmarksConfig, sources: Sequence[Sequence[Faces]], textures: Sequence[NDArray[np.uint8]]
    ) -> None:
        self.config, self.sources, self.textures = config, sources, textures
        self.rank, self.count = processes.rank(), processes.share(config.optimizer.batch)

    def __len__(self) -> int:
        return self.config.epochs * self.config.steps

    def __getitem__(self, step: int) -> tuple[Tensor, ...]:
        """Return the fields of a `Batch` as tensors."""
        random = np.random.default_rng((self.config.seed, step, self.rank))
        shares = np.array([source.share for source in self.config.sources])
        chosen = random.choice(len(shares), self.count, p=shares / shares.sum())
        rows = [one_of(self.sources[number], random) for number in chosen]
        batch = draw(rows, self.config, random, self.textures)
        fields = (batch.images, batch.points, batch.located, batch.visibility, batch.usable)
        return tuple(torch.from_numpy(value) for value in fields)


def one_of(source: Sequence[Faces], random: np.random.Generator) -> tuple[Faces, int]:
    """Draw a face of a source: each kind as often as its square root says, so that a small one is seen too."""
    often = np.sqrt([len(faces) for faces in source])
    faces = source[int(random.choice(len(source), p=often / often.sum()))]
    return faces, int(random.integers(len(faces)))


def draw(
    rows: Sequence[tuple[Faces, int]],
    config: LandmarksConfig,
    random: np.random.Generator,
    textures: Sequence[NDArray[np.uint8]] = (),
    families: Sequence[str] | None = None,
) -> Batch:
    """Cut the faces out, hide parts of them, and add the flaws of pictures.

    families: one name a face; drawn as configured where they are not given, and then some faces are made unusable too.
    """
    changes, size = config.changes, config.model.size
    images = np.empty((len(rows), size, size), np.uint8)
    points = np.empty((len(rows), 68, 2), np.float32)
    kinds = np.array([faces.kind for faces, _ in rows])
    located = kinds <= Kind.COVERED
    bad = located & (random.random(len(rows)) < (changes.negatives if families is None else 0))
    for row, (faces, number) in enumerate(rows):
        picture, square, where = faces.pictures[number], _square(faces, number, config), faces.points[number]
        matrix, mirrored = _spoilt(square, config, random) if bad[row] else _pose(square, config, random)
        if bad[row] and textures and random.random() < 0.25:
            picture, where = textures[int(random.integers(len(textures)))], where + 1e4
            matrix = _pose(Square(face_square(_anywhere(picture, random), config.margin, 0.0)), config, random)[0]
        border = cv2.BORDER_CONSTANT if random.random() < 0.7 else cv2.BORDER_REFLECT
        images[row] = cv2.warpAffine(picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=border)
        moved = (where - MIDDLE) @ matrix[:, :2].T + matrix[:, 2] + MIDDLE  # OpenCV counts from the middle of pixels
        points[row] = moved[MIRRORED] if mirrored else moved
    if families is None:
        families = _families(kinds, changes, random)
    images, visibility = occlude(images, points, families, random)
    visibility[(kinds == Kind.COVERED) & ~bad] = np.nan
    visibility[bad | (kinds == Kind.NOTHING)] = 0
    left = visibility[:, FACE].mean(axis=1)
    usable = np.where(left >= USABLE, 1, np.where(left < UNUSABLE, 0, np.nan))
    usable[np.isnan(left)] = 1  # a face, whatever of it can be seen
    images = _flawed(images, changes, random)
    shares = np.where(located[:, None, None], points / np.float32(size), 0)
    return Batch(images[..., None], shares, located & ~bad, visibility, usable.astype(np.float32))


def held_back(config: LandmarksConfig) -> Batch:
    """Draw faces of people who were not trained on, and what else sources hold, changed and occluded as in training."""
    sources = [read(source, "validation") for source in config.sources]
    random = np.random.default_rng(0)
    rows = [one_of(source, random) for source in sources for _ in range(CHOSEN_ON // len(sources))]
    return draw(rows, config, random)


def _families(kinds: NDArray[np.int64], changes: Changes, random: np.random.Generator) -> list[str]:
    hidden = (kinds == Kind.CLEAR) & (random.random(len(kinds)) < changes.occlude)
    names = random.choice(np.array(changes.families), len(kinds))
    return [str(name) if one else NONE for name, one in zip(names, hidden, strict=True)]


class Square(NamedTuple):
    """Hold what a crop of a face shows where all is right: its (4,) square and by how many radians that is turned."""

    box: NDArray[np.float32]
    roll: float = 0.0


def _square(faces: Faces, number: int, config: LandmarksConfig) -> Square:
    return Square(face_square(faces.boxes[number], config.margin, 0.0), float(faces.rolls[number]))


def _pose(square: Square, config: LandmarksConfig, random: np.random.Generator) -> tuple[NDArray[np.float64], bool]:
    """Return the (2, 3) map from the picture to the crop of a box that is a little wrong, and whether it mirrors."""
    changes = config.changes
    # Most boxes are nearly right: the square of an even draw keeps the sign and favours small errors.
    shift = _favoured(random, changes.shift, 2)
    scale = float(np.exp(_favoured(random, np.log1p(changes.scale), 1)[0]))
    angle = np.radians(np.clip(random.normal(0, changes.degrees), -40, 40))
    return _map(square, config, shift, scale, angle, random)


def _spoilt(square: Square, config: LandmarksConfig, random: np.random.Generator) -> tuple[NDArray[np.float64], bool]:
    """Return a map after which nothing of use can be seen: beside the face, a detail, far too small, upside down."""
    kind, shift, scale, angle = random.integers(4), random.normal(0, 0.1, 2), 1.0, random.normal(0, 0.2)
    if kind == 0:
        turn = random.uniform(0, 2 * np.pi)
        shift = random.uniform(0.75, 1.6) * np.array([np.cos(turn), np.sin(turn)])
    elif kind == 1:
        scale = random.uniform(2.6, 5.0)
        shift = random.uniform(-1.0, 1.0, 2)
    elif kind == 2:
        scale = random.uniform(0.15, 0.4)
    else:
        angle += np.pi * random.uniform(0.7, 1.3)
    return _map(square, config, shift, scale, angle, random)


def _map(
    turned: Square,
    config: LandmarksConfig,
    shift: NDArray[np.float64],
    scale: float,
    angle: float,
    random: np.random.Generator,
) -> tuple[NDArray[np.float64], bool]:
    square, size = turned.box, config.model.size
    side = float(square[2] - square[0])
    mirrored = bool(random.random() < 0.5)
    stretch = float(np.exp(random.uniform(-1, 1) * np.log1p(config.changes.stretch)))
    cos, sin = np.cos(angle) * scale * size / side, np.sin(angle) * scale * size / side
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([(-1 if mirrored else 1) * stretch, 1 / stretch])
    turn = turn @ np.array([[np.cos(turned.roll), np.sin(turned.roll)], [-np.sin(turned.roll), np.cos(turned.roll)]])
    centre = (square[:2] + square[2:]) / 2
    offset = size * (0.5 + shift) - turn @ centre
    # Pixel i covers [i, i + 1); warpAffine places its centre at i.
    offset += turn @ np.array([0.5, 0.5]) - 0.5
    matrix = np.concatenate([turn, offset[:, None]], axis=1)
    return matrix, mirrored


def _favoured(random: np.random.Generator, bound: float, count: int) -> NDArray[np.float64]:
    """Draw numbers within the bound, half of them evenly and half of them nearer to zero."""
    draws = random.uniform(-1, 1, count)
    return np.asarray(bound * (draws * np.abs(draws) if random.random() < 0.5 else draws))


def _anywhere(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """Return a random square of a picture."""
    side = random.uniform(0.1, 0.6) * min(picture.shape)
    corner = random.uniform(0, 1, 2) * (np.array(picture.shape[::-1]) - side)
    return np.concatenate([corner, corner + side]).astype(np.float32)


def _flawed(images: NDArray[np.uint8], changes: Changes, random: np.random.Generator) -> NDArray[np.uint8]:
    """Change tones, then make some pictures dark, soft, small or noisy."""
    count, size = images.shape[:2]
    gain, offset = np.exp(random.normal(0, 0.2, count)), random.normal(0, 15, count)
    gamma = np.exp(random.normal(0, 0.25, count))
    dim = random.random(count) < changes.dark
    gain = np.where(dim, gain * random.uniform(0.15, 0.5, count), gain)
    levels = np.linspace(0, 1, 256)
    tables = 255 * levels[None] ** gamma[:, None] * gain[:, None] + (offset * np.minimum(gain, 1))[:, None]
    tables = tables.clip(0, 255).astype(np.uint8)
    changed = np.empty_like(images)
    draws = random.random((count, 3))
    for row in range(count):
        picture = np.asarray(cv2.LUT(images[row], tables[row]))
        if draws[row, 0] < changes.small:
            small = int(random.uniform(0.15, 0.7) * size)
            picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
            picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
        elif draws[row, 1] < changes.blur:
            picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.5, 1.8))
        changed[row] = picture
    noisy = np.flatnonzero(draws[:, 2] < changes.noise)
    strength = random.uniform(0.01, 0.12, (len(noisy), 1, 1)).astype(np.float32)
    grain = random.integers(-128, 128, (len(noisy), size, size), dtype=np.int8).astype(np.float32) * strength
    changed[noisy] = (changed[noisy] + grain).clip(0, 255)
    return changed
