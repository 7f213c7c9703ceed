"""Read the pictures that scenes are made of and have them labelled, once; the result is kept in one file.

What only evaluation may see is left out here: `HELD_BACK`, odd-numbered masks; `media/photos/dlib` is not read.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from train.data.textures import texture_files
from train.detector.batches import pictures
from train.detector.batches.pictures import Picture
from train.detector.config import DetectorData
from train.detector.teacher import Teacher

log = logging.getLogger(__name__)

HELD_BACK = ("human-group-1", "human-stock-group-1", "ultraface-1", "ultraface-12")
UNSEEN_CLIPS = ("fer-test", "short_hamilton_clip")
ICON = 30_000  # bytes
LONGEST = 1024  # pixels; larger pictures are shrunk, but for group photos
FER_BORDER = 40  # pixels of flat grey around an enlarged FER face, so that the teacher sees all of it


def prepared(data: DetectorData) -> list[Picture]:
    """Return the labelled pictures; the first call makes them, which takes some minutes.

    Raises ValueError where those in the cache were made of other sources, or of another share of them.
    """
    names = {"root": data.root, "teacher": data.teacher, "backgrounds": data.backgrounds}
    made = json.dumps({"most": data.most, **{key: path and path.name for key, path in names.items()}})
    if not data.cache.is_file():
        readers = dict(READERS)
        if data.backgrounds is not None:
            readers["backgrounds"] = partial(_read_backgrounds, data.backgrounds)
        labelled = [picture for name, read in readers.items() for picture in _labelled(name, read, data)]
        pictures.save(data.cache, labelled, made)
    return pictures.load(data.cache, made)


def _labelled(name: str, read: Callable[[Path], list[tuple[str, bytes]]], data: DetectorData) -> Iterator[Picture]:
    rows = read(data.root)
    rows = evenly(rows, data.most) if data.most else rows
    teacher = Teacher(data.teacher, SCALES.get(name, (1.0, 1.5)))
    faces = sure = 0
    for key, content in track(rows, f"labelling {name}", transient=True):
        picture = label(name, key, content, teacher)
        if picture is not None:
            faces, sure = faces + len(picture.boxes), sure + int(picture.sure.sum())
            yield picture
    log.info("%s: %d pictures, %d faces, %d of them sure", name, len(rows), faces, sure)


def evenly(rows: list[tuple[str, bytes]], most: int) -> list[tuple[str, bytes]]:
    """Choose at most so many rows, as far apart as they can be."""
    return [rows[number] for number in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int).tolist()]


def label(name: str, key: str, content: bytes, teacher: Teacher) -> Picture | None:
    """Label one encoded picture, or return None where it is unreadable or has no face although it should."""
    grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        return None
    image = _prepare(name, np.asarray(grey, np.uint8))
    if name == "textures":
        none = np.zeros((0, 5, 2), np.float32)
        return Picture(image, none[:, 0, :].repeat(2, axis=1), none, np.zeros(0, bool), name)
    faces, sure = teacher.label(image)
    if name == "backgrounds":  # what the teacher takes for a face there is disputed
        points = np.zeros((len(faces), 5, 2), np.float32)
        return Picture(image, faces.boxes, points, np.zeros(len(faces), bool), name)
    if not sure.any() or faces.landmarks is None:
        return None
    boxes, points = faces.boxes, faces.landmarks
    if name == "fer":
        image = image[FER_BORDER:-FER_BORDER, FER_BORDER:-FER_BORDER]
        boxes, points = boxes - FER_BORDER, points - FER_BORDER
    return Picture(np.ascontiguousarray(image), boxes, points, sure, name, held=is_held(name, key))


def is_held(name: str, key: str) -> bool:
    """Keep every tenth person of LFW, and of YouTube-Faces, which shows the same people, from training."""
    person = key.rsplit("_", 1)[0]
    return name in ("lfw", "ytf") and zlib.crc32(person.encode()) % 10 == 0


def _prepare(name: str, grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if name == "fer":
        large = cv2.resize(grey, (96, 96), interpolation=cv2.INTER_CUBIC)
        border = (FER_BORDER,) * 4
        return np.asarray(cv2.copyMakeBorder(large, *border, cv2.BORDER_CONSTANT, value=[float(grey.mean())]), np.uint8)
    scale = LONGEST / max(grey.shape)
    if name == "groups" or scale >= 1:
        return grey
    return np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _read_tables(folder: str, column: str, step: int, root: Path) -> list[tuple[str, bytes]]:
    import pyarrow.parquet as parquet

    rows: list[tuple[str, bytes]] = []
    for path in sorted((root / folder).glob("*.parquet")):
        table = parquet.read_table(path)
        if "votes" in table.column_names:  # FER+: training rows that no tagger called 'not a face'
            votes = np.array(table["votes"].to_pylist())
            table = table.filter((np.array(table["split"].to_pylist()) == "train") & (votes[:, 9] == 0))
        rows += zip(table["name"].to_pylist(), table[column].to_pylist(), strict=True)
    if not rows:
        raise FileNotFoundError(f"{root / folder}: expected *.parquet, found none; is data.root right?")
    return rows[::step]


def _read_masks(root: Path) -> list[tuple[str, bytes]]:
    files = sorted((root / "media" / "masks").glob("*/*.jpg"))
    return [(str(file), file.read_bytes()) for file in files if int(file.stem) % 2 == 0]


def _read_groups(root: Path) -> list[tuple[str, bytes]]:
    files = sorted((root / "media" / "photos" / "groups").glob("*.jpg"))
    return [(file.name, file.read_bytes()) for file in files if file.stem not in HELD_BACK]


def _read_videos(root: Path) -> list[tuple[str, bytes]]:
    """Take twelve pictures of each clip; two clips are kept for looking at."""
    rows = []
    for file in sorted((root / "media" / "videos").iterdir()):
        if file.stem in UNSEEN_CLIPS:
            continue
        capture = cv2.VideoCapture(str(file))
        frames = []
        while (read := capture.read())[0]:
            frames.append(np.asarray(read[1], np.uint8))
        capture.release()
        for number in np.linspace(0, len(frames) - 1, min(12, len(frames))).astype(int).tolist():
            rows.append((f"{file.stem}-{number}", cv2.imencode(".png", frames[number])[1].tobytes()))
    return rows


def _read_backgrounds(folder: Path, root: Path) -> list[tuple[str, bytes]]:
    """Take the pictures of a folder and those below it, but for the smallest: icons."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    return [(file.name, file.read_bytes()) for file in files if file.stat().st_size > ICON]


READERS: dict[str, Callable[[Path], list[tuple[str, bytes]]]] = {
    "textures": lambda root: [(file.name, file.read_bytes()) for file in texture_files()],
    "groups": _read_groups,
    "masks": _read_masks,
    "videos": _read_videos,
    "ytf": partial(_read_tables, "data/landmarks", "jpg", 2),
    "fer": partial(_read_tables, "data/fer", "png", 6),
    "lfw": partial(_read_tables, "data/faces", "jpg", 1),
}
SCALES: dict[str, tuple[float, ...]] = {
    "groups": (1.0, 1.5, 2.0, 3.0),
    "masks": (0.6, 1.0, 1.6),
    "videos": (0.75, 1.5),
    "ytf": (0.75, 1.5),
    "fer": (1.0,),
}
