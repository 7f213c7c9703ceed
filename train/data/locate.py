"""Where the faces of a data set lie: detection and 68 landmarks, kept by content in a cache folder.

Pictures that come as faces (FER2013: 48x48) are enlarged and searched with a low threshold, since a face is there. On
250 faces of YouTube-Faces, shrunk to 48x48, landmarks in the boxes found so are wrong by 6.5 % of the eyes' distance in
the mean, and by 13.8 % in a box at the usual place.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from engines.errors import UserError
from engines.manifest import sha256_of
from streamer.build import SHIPPED_DETECTOR, in_zoo, load_detector
from streamer.config import Config, load_config
from streamer.faces.boxes import iou
from streamer.faces.detect import Detector, HogDetector
from streamer.faces.landmarks import Landmarker
from train.data import FaceSet

log = logging.getLogger(__name__)

FACE_PIXELS = 192  # the shorter side to which a picture that is a face is enlarged
BORDER = 0.15  # of the shorter side, added around it: the detector wants to see some surroundings
SURE, UNSURE = 0.5, 0.35  # HOG scores for a photo and for a picture that is known to be a face
SMALLEST = 0.4  # of the picture's width: a smaller box in a picture that is a face is a mistake
# Where a face of FER2013 that the detector does not find is looked for: centre and half sides in shares of the picture,
# the usual place (the median of those it finds) and around it. The landmarks count where these starts agree, within
# this share of the eyes' distance in the mean: then they are 9 % wrong on YouTube-Faces, and 31 % where they disagree.
STEPS = ((0, 0, 1), (-0.06, 0, 1), (0.06, 0, 1), (0, -0.06, 1), (0, 0.06, 1), (0, 0, 0.88), (0, 0, 0.75))
STARTS = np.array([[0.5 + x, 0.475 + y, 0.43 * size, 0.51 * size] for x, y, size in STEPS], np.float32)
AGREEMENT = 0.12
# Pixels of the smallest face looked for in a photo whose longer side is at most twice LARGE_PHOTO, doubled with it.
SMALLEST_FACE, LARGE_PHOTO = 40, 640
SAVE_EVERY = 500  # pictures
VERSION = 1  # of the search: another one does not take the old cache


class Finder(Protocol):
    """Find the face of a picture; `name` changes with what is found."""

    name: str

    def find(
        self, picture: NDArray[np.uint8], given: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (4,) box and (68, 2) landmarks in pixels of the (H, W, C) picture, NaN where none were found."""
        ...

    def close(self) -> None:
        """Free what the finder holds."""
        ...


class FaceFinder:
    """Find the face of a picture: the canonical box, and the landmarks where there is a landmarker.

    The picture is the face where no box is given; a given box of NaN says that the face lies anywhere, another box says
    about where.
    """

    def __init__(self, landmarker: Landmarker | None) -> None:
        self.landmarker = landmarker
        self.name = f"faces{VERSION}-hog" + (f"-{type(landmarker).__name__.lower()}" if landmarker else "")
        self._detectors: dict[tuple[int, float], Detector] = {}

    def find(
        self, picture: NDArray[np.uint8], given: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (4,) box and (68, 2) landmarks in pixels of the (H, W, C) picture, NaN where none were found."""
        scale, border = 1.0, 0
        if given is None:
            scale = max(1.0, FACE_PIXELS / min(picture.shape[:2]))
            border = round(BORDER * scale * min(picture.shape[:2]))
        image = _enlarge(picture, scale, border)
        box = self._face_box(image, border) if given is None else self._photo_box(image, given)
        points = np.full((68, 2), np.nan, np.float32)
        if self.landmarker and np.isfinite(box).all():
            points = self.landmarker.locate(image, box[None])[0]
        elif self.landmarker and given is None:
            points = _agreed(self.landmarker.locate(image, _starts(image, border)))
        if not plausible(points[None])[0]:
            points = np.full((68, 2), np.nan, np.float32)
        return (box - border) / scale, (points - border) / scale

    def close(self) -> None:
        """Do nothing: there is nothing to free."""

    def _face_box(self, image: NDArray[np.uint8], border: int) -> NDArray[np.float32]:
        """Return the surest box in a picture that is a face, NaN where there is none of a fitting size."""
        found = self._detector(FACE_PIXELS * 5 // 12, UNSURE).detect([image])[0]
        large = found.boxes[:, 2] - found.boxes[:, 0] >= SMALLEST * (image.shape[1] - 2 * border)
        return found.boxes[large][0] if large.any() else np.full(4, np.nan, np.float32)

    def _photo_box(self, image: NDArray[np.uint8], given: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the largest face of a photo, or the one that a given box means (else that box itself)."""
        doublings = int(np.log2(max(1.0, max(image.shape[:2]) / LARGE_PHOTO)))
        found = self._detector(SMALLEST_FACE << doublings, SURE).detect([image])[0]
        if np.isfinite(given).all():
            overlaps = iou(found.boxes, given[None])[:, 0]
            return found.boxes[int(overlaps.argmax())] if len(overlaps) and overlaps.max() > 0.3 else given
        areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1)
        return found.boxes[int(areas.argmax())] if len(found) else np.full(4, np.nan, np.float32)

    def _detector(self, min_face: int, threshold: float) -> Detector:
        key = (min_face, threshold)
        if key not in self._detectors:
            self._detectors[key] = HogDetector(min_face, threshold)
        return self._detectors[key]


