"""How the published points of a set and those of the teacher differ: what is constant of it is the labels' bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from train.landmarks.batches.bias import in_frame
from train.landmarks.batches.faces import Faces
from train.landmarks.teacher import MeshTeacher, roll_of, to_ibug

PRESENT = 0.9  # presence from which the teacher's points count
LOST = 0.3  # mean difference, in distances of the outer eye corners, from which one of the two saw no face
PARTS = {"jaw": slice(0, 17), "brows": slice(17, 27), "nose": slice(27, 36), "eyes": slice(36, 48)}
PARTS |= {"mouth": slice(48, 68), "all": slice(0, 68)}


def differences(faces: Faces, rows: Sequence[int], teacher: MeshTeacher) -> NDArray[np.float32]:
    """Return the (N, 68, 2) ways from the teacher's points to the published ones, of faces that both see.

    They are in distances of the outer eye corners, x along the line of the eyes, y down the face.
    """
    found = []
    for row in rows:
        points = faces.points[row]
        roll = roll_of(points[36:42].mean(axis=0), points[42:48].mean(axis=0))
        mesh, presence = teacher.look(faces.pictures[row], faces.boxes[row : row + 1], np.array([roll], np.float32))
        way = in_frame(points[None] - to_ibug(mesh), to_ibug(mesh))[0]
        if presence[0] >= PRESENT and np.linalg.norm(way, axis=1).mean() < LOST:
            found.append(way)
    return np.array(found, np.float32).reshape(-1, 68, 2)


def bias_of(ways: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (68, 2) median way."""
    return np.asarray(np.median(ways, axis=0), np.float32)


def summary(ways: NDArray[np.float32]) -> list[dict[str, float | str]]:
    """Return a row a part: mean difference as it is and with the bias taken back, and the bias, in percent."""
    bias = bias_of(ways)
    lengths = [100 * np.linalg.norm(one, axis=2) for one in (ways, ways - bias)]
    return [
        {
            "part": name,
            "difference": round(float(lengths[0][:, part].mean()), 2),
            "bias taken back": round(float(lengths[1][:, part].mean()), 2),
            "right": round(float(100 * bias[part, 0].mean()), 2),
            "down": round(float(100 * bias[part, 1].mean()), 2),
        }
        for name, part in PARTS.items()
    ]
