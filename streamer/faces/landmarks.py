"""Locate the 68 landmarks of a face (iBUG order): our own network, or dlib's predictor, an optional extra.

dlib's weights were trained on 300-W, whose terms exclude commercial use; the analyzer does not need them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

import cv2
import dlib
import numpy as np
from numpy.typing import NDArray

from engines import Engine
from engines.errors import MissingPackage, UserError
from engines.finite import Finite, placed
from streamer.faces.regions import crop, face_square

# From the box of dlib's HOG detector to the canonical face box, in shares of its side: centre shift, width, height.
# Best overlap with YuNet's boxes on 1,536 faces that both find (median IoU 0.77: HOG boxes come in steps of 20 %).
HOG_TO_FACE = (0.0, -0.08, 0.92, 1.2)
# The predictor looks around the box it is given: this share of its side on every side is enough.
SURROUNDINGS = 0.6


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

    def look(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]) -> list[Landmarks]:
        """Look at the (N, 4) xyxy face boxes, as many as there are, in each (H, W, 3) BGR picture."""
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
    finite: counts answers that are no numbers; they are points of NaN, and nothing is seen or usable.
    """

    def __init__(self, engine: Engine) -> None:
        if engine.spec.height is None or engine.spec.height != engine.spec.width:
            size = f"{engine.spec.height}x{engine.spec.width}"
            raise UserError(f"landmarks '{engine.spec.name}': expected a fixed square input in its spec, found {size}")
        self.engine = engine
        self.finite = Finite()

    def look(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]) -> list[Landmarks]:
        """Look at all faces together."""
        recipe, side, channels = self.engine.spec.crop, self.engine.spec.height or 0, self.engine.spec.channels
        # Rounded here, once, so that the points go back to where `crop` cut.
        finite = [np.where(np.isfinite(own), own, np.float32(np.nan)) for own in boxes]
        squares = [np.floor(face_square(own, recipe.margin, recipe.shift_y) + 0.5) for own in finite]
        crops = np.zeros((sum(map(len, boxes)), side, side, channels), np.uint8)
        cuts = iter(crops)
        for image, own in zip(images, squares, strict=True):
            for square in own:
                next(cuts)[:] = crop(image, square, side, side, channels, recipe.padding)
        answers = self.engine.infer(crops)
        found, start = [], 0
        for image, own in zip(images, squares, strict=True):
            rows = slice(start, start + len(own))
            sides = (own[:, 2:] - own[:, :2])[:, None]
            points = placed(own[:, None, :2] + answers["points"][rows] * sides)
            visibility, usable, inside = answers["visibility"][rows], answers["usable"][rows], _in_picture(own, image)
            points[~inside] = np.nan
            sound = self.finite(self.engine.spec.name, (points, visibility, usable), asked=inside)
            points[~sound], visibility[~sound & inside], usable[~sound & inside] = np.nan, 0, 0
            found.append(Landmarks(points, visibility, usable))
            start += len(own)
        return found

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

    def look(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[NDArray[np.float32]]) -> list[Landmarks]:
        """Look at each picture on its own; what can be seen stays unknown."""
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


def _in_picture(squares: NDArray[np.float32], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Say which (N, 4) squares are finite and show at least a pixel of a picture."""
    low, high = np.maximum(squares[:, :2], 0), np.minimum(squares[:, 2:], image.shape[1::-1])
    with np.errstate(invalid="ignore"):
        return np.asarray((high - low >= 1).all(axis=1) & np.isfinite(squares).all(axis=1), np.bool_)


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
