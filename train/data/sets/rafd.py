"""RaFD (Langner et al. 2010), as Sun et al. (2018) divide it: frontal faces, and faces in five poses.

Files are called `Rafd090_01_Caucasian_female_angry_frontal.jpg`: camera angle, person, group, sex, emotion, gaze.
Rules: `basic` ignores contempt, as the paper does, `all` keeps it. Splits: `foldK` and `not foldK`, K in 0-4.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from engines.errors import UserError
from train.data import BASIC, EMOTIONS, FaceSet, labelled
from train.data.labels import emotion
from train.data.pictures import Picture, at_most, list_pictures, read_pictures
from train.data.splits import FOLD_SPLITS, in_fold, require

NAME = re.compile(r"Rafd(000|045|090|135|180)_(\d\d)_(\w+)_(\w+)_([a-z]+)_(frontal|left|right)", re.IGNORECASE)
# The last person of each fold (Sun et al., sec. 4.1).
LAST_OF_FOLD = (15, 29, 43, 57, 73)
LONGEST = 512  # pixels: the photos have 681 x 1024, which nothing here needs
# The fixed square of the pose set in shares of the photo's width: left, top, side. The paper gives its size in pixels
# of the output alone; this one holds the head at every angle.
POSE_SQUARE = (0.08, 0.28, 0.84)
POSE_SIDE = 284


def load_front(path: Path, split: str, labels: str) -> FaceSet:
    """Load the frontal photos (camera at 90 degrees), grey, in which the face has to be found and aligned."""
    return _load(path, split, labels, angles=("090",))


def load_pose(path: Path, split: str, labels: str) -> FaceSet:
    """Load the photos of all five angles, cut by one fixed square; images are (N, 284, 284, 1)."""
    return _load(path, split, labels, angles=("000", "045", "090", "135", "180"), pose=True)


def _load(path: Path, split: str, labels: str, angles: tuple[str, ...], pose: bool = False) -> FaceSet:
    require("split", split, FOLD_SPLITS)
    require("label rule", labels, ("basic", "all"))
    classes = BASIC if labels == "basic" else EMOTIONS
    files, wanted, people = [], [], []
    for file in list_pictures(path):
        match = NAME.fullmatch(file.stem)
        if not match:
            raise UserError(f"{file}: expected a name like Rafd090_01_Caucasian_female_angry_frontal.jpg")
        label = emotion(match[5], str(file))
        if match[1] in angles and label < len(classes):
            files.append(file)
            wanted.append(label)
            people.append(match[2])
    folds = np.searchsorted(LAST_OF_FOLD, np.array(people, int).reshape(-1))
    chosen = np.flatnonzero(in_fold(folds, split))
    images, readable = read_pictures(
        [files[i] for i in chosen], colour=False, change=pose_square if pose else at_most(LONGEST)
    )
    kept = chosen[readable]
    boxes = None if pose else np.full((len(kept), 4), np.nan, np.float32)
    names = [files[i].name for i in kept]
    subjects = np.array([people[i] for i in kept], np.str_)
    return labelled(classes, names, images, [wanted[i] for i in kept], subjects=subjects, boxes=boxes)


def pose_square(photo: Picture) -> Picture:
    """Cut the fixed square of the pose set: (284, 284, 1)."""
    left, top, side = (round(share * photo.shape[1]) for share in POSE_SQUARE)
    square = cv2.resize(
        photo[top : top + side, left : left + side], (POSE_SIDE, POSE_SIDE), interpolation=cv2.INTER_AREA
    )
    return np.asarray(square, np.uint8).reshape(POSE_SIDE, POSE_SIDE, -1)
