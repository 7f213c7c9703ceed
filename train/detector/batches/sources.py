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
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from train.data.textures import texture_files
from train.detector.batches import people, pictures, rendered
from train.detector.batches.people import Boxes
from train.detector.batches.pictures import EMPTY, Picture
from train.detector.config import DetectorData
from train.detector.teacher import Teacher

log = logging.getLogger(__name__)

HELD_BACK = ("human-group-1", "human-stock-group-1", "ultraface-1", "ultraface-12")
UNSEEN_CLIPS = ("fer-test", "short_hamilton_clip")
ICON = 30_000  # bytes
LONGEST = 1024  # pixels; larger pictures are shrunk, but for group photos
# Pixels below which teachers may be right about a face in a picture that people called empty. All forty were looked at:
# the small ones are portraits on screens, the larger ones dogs, monkeys, a doll and drawings, and one man.
PORTRAIT = 36
FRAMES = 12  # of a clip
FER_BORDER = 40  # pixels of flat grey around an enlarged FER face, so that the teacher sees all of it


class Row(NamedTuple):
    """Hold one encoded picture of a source; marked: (N, 4) canonical boxes of the faces that people marked in it."""

    key: str
    content: bytes
    marked: Boxes | None = None


def prepared(data: DetectorData) -> list[Picture]:
    """Return the labelled pictures; the first call makes them, which takes some minutes.

    What is labelled of each source is kept beside the cache until all are. Raises UserError where those in the cache
    were made of other sources, or of another share of them.
    """
    made = made_of(data)
    if not data.cache.is_file():
        pictures.save(data.cache, [one for name in readers_of(data) for one in part(name, data)], made)
    return pictures.load(data.cache, made)


def part(name: str, data: DetectorData) -> list[Picture]:
    """Return the labelled pictures of one source; they are kept in a file of its own."""
    made, file = made_of(data), data.cache.with_name(f"{data.cache.stem}-{name}.npz")
    if not file.is_file():
        pictures.save(file, list(_labelled(name, readers_of(data)[name], data)), made)
    return pictures.load(file, made)


def made_of(data: DetectorData) -> str:
    """Say what labelled pictures are made of."""
    names = {"root": data.root, "teacher": data.teacher, "backgrounds": data.backgrounds}
    names |= {key: path for key in ("witness", "fonts") if (path := getattr(data, key))}
    return json.dumps({"most": data.most, **{key: path and path.name for key, path in names.items()}})


def readers_of(data: DetectorData) -> dict[str, Reader]:
    """Return what reads each source: those that lie in the root, and those that are configured."""
    readers = dict(READERS)
    if (data.root / SCENES / "boxes.csv").is_file():
        readers |= MARKED
    if data.backgrounds is not None:
        readers["backgrounds"] = partial(_read_backgrounds, data.backgrounds)
    if data.fonts is not None:
        readers["rendered"] = partial(_render, data.fonts)
    return readers


def _labelled(name: str, read: Reader, data: DetectorData) -> Iterator[Picture]:
    rows = read(data.root)
    rows = evenly(rows, data.most) if data.most else rows
    alone = name in UNSEEN_BY_TEACHERS
    teacher = None if alone else Teacher(data.teacher, SCALES.get(name, (1.0, 1.5)), data.witness)
    faces = sure = 0
    for row in track(rows, f"labelling {name}", transient=True):
        picture = label(name, row, teacher)
        if picture is not None:
            faces, sure = faces + len(picture.boxes), sure + int(picture.sure.sum())
            yield picture
    log.info("%s: %d pictures, %d faces, %d of them sure", name, len(rows), faces, sure)


def evenly(rows: list[Row], most: int) -> list[Row]:
    """Choose at most so many rows, as far apart as they can be."""
    return [rows[number] for number in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int).tolist()]


def label(name: str, row: Row, teacher: Teacher | None) -> Picture | None:
    """Label one encoded picture, or return None where it is unreadable or has no face although it should.

    In a picture without people, what the teachers agree about is disputed where it is small, and all else is nothing.
    Without a teacher there is nobody in the picture.
    """
    read = cv2.imdecode(np.frombuffer(row.content, np.uint8), cv2.IMREAD_COLOR)
    if read is None:
        return None
    image = _prepare(name, np.asarray(read, np.uint8))
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
    held = is_held(name, row.key)
    if teacher is None:
        return _empty(grey, name, held)
    faces, sure = teacher.label(image)
    if name in EMPTY:
        disputed = faces[sure & ((faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1, initial=0) < PORTRAIT)]
        return Picture(grey, disputed.boxes, _no_points(len(disputed)), np.zeros(len(disputed), bool), name, held)
    if faces.landmarks is None:
        return None
    boxes, points = faces.boxes, faces.landmarks
    if row.marked is not None:
        boxes, points, sure = people.settle(row.marked, faces, sure)
        if not len(boxes):
            return _empty(grey, "things", held)
    if not sure.any():
        return None
    if name == "fer":
        grey = grey[FER_BORDER:-FER_BORDER, FER_BORDER:-FER_BORDER]
        boxes, points = boxes - FER_BORDER, points - FER_BORDER
    return Picture(np.ascontiguousarray(grey), boxes, points, sure, name, held)


def _empty(grey: NDArray[np.uint8], name: str, held: bool) -> Picture:
    return Picture(grey, np.zeros((0, 4), np.float32), _no_points(0), np.zeros(0, bool), name, held)


