"""What a detector finds in its labelled pictures: faces of every kind, and what it takes for faces."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from engines import load_engine
from engines.errors import UserError
from streamer.build import SHIPPED_DETECTOR, in_zoo
from streamer.faces.boxes import iou
from streamer.faces.detect import Detector, ZooDetector
from streamer.faces.roll import eye_line
from streamer.types import Detections
from train.detector.batches.mine import TOUCHING
from train.detector.batches.pictures import EMPTY, Picture, load, save
from train.detector.scores import on_disputed
from train.landmarks.batches.faces import Faces, Kind, cut_out
from train.landmarks.config import Source

SMALLEST = 16  # pixels of a face's longer side
SCORE = 0.1  # of the detector from which what it finds is kept, as in serving
MOST = 12  # things of a picture; print has hundreds
# Sources that are searched: one clear face a picture teaches nothing that `taught` does not.
SEARCHED = ("people", "loose", "street", "masks", "groups", "videos", *EMPTY)
UNMARKED = ("street", "loose", "videos")  # their pictures may show faces that nobody marked
FITS = 0.5  # IoU from which an answer is of a marked face
HELD = 5  # one picture of so many is kept for choosing


def read_found(source: Source, split: str) -> list[Faces]:
    """Return what was found of a split, 'train' or 'validation': faces whose points nobody told, and things.

    The first call runs the detector over all pictures, which takes some minutes. Raises UserError where the source
    lacks a path.
    """
    if source.cache is None:
        raise UserError(f"{source.set}: expected `cache`, a folder for what is found")
    file = source.cache / "found.npz"
    if not file.is_file():
        engines = [load_engine(path, "detection") for path in source.detectors or (in_zoo(SHIPPED_DETECTOR),)]
        with ExitStack() as opened:
            detectors = [ZooDetector(opened.enter_context(closing(engine)), SMALLEST, SCORE) for engine in engines]
            save(file, list(found(load(source.path), detectors)))
    kept = [one for one in load(file) if one.held == (split != "train")]
    return [
        _faces([one for one in kept if one.sure[0]], Kind.UNTOLD),
        _faces([one for one in kept if not one.sure[0]], Kind.NOTHING),
    ]


def _faces(kept: Sequence[Picture], kind: Kind) -> Faces:
    boxes = np.array([one.boxes[0] for one in kept], np.float32).reshape(-1, 4)
    points = np.array([one.points[0] for one in kept], np.float32).reshape(-1, 5, 2)
    unknown = np.full((len(kept), 68, 2), np.nan, np.float32)
    return Faces([one.image for one in kept], unknown, boxes, np.nan_to_num(eye_line(points)), kind)


def found(pictures: Sequence[Picture], detectors: Sequence[Detector]) -> Iterator[Picture]:
    """Yield what the detectors find in each picture, and the marked faces they miss, as pictures of their own.

    A face is `sure`, anything else is not; its five points are those of the marks where they are known, else the
    detector's.
    """
    searched = [picture for picture in pictures if picture.source in SEARCHED]
    for picture in track(searched, "looking for faces", transient=True):
        held = picture.held or is_kept(picture)
        colour = np.asarray(cv2.cvtColor(picture.image, cv2.COLOR_GRAY2BGR), np.uint8)
        for detector in detectors:
            [answers] = detector.detect([colour])
            for box, points, face in (*_faces_of(picture, answers), *_things_of(picture, answers)):
                cut, box, points = cut_out(picture.image, box, points)
                yield Picture(cut, box[None], points[None], np.array([face]), picture.source, held)


def is_kept(picture: Picture) -> bool:
    """Say whether a picture is kept for choosing, with all that look like it."""
    return zlib.crc32(rough_look(picture)) % HELD == 0


def rough_look(picture: Picture) -> bytes:
    """Return what copies of a picture in other sizes share."""
    return np.asarray(cv2.resize(picture.image, (4, 4), interpolation=cv2.INTER_AREA) // 16).tobytes()


Found = tuple[NDArray[np.float32], NDArray[np.float32], bool]


def _faces_of(picture: Picture, answers: Detections) -> Iterator[Found]:
    """Yield the sure faces that are large enough, each in the box of the answer that fits it best."""
    fits = iou(picture.boxes, answers.boxes)
    large = (picture.boxes[:, 2:] - picture.boxes[:, :2]).max(axis=1, initial=0) >= SMALLEST
    for row in np.flatnonzero(picture.sure & large):
        box, points = picture.boxes[row], picture.points[row]
        if answers.landmarks is not None and fits[row].max(initial=0) >= FITS:
            best = int(fits[row].argmax())
            box, points = answers.boxes[best], points if np.isfinite(points).all() else answers.landmarks[best]
        yield box, points, True


def _things_of(picture: Picture, answers: Detections) -> Iterator[Found]:
    """Yield the surest answers that touch no mark, sure or disputed."""
    if picture.source in UNMARKED or answers.landmarks is None:
        return
    known = (iou(answers.boxes, picture.boxes) > TOUCHING).any(axis=1) | on_disputed(answers.boxes, picture.boxes)
    for row in np.flatnonzero(~known)[:MOST]:
        yield answers.boxes[row], answers.landmarks[row], False
