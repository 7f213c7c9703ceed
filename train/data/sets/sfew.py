"""SFEW 2.0: frames of films in `Train/<Emotion>/*.png` and `Val/<Emotion>/*.png`; the test labels are not public."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from train.data import BASIC, FaceSet, labelled
from train.data.labels import emotion
from train.data.pictures import list_pictures, read_pictures
from train.data.splits import require

FOLDERS = {"train": "Train", "val": "Val"}


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load `train` or `val`; images are whole frames, BGR, in which the face has to be found.

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
    boxes = np.full((len(kept), 4), np.nan, np.float32)
    return labelled(BASIC, names, images, wanted[readable], subjects=films, boxes=boxes)