class PhotoFinder:
    """Find the largest face of a picture as `streamer photo` does, with the detector that we ship; no landmarks."""

    def __init__(self) -> None:
        self._settings = load_config(Config, "photos").detector
        self.name = f"faces{VERSION}-zoo-{sha256_of(in_zoo(self._settings.model or SHIPPED_DETECTOR))[:12]}"
        self._detector: Detector | None = None  # opened where a picture has to be searched

    def find(
        self, picture: NDArray[np.uint8], given: NDArray[np.float32] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (4,) box, NaN where none was found, and landmarks that are NaN; a box that is given stays."""
        unknown = np.full((68, 2), np.nan, np.float32)
        if given is not None and np.isfinite(given).all():
            return given, unknown
        image = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR) if picture.shape[2] == 1 else picture
        self._detector = self._detector or load_detector(self._settings)
        found = self._detector.detect([np.asarray(image, np.uint8)])[0]
        if not len(found):
            return np.full(4, np.nan, np.float32), unknown
        areas = (found.boxes[:, 2:] - found.boxes[:, :2]).prod(axis=1)
        return found.boxes[int(areas.argmax())], unknown

    def close(self) -> None:
        """Close the detector."""
        if self._detector:
            self._detector.close()


def locate(rows: FaceSet, cache: Path, landmarker: Landmarker | None, finder: Literal["hog", "zoo"] = "hog") -> FaceSet:
    """Find the faces of all rows, those in the cache at once; return the rows with `boxes` and `landmarks`.

    finder: what finds them where no landmarker asks for HOG's boxes. Rows without a found face or landmark keep NaN and
    are counted in the log.
    """
    with closing(PhotoFinder() if finder == "zoo" and landmarker is None else FaceFinder(landmarker)) as chosen:
        return _located_by(chosen, rows, cache, landmarker is not None)


def _located_by(finder: Finder, rows: FaceSet, cache: Path, with_landmarks: bool) -> FaceSet:
    file = cache / f"{finder.name}.npz"
    known = read_cache(file)
    givens = [None] * len(rows) if rows.boxes is None else list(rows.boxes)
    keys = [_key(picture, given) for picture, given in zip(rows.images, givens, strict=True)]
    unknown = [row for row, key in enumerate(keys) if key not in known]
    quiet = not Console().is_terminal
    for count, row in enumerate(track(unknown, "finding faces", transient=True, disable=quiet), start=1):
        box, points = finder.find(rows.images[row], givens[row])
        known[keys[row]] = np.concatenate([box.reshape(2, 2), points]).astype(np.float32)
        if count % SAVE_EVERY == 0 or count == len(unknown):
            write_cache(file, known)
    found = np.stack([known[key] for key in keys]) if keys else np.zeros((0, 70, 2), np.float32)
    boxes, points = found[:, :2].reshape(-1, 4), found[:, 2:]
    missing = ~np.isfinite(points if with_landmarks else boxes).reshape(len(rows), -1).all(axis=1)
    what = "landmarks" if with_landmarks else "face"
    log.info("%d pictures, %d of them searched now; %d without %s", len(rows), len(unknown), missing.sum(), what)
    return replace(rows, boxes=boxes, landmarks=points if with_landmarks else None)


def plausible(points: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Say which (N, 68, 2) landmarks look like a face: (N,).

    In the frame of the eyes, brows lie above eyes, eyes above nostrils, nostrils above mouth and mouth above chin; eyes
    and cheeks are apart.
    """
    right, left = points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)
    across = left - right
    distance = np.linalg.norm(across, axis=1)
    unit = across / np.maximum(distance, 1e-6)[:, None]
    down = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    parts = (points[:, 17:27], points[:, 36:48], points[:, 31:36], points[:, 48:68], points[:, 6:11])
    heights = np.stack([((part.mean(axis=1) - right) * down).sum(axis=1) for part in parts], axis=1)
    ordered = (np.diff(heights, axis=1) > 0).all(axis=1)
    length = heights[:, 4] - heights[:, 0]
    width = np.linalg.norm(points[:, 16] - points[:, 0], axis=1)
    good: NDArray[np.bool_] = ordered & (distance > 0.15 * length) & (width > 0.3 * length)
    return good


