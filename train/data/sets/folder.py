"""Any pictures in `<class>/*.png`, or `<split>/<class>/*.png` where the set comes divided.

Rules: `emotion` maps the folders' names to the emotions, `names` takes them as classes of their own; a split has the
classes of all splits, and may have no picture of some. Without folders of the splits, train, validation and test are
drawn 8:1:1 by a hash of the files' names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engines.errors import UserError
from train.data import EMOTIONS, FaceSet, labelled
from train.data.labels import emotion
from train.data.pictures import list_pictures, read_pictures
from train.data.splits import DRAWN, drawn, require


def load(path: Path, split: str, labels: str) -> FaceSet:
    """Load a split; images are BGR, the faces as the files hold them."""
    require("label rule", labels, ("emotion", "names"))
    divided = (path / split).is_dir()
    root = path / split if divided else path
    if not divided:
        require("split", split, (*DRAWN, "all"))
    files = list_pictures(root)
    misplaced = [file for file in files if file.parent.parent != root]
    if misplaced:
        other = "" if divided else f", or a folder {path}/{split}; data.train, .validation and .test name these"
        raise UserError(f"{misplaced[0]}: expected pictures in {root}/<class>/{other}")
    if not divided and split != "all":
        files = [files[i] for i in np.flatnonzero(drawn([file.relative_to(root).as_posix() for file in files], split))]
    classes: tuple[str, ...] = EMOTIONS
    if labels == "names":
        depth = 3 if divided else 2
        places = [file.relative_to(path).parts for file in list_pictures(path)]
        classes = tuple(sorted({place[-2] for place in places if len(place) == depth}))
    wanted = [
        emotion(file.parent.name, str(file)) if labels == "emotion" else classes.index(file.parent.name)
        for file in files
    ]
    images, readable = read_pictures(files, colour=True)
    kept = np.flatnonzero(readable)
    names = [files[i].relative_to(root).as_posix() for i in kept]
    return labelled(classes, names, images, np.array(wanted, np.int64)[kept])
