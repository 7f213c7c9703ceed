"""Locate the 68 landmarks of a face (iBUG order): our own network, or dlib's predictor, an optional extra.

dlib's weights were trained on 300-W, whose terms exclude commercial use; the analyzer does not need them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, Protocol

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from engines import Crop, Engine, Outputs
from engines.errors import MissingPackage, UserError
from streamer.faces.regions import crop, input_boxes, rounded
from streamer.faces.roll import between, eye_line, middles_of, roll_of, turned

# From the box of dlib's HOG detector to the canonical face box, in shares of its side: centre shift, width, height.
# Best overlap with YuNet's boxes on 1,536 faces that both find (median IoU 0.77: HOG boxes come in steps of 20 %).
HOG_TO_FACE = (0.0, -0.08, 0.92, 1.2)
# The predictor looks around the box it is given: this share of its side on every side is enough.
SURROUNDINGS = 0.6
LOOKS = 3  # at most, at a face that turns out to be turned otherwise than was said
OTHERWISE = float(np.radians(18))  # by so much at least: the network finds the points of faces that are turned less
CLEAR = 0.05  # `usable` from which on the eye line that was found is believed


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Hold what was found of N faces.

    points: (N, 68, 2) float32 pixels; NaN where there is no picture to look at. visibility: (N, 68) float32 in 0-1, and
    usable: (N,) float32 in 0-1, the score that there is a face that can be judged; None where nobody can say.
    """

    points: NDArray[np.float32]
    visibility: NDArray[np.float32] | None = None
    usable: NDArray[np.float32] | None = None


class Landmarker(Protocol):
    """Locate landmarks."""

    def look(
        self,
        images: Sequence[NDArray[np.uint8]],
        boxes: Sequence[NDArray[np.float32]],
        rolls: Sequence[NDArray[np.float32]] | None = None,
    ) -> list[Landmarks]:
        """Look at the (N, 4) xyxy face boxes, as many as there are, in each (H, W, 3) BGR picture.

        rolls: (N,) by which the faces of each are turned, as far as that is known (`streamer.faces.roll`).
        """
        ...

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (N, 68, 2) float32 landmarks, in pixels, of (N, 4) xyxy face boxes in a (H, W, 3) BGR picture."""
        ...

    def close(self) -> None:
        """Free what the landmarker holds."""
        ...


class ZooLandmarker:
    """Run our own network (`train/landmarks`) on the faces of all pictures as one batch; belongs to one thread.

    engine: maps (N, S, S, 1) to `points` in shares of the crop's side, `visibility` and `usable`. A face that is cut by
    the picture's edge, tiny, turned away or upside down gets points like any other, and a low visibility or usable.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.spec.height is None or engine.spec.height != engine.spec.width:
            size = f"{engine.spec.height}x{engine.spec.width}"
            raise UserError(f"landmarks '{engine.spec.name}': expected a fixed square input in its spec, found {size}")
        self.engine = engine

    def look(
        self,
        images: Sequence[NDArray[np.uint8]],
        boxes: Sequence[NDArray[np.float32]],
        rolls: Sequence[NDArray[np.float32]] | None = None,
    ) -> list[Landmarks]:
        """Look at all faces together, upright; see `look_at`."""
        return look_at(self.engine.infer, self.engine.spec.crop, self._shape, images, boxes, rolls)

    @property
    def _shape(self) -> tuple[int, int, Literal[1, 3]]:
        side = self.engine.spec.height or 0
        return side, side, self.engine.spec.channels

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Locate the faces of one picture; a box without area, not finite or outside the picture gives NaN."""
        return self.look([image], [boxes])[0].points

    def close(self) -> None:
        """Close the engine."""
        self.engine.close()


class DlibLandmarker:
    """Run dlib's 68-point predictor (Kazemi & Sullivan 2014) on each face; belongs to one thread.

    path: a predictor file of yours; without it the one of the extra `dlib-landmarks`. Raises MissingPackage where
    that extra is not installed, FileNotFoundError where there is no file, UserError where it is no such predictor.
    """

    def __init__(self, path: Path | None = None) -> None:
        path = installed_predictor() if path is None else path
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected dlib's 68-point landmark predictor, found no file")
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise UserError(f"{path}: expected dlib's 68-point landmark predictor, found something else") from error
        points = self._predictor(np.zeros((8, 8), np.uint8), dlib.rectangle(0, 0, 7, 7)).num_parts
        if points != 68:
            raise UserError(f"{path}: expected a predictor of 68 landmarks, found one of {points}")

    def look(
        self,
        images: Sequence[NDArray[np.uint8]],
        boxes: Sequence[NDArray[np.float32]],
        rolls: Sequence[NDArray[np.float32]] | None = None,
    ) -> list[Landmarks]:
        """Look at each picture on its own, and at faces as they are turned; what can be seen stays unknown."""
        return [Landmarks(self.locate(image, own)) for image, own in zip(images, boxes, strict=True)]

    def close(self) -> None:
        """Do nothing: dlib holds no resources."""

    def locate(self, image: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Locate each face on its own; a box without area, not finite or outside the picture gives NaN."""
        found = np.full((len(boxes), 68, 2), np.nan, np.float32)
        rows = np.flatnonzero(np.isfinite(boxes).all(axis=1))
        for row, box in zip(rows, np.floor(face_to_hog(boxes[rows]) + 0.5).astype(np.int64), strict=True):
            self._locate(image, box, found[row])
        return found

    def _locate(self, image: NDArray[np.uint8], box: NDArray[np.int64], points: NDArray[np.float32]) -> None:
        reach = int(SURROUNDINGS * (box[2] - box[0])) + 1
        left, top = np.maximum(box[:2] - reach, 0)
        right, bottom = np.maximum(box[2:] + reach, 0)
        around = image[top:bottom, left:right]
        if box[2] <= box[0] or not around.size:
            return
        grey = cv2.cvtColor(around, cv2.COLOR_BGR2GRAY)
        x0, y0, x1, y1 = (box - [left, top, left + 1, top + 1]).tolist()
        parts = self._predictor(grey, dlib.rectangle(x0, y0, x1, y1)).parts()
        points[:] = [(left + part.x, top + part.y) for part in parts]


