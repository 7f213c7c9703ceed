"""Count how many hard faces are found: turned, blurred, dark, noisy, small, large; ours beside YuNet and dlib's HOG.

Usage: python benchmarks/hard_faces.py --data ROOT --yunet face_detection_yunet_2023mar.onnx
    [--photos FOLDER ...] [--faces 120] [--only default photos YuNet HOG] [--groups roll] [--name after]

Faces: LFW people that no detector of ours was trained on, one each (ROOT/data/faces/lfw.parquet), as YuNet finds them.
Each is pasted off-centre on a texture or on a photo without people (all pictures of the folders). A face is found where
the centre of an answer lies within a third of its side and the areas differ by at most 2.5 times. `default` and
`photos` are what `streamer photo` gives with these presets; YuNet (OpenCV, score 0.7) and HOG (not up-sampled) search
the full size.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import report
from numpy.typing import NDArray

from streamer.build import preset
from streamer.config import Config, load_config
from streamer.faces.detect import HogDetector
from streamer.photo.analyst import Analyst
from train.data.textures import texture_files
from train.detector.batches.sources import is_held

Picture = NDArray[np.uint8]
Search = Callable[[Picture], NDArray[np.float32]]
SIDE = 96  # pixels, longer side of the face's box
SMALL, LARGE = (480, 640), (960, 1280)  # height and width of the pictures; large ones for faces from 200 pixels on


class Portrait(NamedTuple):
    """Hold a picture of one face and its box: centre x, y, width, height."""

    image: Picture
    box: NDArray[np.float32]


class Case(NamedTuple):
    """Say what is done to a face: group and value name it in the table."""

    group: str
    value: str
    side: int = SIDE
    roll: float = 0.0
    damage: Callable[[Picture, np.random.Generator], Picture] = lambda picture, _: picture


def blurred(share: float) -> Callable[[Picture, np.random.Generator], Picture]:
    return lambda picture, _: np.asarray(cv2.GaussianBlur(picture, (0, 0), share * SIDE), np.uint8)


def dragged(length: int) -> Callable[[Picture, np.random.Generator], Picture]:
    return lambda picture, _: np.asarray(cv2.blur(picture, (length, 1)), np.uint8)


def darkened(gain: float, noise: float = 0.0) -> Callable[[Picture, np.random.Generator], Picture]:
    def apply(picture: Picture, rng: np.random.Generator) -> Picture:
        values = picture * gain + (rng.normal(0, noise, picture.shape) if noise else 0)
        return np.asarray(np.clip(values, 0, 255), np.uint8)

    return apply


CASES = (
    *(Case("roll", f"{roll}°", roll=roll) for roll in (0, 15, 30, 45, 60, 90)),
    *(Case("blur, σ of the side", f"{share:.0%}", damage=blurred(share)) for share in (0.03, 0.06, 0.1)),
    Case("motion", "17 px", damage=dragged(17)),
    *(Case("gain", f"{gain}", damage=darkened(gain)) for gain in (0.25, 0.12)),
    Case("gain", "0.25, noise", damage=darkened(0.25, 6)),
    *(Case("side", f"{side} px", side) for side in (12, 16, 20, 24, 32, 48, 64, 128, 200, 320, 400, 600, 800)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--faces", type=int, default=120)
    parser.add_argument("--only", nargs="*", default=["default", "photos", "YuNet", "HOG"])
    parser.add_argument("--groups", nargs="*", default=list(dict.fromkeys(case.group for case in CASES)))
    parser.add_argument("--name", default="after")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    yunet = cv2.FaceDetectorYN.create(str(options.yunet), "", (320, 320), 0.7)
    portraits = read_portraits(options.data, yunet, options.faces)
    grounds = read_grounds(options.photos)
    cases = [case for case in CASES if case.group in options.groups]
    found: dict[str, list[int]] = {name: [0] * len(cases) for name in options.only}
    others = dict.fromkeys(options.only, 0)
    with_analysts = {
        name: Analyst(load_config(Config, preset(name))) for name in options.only if name in ("default", "photos")
    }
    searches: dict[str, Search] = {name: by_analyst(analyst) for name, analyst in with_analysts.items()}
    searches |= {"YuNet": lambda image: by_yunet(yunet, image), "HOG": lambda image: hog.detect([image])[0].boxes}
    hog = HogDetector(threshold=0.5)
    for number, case in enumerate(cases):
        for picture, box in scenes(case, portraits, grounds):
            for name in options.only:
                boxes = searches[name](picture)
                hit = is_hit(boxes, box)
                found[name][number] += hit
                others[name] += len(boxes) - hit
        print(case.group, case.value, {name: found[name][number] for name in options.only}, flush=True)
    for analyst in with_analysts.values():
        analyst.close()
    rows: list[dict[str, Any]] = [
        {"": case.group, "value": case.value}
        | {name: f"{found[name][number] / len(portraits):.2f}" for name in options.only}
        for number, case in enumerate(cases)
    ]
    rows.append(
        {"": "other boxes a picture", "value": ""}
        | {name: f"{others[name] / len(portraits) / len(cases):.3f}" for name in options.only}
    )
    notes = f"Recall of {len(portraits)} faces, {SIDE} pixels large unless a side is named, on {len(grounds)} grounds."
    (report.RESULTS / "hard_faces").mkdir(exist_ok=True)
    report.write(f"hard_faces/{options.name}", "Hard faces", rows, notes)


def read_portraits(root: Path, yunet: Any, count: int) -> list[Portrait]:
    """Return one portrait each of people that are held back from training."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(root / "data" / "faces" / "lfw.parquet", columns=["name", "jpg"])
    found: dict[str, Portrait] = {}
    for name, jpg in zip(table["name"].to_pylist(), table["jpg"].to_pylist(), strict=True):
        person = name.rsplit("_", 1)[0]
        if person in found or not is_held("lfw", name):
            continue
        image = np.asarray(cv2.imdecode(np.frombuffer(jpg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
        boxes = by_yunet(yunet, image)
        if len(boxes) == 1:
            found[person] = Portrait(
                image, np.concatenate([(boxes[0, :2] + boxes[0, 2:]) / 2, boxes[0, 2:] - boxes[0, :2]])
            )
        if len(found) == count:
            break
    return list(found.values())


def read_grounds(folders: Sequence[Path]) -> list[Picture]:
    """Return textures, and the pictures of folders, in BGR."""
    files = [*texture_files(), *(file for folder in folders for file in sorted(folder.glob("*.jpg")))]
    return [np.asarray(image, np.uint8) for file in files if (image := cv2.imread(str(file))) is not None]


def scenes(
    case: Case, portraits: Sequence[Portrait], grounds: Sequence[Picture]
) -> Iterator[tuple[Picture, NDArray[np.float32]]]:
    """Give pictures with one face each and its box: centre x, y, width, height; the same places in every case."""
    height, width = LARGE if case.side >= 200 else SMALL
    for number, portrait in enumerate(portraits):
        rng = np.random.default_rng(number)
        ground = np.asarray(cv2.resize(grounds[number % len(grounds)], (width, height), interpolation=cv2.INTER_AREA))
        room = np.maximum(np.array([width, height]) - 1.1 * case.side, 0) / 2
        place = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * room
        scale = case.side / float(portrait.box[2:].max())
        move = cv2.getRotationMatrix2D([float(value) for value in portrait.box[:2]], case.roll, scale)
        move[:, 2] += place - portrait.box[:2]
        kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shown = shrunk(portrait.image, move, scale, (width, height), kind)
        mask = cv2.warpAffine(np.ones(portrait.image.shape[:2], np.float32), move, (width, height))
        mask = cv2.GaussianBlur(np.float32(mask > 0.99), (0, 0), max(0.5, 0.02 * case.side))[..., None]
        picture = np.asarray(shown * mask + ground * (1 - mask), np.uint8)
        yield case.damage(picture, rng), np.concatenate([place, portrait.box[2:] * scale]).astype(np.float32)


def shrunk(image: Picture, move: NDArray[np.float64], scale: float, size: tuple[int, int], kind: int) -> Picture:
    """Warp a picture; one that becomes smaller is shrunk by areas first, as warping would leave pixels out."""
    if scale < 1:
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=kind)
        move = move.copy()
        move[:, :2] /= scale
        return np.asarray(cv2.warpAffine(small, move, size), np.uint8)
    return np.asarray(cv2.warpAffine(image, move, size, flags=kind), np.uint8)


def is_hit(boxes: NDArray[np.float32], box: NDArray[np.float32]) -> bool:
    """Tell whether one of the (N, 4) xyxy boxes is that of the face: centre x, y, width, height."""
    side = float(np.sqrt(box[2] * box[3]))
    away = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - box[:2]).max(axis=1, initial=0) if len(boxes) else np.zeros(0)
    ratio = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / side**2
    return bool(((away < side / 3) & (ratio > 0.4) & (ratio < 2.5)).any())


def by_analyst(analyst: Analyst) -> Search:
    return lambda image: np.array([face.box for face in analyst.look(image).faces], np.float32).reshape(-1, 4)


def by_yunet(yunet: Any, image: Picture) -> NDArray[np.float32]:
    yunet.setInputSize((image.shape[1], image.shape[0]))
    found = yunet.detect(image)[1]
    rows = np.zeros((0, 4), np.float32) if found is None else np.asarray(found[:, :4], np.float32)
    return np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:]], axis=1)


if __name__ == "__main__":
    main()
