"""Faces whose landmarks a teacher gave: cut out of the pictures that the detector learns from, one a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from streamer.faces.boxes import iou
from streamer.faces.roll import eye_line
from train.data.locate import plausible
from train.detector.batches.pictures import Picture, load, save
from train.landmarks.batches.faces import Faces, Kind, cut_out, face_boxes
from train.landmarks.config import Source
from train.landmarks.teacher import MeshTeacher, roll_of, to_ibug

SMALLEST = 36  # pixels of a face's longer side
PRESENT = 0.9  # presence from which the teacher's points count
AGREES = 0.4  # IoU of the face's box and that of its points, for an upright face
MASKED = ("people", "loose", "masks")  # sources many of whose faces are hidden in part, nobody says which


def read_taught(source: Source, split: str) -> list[Faces]:
    """Return the faces of a split, 'train' or 'validation', those of which something may be hidden apart.

    The first call asks the teacher, which takes some minutes.

    Raises UserError where the source lacks a path.
    """
    if source.cache is None or source.teacher is None:
        raise UserError(f"{source.set}: expected `cache`, a folder, and `teacher`, MediaPipe's face_landmarker.task")
    file = source.cache / "taught.npz"
    if not file.is_file():
        save(file, list(taught(load(source.path), MeshTeacher(source.teacher))))
    kept = [face for face in load(file) if face.held == (split != "train")]
    masked = [face for face in kept if face.source in MASKED]
    return [_faces([face for face in kept if face.source not in MASKED], Kind.CLEAR), _faces(masked, Kind.COVERED)]


def _faces(kept: Sequence[Picture], kind: Kind) -> Faces:
    points = np.array([face.points[0] for face in kept], np.float32).reshape(-1, 68, 2)
    boxes = np.array([face.boxes[0] for face in kept], np.float32).reshape(-1, 4)
    return Faces([face.image for face in kept], points, boxes, eye_line(points), kind)


def taught(pictures: Sequence[Picture], teacher: MeshTeacher) -> Iterator[Picture]:
    """Yield each face that is sure and large enough as a picture of its own, with (1, 68, 2) points.

    Faces are left out whose eyes nobody said, whose points the teacher doubts, or look like no face.
    """
    for picture in pictures:
        sides = (picture.boxes[:, 2:] - picture.boxes[:, :2]).max(axis=1, initial=0)
        told = np.isfinite(picture.points).all(axis=(1, 2))
        for row in np.flatnonzero(picture.sure & told & (sides >= SMALLEST)):
            cut, box, points = cut_out(picture.image, picture.boxes[row], picture.points[row])
            roll = roll_of(points[0], points[1])
            mesh, presence = teacher.look(cut, box[None], np.array([roll], np.float32))
            found = to_ibug(mesh)
            if presence[0] >= PRESENT and plausible(found)[0] and _fits(found[0], box, roll):
                yield Picture(cut, box[None], found, np.array([True]), picture.source, picture.held)


def _fits(points: NDArray[np.float32], box: NDArray[np.float32], roll: float) -> bool:
    """Say whether points lie in a face's box: by the overlap of boxes, both turned upright around the box's middle."""
    centre = (box[:2] + box[2:]) / 2
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]], np.float32)
    level = np.asarray((points - centre) @ turn.T + centre, np.float32)
    return float(iou(face_boxes(level[None]), box[None])[0, 0]) >= AGREES