def _starts(image: NDArray[np.uint8], border: int) -> NDArray[np.float32]:
    """Return (K, 4) boxes around the usual place of the face in a picture with a border."""
    inner = np.array([image.shape[1], image.shape[0]], np.float32) - 2 * border
    centre, half = STARTS[:, :2] * inner + border, STARTS[:, 2:] * inner
    return np.concatenate([centre - half, centre + half], axis=1)


def _agreed(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (68, 2) median of (K, 68, 2) landmarks, NaN where they lie too far apart."""
    middle = np.median(points, axis=0)
    distance = np.linalg.norm(middle[36:42].mean(axis=0) - middle[42:48].mean(axis=0))
    spread = np.linalg.norm(points - middle, axis=2).mean()
    agree = spread < AGREEMENT * distance
    return np.asarray(middle if agree else np.full((68, 2), np.nan), np.float32)


def read_cache(file: Path) -> dict[bytes, NDArray[np.float32]]:
    """Read what was found: (70, 2) box corners and landmarks by key. Raises UserError for a damaged file."""
    if not file.exists():
        return {}
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as arrays:
            return {key.tobytes(): value for key, value in zip(arrays["keys"], arrays["found"], strict=True)}
    except (ValueError, KeyError, OSError, EOFError, BadZipFile) as error:
        raise UserError(f"{file}: not a readable cache of landmarks ({error}); delete it") from error


def write_cache(file: Path, known: dict[bytes, NDArray[np.float32]]) -> None:
    """Write all that was found under a temporary name, then put it in place. Raises OSError where it cannot."""
    file.parent.mkdir(parents=True, exist_ok=True)
    keys = np.stack([np.frombuffer(key, np.uint8) for key in known])
    unfinished = file.with_suffix(f".{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as content:
            np.savez(content, keys=keys, found=np.stack(list(known.values())))
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _key(picture: NDArray[np.uint8], given: NDArray[np.float32] | None) -> bytes:
    where = b"face" if given is None else np.asarray(given, np.float32).tobytes()
    content = picture.tobytes() + repr(picture.shape).encode() + where
    return hashlib.blake2b(content, digest_size=16).digest()


def _enlarge(picture: NDArray[np.uint8], scale: float, border: int) -> NDArray[np.uint8]:
    """Scale up, repeat the edge pixels around, and turn grey into BGR."""
    image: Any = picture
    if scale > 1:
        image = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    if border:
        image = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.asarray(image, np.uint8)