def look_at(
    infer: Callable[[NDArray[np.uint8]], Outputs],
    recipe: Crop,
    shape: tuple[int, int, Literal[1, 3]],
    images: Sequence[NDArray[np.uint8]],
    boxes: Sequence[NDArray[np.float32]],
    rolls: Sequence[NDArray[np.float32]] | None = None,
) -> list[Landmarks]:
    """Ask a landmark network about the (N, 4) face boxes in each picture: all faces upright, as one batch.

    infer: answers (N, height, width, channels) crops of that shape with `points` in shares of the crop's side,
    `visibility` and `usable`. recipe: how they are cut. rolls: (N,) of the faces in each picture, nothing unless said.
    A face that turns out to be turned otherwise is looked at again, and what was seen last counts. A box without area,
    not finite or outside the picture gives NaN.
    """
    counts = [len(own) for own in boxes]
    pictures = [image for image, count in zip(images, counts, strict=True) for _ in range(count)]
    every = np.concatenate([np.zeros((0, 4), np.float32), *boxes])
    every = np.where(np.isfinite(every), every, np.float32(np.nan))
    said = np.concatenate([np.zeros(0, np.float32), *(rolls or [np.zeros(count, np.float32) for count in counts])])
    points, visibility, usable = _ask(infer, recipe, shape, pictures, every, said)
    for _ in range(LOOKS - 1):
        rows = np.flatnonzero((between(eye_line(points), said) > OTHERWISE) & (usable >= CLEAR))
        if not len(rows):
            break
        said[rows] = roll_of(points[rows])
        again = _ask(infer, recipe, shape, [pictures[row] for row in rows], every[rows], said[rows])
        points[rows], visibility[rows], usable[rows] = again
    each = np.split(np.arange(len(every)), np.cumsum(counts)[:-1]) if counts else []
    return [Landmarks(points[own], visibility[own], usable[own]) for own in each]


def _ask(
    infer: Callable[[NDArray[np.uint8]], Outputs],
    recipe: Crop,
    shape: tuple[int, int, Literal[1, 3]],
    pictures: Sequence[NDArray[np.uint8]],
    boxes: NDArray[np.float32],
    rolls: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return points, in pixels of each face's own picture, visibility and usable of N faces."""
    # Rounded here, once, so that the points go back to where `crop` cut.
    squares = rounded(input_boxes(boxes, None, recipe, rolls=rolls))
    cuts = np.zeros((len(boxes), *shape), np.uint8)
    for row, (picture, square, roll) in enumerate(zip(pictures, squares, rolls.tolist(), strict=True)):
        cuts[row] = crop(picture, square, *shape, recipe.padding, roll=roll)
    answers = infer(cuts)
    sides = (squares[:, 2:] - squares[:, :2])[:, None]
    points = turned(squares[:, None, :2] + answers["points"] * sides, middles_of(squares), rolls)
    there = [_shares(picture, square) for picture, square in zip(pictures, squares, strict=True)]
    points[~np.array(there, np.bool_)] = np.nan
    return points, answers["visibility"], answers["usable"]


def _shares(picture: NDArray[np.uint8], square: NDArray[np.float32]) -> bool:
    """Say whether a square is finite and shows at least a pixel of a picture."""
    low, high = np.maximum(square[:2], 0), np.minimum(square[2:], picture.shape[1::-1])
    return bool(np.isfinite(square).all() and (high - low >= 1).all())


def face_to_hog(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (N, 4) canonical face boxes into the squares of dlib's HOG detector, which the predictor expects."""
    shift_x, shift_y, width, height = HOG_TO_FACE
    low, high = boxes[:, :2], boxes[:, 2:]
    side = np.sqrt((high - low).clip(0).prod(axis=1, keepdims=True) / (width * height))
    centre = (low + high) / 2 - side * np.array([shift_x, shift_y], np.float32)
    return np.concatenate([centre - side / 2, centre + side / 2], axis=1).astype(np.float32)


def installed_predictor() -> Path:
    """Find the predictor file of the extra `dlib-landmarks`. Raises MissingPackage where it is not installed."""
    # Importing the package fails with setuptools 82 and newer; its list of files is all that is needed.
    try:
        files: Iterable[metadata.PackagePath] = metadata.distribution("face_recognition_models").files or ()
    except metadata.PackageNotFoundError:
        files = ()
    for file in files:
        if file.name == "shape_predictor_68_face_landmarks.dat":
            return Path(str(file.locate()))
    raise MissingPackage(
        'dlib\'s landmark predictor is not installed: run `pip install "emotion-streamer[dlib-landmarks]"`, '
        "or give the path of its file"
    )
