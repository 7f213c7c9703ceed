"""Turn faces in the picture's plane: how many are found, how wrong their landmarks are, how many answers change.

Usage: python benchmarks/rolled.py --data ROOT [--config photos] [--faces 150] [--rolls 0 10 ...] [--name after]

Landmarks: every second frame of the people of YouTube-Faces that no network was trained on (ROOT/data/landmarks), their
shift taken back. Answers: LFW people that no detector of ours was trained on, one photo each (ROOT/data/faces), turned
to both sides, against the answer to the upright photo. All of it as `streamer photo` sees them: detector, landmarks,
region, crop.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import report
from numpy.typing import NDArray

from streamer.config import Config, load_config, preset
from streamer.photo.analyst import Analyst
from streamer.types import Face
from train.detector.batches.sources import is_held
from train.landmarks.batches.faces import Faces
from train.landmarks.batches.read import read
from train.landmarks.config import Source
from train.landmarks.rolled import rolled, turn
from train.landmarks.scores import normalised_error

SHIFT = 0.033  # of the labels of YouTube-Faces to the right

Picture = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--config", default="photos")
    parser.add_argument("--faces", type=int, default=150)
    parser.add_argument("--rolls", type=int, nargs="*", default=[0, 10, 20, 30, 45, 60])
    parser.add_argument("--name", default="after")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    known = read(Source(set="ytf", path=options.data / "data" / "landmarks", share=1, shift=SHIFT), "test")
    frames = Faces(known.pictures[::2], known.points[::2], known.boxes[::2])
    photos = read_photos(options.data, options.faces)
    rows: list[dict[str, Any]] = []
    with Analyst(load_config(Config, preset(options.config))) as analyst:
        upright = [answer(middle_face(analyst, photo)) for photo in photos]
        for roll in options.rolls:
            errors, asked, changed, spent = [], 0, 0, 0.0
            faces = rolled(frames, roll)
            for picture, truth in zip(faces.pictures, faces.points, strict=True):
                colour = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
                spent -= time.process_time()
                face = middle_face(analyst, colour)
                spent += time.process_time()
                if face is not None and face.landmarks is not None:
                    errors.append(float(normalised_error(face.landmarks[None], truth[None])[0]))
            for photo, before in zip(photos, upright, strict=True):
                for sign in (1, -1) if roll else ():
                    after = answer(middle_face(analyst, turn(photo, middle_of(photo), sign * roll)[0]))
                    if before and after:
                        asked, changed = asked + 1, changed + (before != after)
            rows.append(
                {
                    "roll": f"{roll}°",
                    "frames found": f"{len(errors)} of {len(frames.pictures)}",
                    "landmarks, mean error %": f"{100 * np.mean(errors):.2f}" if errors else "",
                    "median": f"{100 * np.median(errors):.2f}" if errors else "",
                    "answers changed %": f"{100 * changed / asked:.1f} of {asked}" if asked else "",
                    "CPU ms a picture": f"{1e3 * spent / len(frames.pictures):.1f}",
                }
            )
            print(rows[-1], flush=True)
    notes = "Errors are mean distances in percent of that of the outer eye corners."
    (report.RESULTS / "rolled").mkdir(exist_ok=True)
    report.write(f"rolled/{options.name}", f"Rolled faces, {options.config}", rows, notes)


def read_photos(root: Path, count: int) -> list[Picture]:
    """Return one photo each of people that are held back from the detector's training."""
    import pyarrow.parquet as parquet

    table = parquet.read_table(root / "data" / "faces" / "lfw.parquet", columns=["name", "jpg"])
    found: dict[str, Picture] = {}
    for name, jpg in zip(table["name"].to_pylist(), table["jpg"].to_pylist(), strict=True):
        person = name.rsplit("_", 1)[0]
        if person not in found and is_held("lfw", name) and len(found) < count:
            found[person] = np.asarray(cv2.imdecode(np.frombuffer(jpg, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    return list(found.values())


def middle_of(picture: Picture) -> NDArray[np.float32]:
    return np.array(picture.shape[1::-1], np.float32) / 2


def middle_face(analyst: Analyst, picture: Picture) -> Face | None:
    """Return the face that holds the middle of a picture, the first of them."""
    middle = middle_of(picture)
    faces: Sequence[Face] = analyst.look(picture).faces
    return next((face for face in faces if (face.box[:2] < middle).all() and (face.box[2:] > middle).all()), None)


def answer(face: Face | None) -> str | None:
    """Return the likeliest label of a face that was judged."""
    if face is None or face.expression is None or not face.expression.judged:
        return None
    shares = face.expression.probabilities
    return max(shares, key=lambda label: shares[label])


if __name__ == "__main__":
    main()
