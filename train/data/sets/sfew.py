"""SFEW 2.0: `Train/<Emotion>/*.png` and `Val/<Emotion>/*.png`; the test labels are not public.

The set is published as frames of films and as the faces of these, aligned and cut to 143x181 pixels; either is read.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.data import BASIC, FaceSet, labelled
from train.data.labels import emotion
from train.data.pictures import list_pictures, read_pictures
from train.data.splits import require

FOLDERS = {"train": "Train", "val": "Val"}
ALIGNED = (181, 143)  # height and width of the faces that the set's authors cut out


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load `train` or `val`; images are BGR: faces where all are, else whole frames, in which they have to be found.

    The subject of a row is its film, the first part of the file's name: the splits share no film.
    """
    require("split", split, tuple(FOLDERS))
    require("label rule", labels, ("basic",))
    folder = path / FOLDERS[split]
    files = list_pictures(folder)
    wanted = np.array([emotion(file.parent.name, str(file)) for file in files], np.int64)
    images, readable = read_pictures(files, colour=True)
    kept = [file for file, good in zip(files, readable, strict=True) if good]
    names = [file.relative_to(path).as_posix() for file in kept]
    films = np.array([file.name.partition("_")[0] for file in kept], np.str_)
    faces = all(picture.shape[:2] == ALIGNED for picture in images)
    boxes = None if faces else np.full((len(kept), 4), np.nan, np.float32)
    return labelled(BASIC, names, images, wanted[readable], subjects=films, boxes=boxes)