def _no_points(count: int) -> NDArray[np.float32]:
    return np.full((count, 5, 2), np.nan, np.float32)


def is_held(name: str, key: str) -> bool:
    """Keep every tenth person of LFW, and of YouTube-Faces, which shows the same people, from training; and every
    tenth of the pictures whose faces people marked or found none in.
    """
    if name in MARKED:
        return people.is_held(key)
    person = key.rsplit("_", 1)[0]
    return name in ("lfw", "ytf") and zlib.crc32(person.encode()) % 10 == 0


def _prepare(name: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if name == "fer":
        large = cv2.resize(image, (96, 96), interpolation=cv2.INTER_CUBIC)
        border, tone = (FER_BORDER,) * 4, [float(image.mean())] * 3
        return np.asarray(cv2.copyMakeBorder(large, *border, cv2.BORDER_CONSTANT, value=tone), np.uint8)
    scale = LONGEST / max(image.shape)
    if name == "groups" or scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _read_tables(folder: str, column: str, step: int, root: Path) -> list[Row]:
    import pyarrow.parquet as parquet

    rows: list[Row] = []
    for path in sorted((root / folder).glob("*.parquet")):
        table = parquet.read_table(path)
        if "votes" in table.column_names:  # FER+: training rows that no tagger called 'not a face'
            votes = np.array(table["votes"].to_pylist())
            table = table.filter((np.array(table["split"].to_pylist()) == "train") & (votes[:, 9] == 0))
        rows += map(Row, table["name"].to_pylist(), table[column].to_pylist())
    if not rows:
        raise FileNotFoundError(f"{root / folder}: expected *.parquet, found none; is data.root right?")
    return rows[::step]


def _read_masks(root: Path) -> list[Row]:
    files = sorted((root / "media" / "masks").glob("*/*.jpg"))
    return [Row(str(file), file.read_bytes()) for file in files if int(file.stem) % 2 == 0]


def _read_groups(root: Path) -> list[Row]:
    files = sorted((root / "media" / "photos" / "groups").glob("*.jpg"))
    return [Row(file.name, file.read_bytes()) for file in files if file.stem not in HELD_BACK]


def _read_videos(root: Path) -> list[Row]:
    """Take some pictures of each clip; two clips are kept for looking at."""
    rows = []
    for file in sorted((root / "media" / "videos").iterdir()):
        if file.stem in UNSEEN_CLIPS:
            continue
        capture = cv2.VideoCapture(str(file))
        frames = []
        while (read := capture.read())[0]:
            frames.append(np.asarray(read[1], np.uint8))
        capture.release()
        for number in np.linspace(0, len(frames) - 1, min(FRAMES, len(frames))).astype(int).tolist():
            rows.append(Row(f"{file.stem}-{number}", cv2.imencode(".png", frames[number])[1].tobytes()))
    return rows


def _read_backgrounds(folder: Path, root: Path) -> list[Row]:
    """Take the pictures of a folder and those below it, but for the smallest: icons."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    return [Row(file.name, file.read_bytes()) for file in files if file.stat().st_size > ICON]


def _read_marked(labels: tuple[str, ...], sets: tuple[str, ...], root: Path) -> list[Row]:
    """Take the pictures that people looked at, with what they marked where they marked faces."""
    human = labels == ("human",)
    return [
        Row(name, (root / SCENES / name).read_bytes(), people.canonical(boxes, name) if human else None)
        for name, boxes in people.marked(root / SCENES, labels, sets)
    ]


def _render(fonts: Path, root: Path) -> list[Row]:
    """Draw print and things that are round, always the same."""
    files = rendered.fonts_in(fonts)
    drawn = (rendered.render(files, np.random.default_rng((0, number))) for number in range(RENDERED))
    return [Row(f"rendered-{number}", cv2.imencode(".png", image)[1].tobytes()) for number, image in enumerate(drawn)]


Reader = Callable[[Path], list[Row]]
SCENES = Path("data", "scenes")
RENDERED = 600  # pictures
# Teachers agree about one place in 504 backgrounds, which is no face.
UNSEEN_BY_TEACHERS = ("textures", "backgrounds", "rendered")
MARKED: dict[str, Reader] = {
    "people": partial(_read_marked, ("human",), ("facemask853",)),
    "loose": partial(_read_marked, ("human",), ("maskwear_gray",)),
    "street": partial(_read_marked, ("yunet",), ()),
    "things": partial(_read_marked, ("none",), ()),
}
READERS: dict[str, Reader] = {
    "textures": lambda root: [Row(file.name, file.read_bytes()) for file in texture_files()],
    "groups": _read_groups,
    "masks": _read_masks,
    "videos": _read_videos,
    "ytf": partial(_read_tables, "data/landmarks", "jpg", 3),
    "fer": partial(_read_tables, "data/fer", "png", 12),
    "lfw": partial(_read_tables, "data/faces", "jpg", 2),
}
SCALES: dict[str, tuple[float, ...]] = {
    "groups": (1.0, 1.5, 2.0, 3.0),
    "masks": (0.6, 1.0, 1.6),
    "videos": (0.75, 1.5),
    "ytf": (1.0,),
    "fer": (1.0,),
    "lfw": (1.0,),
    "people": (1.0, 1.5),
    "things": (0.75, 1.25),
}
