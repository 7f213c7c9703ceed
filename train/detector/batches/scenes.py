"""Paint random scenes: photos, mosaics of photos, and cut-out faces on textures; then damage them as cameras do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from train.detector.batches import place
from train.detector.batches.damage import damage, occlude
from train.detector.batches.mine import Alarm
from train.detector.batches.pictures import EMPTY, Picture
from train.detector.batches.place import Pose, Region, Scene
from train.detector.config import Scenes

MOST = 60  # faces of a scene; further ones are rare and become disputed ground by being painted over
LAYOUTS = {"photo": 0.25, "mosaic": 0.3, "cut_outs": 0.2, "parts": 0.25}
ALARMS = 0.4  # share of parts that show a false alarm of the network
NOBODY = 0.6  # share of the other parts that come from pictures without people
LARGER = 4.0  # times its own size is how large a face is shown at most, unless all of it would be small
# How often a photo comes from a source:
SHARES = {"lfw": 0.15, "ytf": 0.1, "masks": 0.13, "groups": 0.1, "videos": 0.07, "fer": 0.04, "people": 0.25}
SHARES |= {"loose": 0.08, "street": 0.08}


class Painter:
    """Draw scenes from labelled pictures; the same random numbers give the same scenes.

    alarms: places without a face that parts of scenes are to show.
    """

    def __init__(self, pictures: Sequence[Picture], settings: Scenes) -> None:
        self.settings = settings
        self.alarms: Sequence[Alarm] = ()
        self._by_source = {name: [picture for picture in pictures if picture.source == name] for name in SHARES}
        self._names = [name for name, found in self._by_source.items() if found]
        shares = np.array([SHARES[name] for name in self._names])
        self._shares = shares / shares.sum()
        empty = [[picture for picture in pictures if picture.source == name] for name in EMPTY]
        self._empty = [found for found in empty if found]

    def paint(self, random: np.random.Generator, size: int) -> Scene:
        """Return one scene of `size` x `size` pixels."""
        scene = Scene(self._background(random, size))
        layout = random.choice(list(LAYOUTS), p=list(LAYOUTS.values()))
        if layout == "photo":
            self._photo(scene, random, (0, 0, size, size))
        elif layout == "mosaic":
            self._mosaic(scene, random, size)
        elif layout == "parts":
            for region in _grid(size, int(random.integers(1, 4))):
                self._part(scene, random, region)
        else:
            self._cut_outs(scene, random, size)
        for box, points, kind in zip(scene.boxes, scene.points, scene.kind, strict=True):
            if kind == 1 and random.random() < self.settings.occlude:
                occlude(scene.image, box, points, random)
        for number, box in enumerate(scene.boxes):
            if max(box[2] - box[0], box[3] - box[1]) < self.settings.smallest:
                scene.kind[number] = -1
        damage(scene, self.settings, random)
        return scene

    def _draw(self, random: np.random.Generator) -> tuple[Picture, int]:
        pictures = self._by_source[random.choice(self._names, p=self._shares)]
        picture = pictures[random.integers(len(pictures))]
        return picture, int(random.choice(np.flatnonzero(picture.sure)))

    def _pose(self, random: np.random.Generator, x: float, y: float, side: float) -> Pose:
        degrees = random.normal(0, 8) if random.random() < 0.6 else random.uniform(-1, 1) * self.settings.degrees
        return Pose(x, y, side, np.deg2rad(degrees), bool(random.random() < 0.5), float(random.uniform(0.9, 1.1)))

    def _photo(self, scene: Scene, random: np.random.Generator, region: Region, share: float = 0.0) -> None:
        """Fill a region with a photo; `share` of the region's side is what its face takes, 0 draws any size."""
        picture, face = self._draw(random)
        x0, y0, x1, y1 = region
        sides = picture.boxes[face, 2:] - picture.boxes[face, :2]
        filling = 0.6 * (x1 - x0) * float(sides.max()) / max(picture.image.shape)  # the photo covers much of the region
        high = min(self.settings.largest, 1.5 * (x1 - x0))
        low = min(max(self.settings.smallest, filling), 0.5 * high)
        high = min(high, max(LARGER * float(sides.max()), 2 * low))
        side = share * (x1 - x0) if share else float(np.exp(random.uniform(np.log(low), np.log(high))))
        x, y = x0 + (x1 - x0) * random.uniform(0.1, 0.9), y0 + (y1 - y0) * random.uniform(0.1, 0.9)
        outside = -1 if random.random() < 0.4 else int(random.integers(256))
        place.place(scene, picture, picture.boxes[face], self._pose(random, x, y, side), region, outside)

    def _mosaic(self, scene: Scene, random: np.random.Generator, size: int) -> None:
        count = int(random.choice([2, 3, 4, 6, 8, 10], p=[0.25, 0.25, 0.2, 0.15, 0.1, 0.05]))
        least = self.settings.smallest / (size / count)
        for region in _grid(size, count):
            if len(scene.boxes) >= MOST or random.random() < 0.2:
                self._part(scene, random, region)
            else:
                self._photo(scene, random, region, max(random.uniform(0.25, 1.0), least))

    def _part(self, scene: Scene, random: np.random.Generator, region: Region) -> None:
        """Fill a region with any part of a photo at any scale: mostly clothes, walls, hands; its faces are known."""
        x0, y0, x1, y1 = region
        outside = -1 if random.random() < 0.5 else int(random.integers(256))
        if self.alarms and random.random() < ALARMS:
            picture, box = self.alarms[int(random.integers(len(self.alarms)))]
            x, y = x0 + (x1 - x0) * random.uniform(0.3, 0.7), y0 + (y1 - y0) * random.uniform(0.3, 0.7)
            pose = self._pose(random, x, y, max(8.0, (x1 - x0) * float(np.exp(random.uniform(np.log(0.1), 0)))))
            place.place(scene, picture, box, pose, region, outside)
            return
        if self._empty and random.random() < NOBODY:
            picture = self._nobody(random)
        else:
            picture, _ = self._draw(random)
        height, width = picture.image.shape
        side = float(min(height, width)) * np.exp(random.uniform(np.log(0.08), 0))
        x, y = random.uniform(0, width), random.uniform(0, height)
        anchor = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2], np.float32)
        pose = self._pose(random, (x0 + x1) / 2, (y0 + y1) / 2, float(max(x1 - x0, y1 - y0)))
        place.place(scene, picture, anchor, pose, region, outside)

    def _cut_outs(self, scene: Scene, random: np.random.Generator, size: int) -> None:
        """Place faces where they do not touch, on a texture or on parts of photos: in one scene of six none, in one of
        four a crowd.
        """
        if random.random() < 0.5:
            self._part(scene, random, (0, 0, size, size))
        crowd = random.random() < 0.25
        high = 40.0 if crowd else 0.8 * size
        count = int(random.integers(12, 40)) if crowd else int(random.integers(0, 12))
        for _ in range(count if random.random() < 5 / 6 else 0):
            side = float(np.exp(random.uniform(np.log(self.settings.smallest), np.log(high))))
            x, y = random.uniform(0, size, 2)
            apart = [
                max(abs(x - (b[0] + b[2]) / 2), abs(y - (b[1] + b[3]) / 2)) - (b[3] - b[1]) / 2 for b in scene.boxes
            ]
            if min(apart, default=size) > 0.6 * side:
                picture, face = self._draw(random)
                place.cut_out(scene, picture, face, self._pose(random, x, y, side))

    def _nobody(self, random: np.random.Generator) -> Picture:
        """Take a picture without people, its source drawn first."""
        found = self._empty[random.integers(len(self._empty))]
        return found[random.integers(len(found))]

    def _background(self, random: np.random.Generator, size: int) -> NDArray[np.uint8]:
        """Take a flat grey, smooth or rough noise, or a piece of a texture at any scale."""
        kind = random.random()
        if kind < 0.2 or not self._empty:
            return np.full((size, size), random.integers(256), np.uint8)
        if kind < 0.4:
            cells = int(2 ** random.uniform(1, 6))
            noise = random.normal(random.uniform(40, 215), random.uniform(5, 80), (cells, cells)).clip(0, 255)
            return np.asarray(
                cv2.resize(noise.astype(np.uint8), (size, size), interpolation=int(random.integers(0, 3)))
            )
        picture = self._nobody(random)
        if len(picture.boxes):  # a disputed face must be entered
            return np.full((size, size), random.integers(256), np.uint8)
        image = picture.image
        part = int(np.clip(size / np.exp(random.uniform(-1.2, 1.2)), 8, min(image.shape)))
        y, x = (random.integers(0, side - part + 1) for side in image.shape)
        piece = np.rot90(image[y : y + part, x : x + part], int(random.integers(4)))
        return np.asarray(cv2.resize(np.ascontiguousarray(piece), (size, size), interpolation=cv2.INTER_AREA))


def _grid(size: int, count: int) -> list[Region]:
    """Divide a square of `size` pixels into `count` x `count` regions."""
    edges = np.linspace(0, size, count + 1).round().astype(int).tolist()
    spans = list(pairwise(edges))
    return [(x0, y0, x1, y1) for y0, y1 in spans for x0, x1 in spans]
