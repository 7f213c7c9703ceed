"""MediaPipe's face landmarker (Apache-2.0) through OpenVINO: 478 points of a face, and 68 of them in iBUG order.

`face_landmarker.task` is a ZIP of TFLite files; `face_landmarks_detector` takes RGB crops of 256x256 in 0-1 whose eyes
are level, and answers points in pixels of the crop and the logit of a face being there.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError
from engines.openvino import COMPILING, CORE

SIDE = 256  # pixels of the crop
MARGIN = 1.5  # times the face's longer side is that of the crop
LOOKS = 2  # the second crop is turned by the eye line of the first, and lies around its points
NETWORK = "face_landmarks_detector.tflite"
RIGHT_EYE, LEFT_EYE = (33, 133), (263, 362)  # outer and inner corners, of the person
# Where each of the 68 landmarks lies in the mesh. The jaw's are points of the face's outline between two vertices, at
# the share of the way that fits the labels of YouTube-Faces best (265 frames trained on, both sides together).
RIGHT_JAW = ((127, 234, 0.1), (234, 93, 0.3), (93, 132, 0.5), (132, 58, 0.5), (58, 172, 0.6), (136, 150, 0.0),
             (150, 149, 0.3), (176, 148, 0.0))  # fmt: skip
LEFT_JAW = ((400, 377, 0.0), (379, 378, 0.3), (365, 379, 0.0), (288, 397, 0.6), (361, 288, 0.5), (323, 361, 0.5),
            (454, 323, 0.3), (356, 454, 0.1))  # fmt: skip
JAW = (*RIGHT_JAW, (152, 152, 0.0), *LEFT_JAW)
INNER = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
FIRST = np.array([*(first for first, _, _ in JAW), *INNER])
SECOND = np.array([*(second for _, second, _ in JAW), *INNER])
WAY = np.array([*(way for _, _, way in JAW), *(0.0 for _ in INNER)], np.float32)[:, None]


class MeshTeacher:
    """Locate the mesh of faces. It belongs to one thread.

    Raises FileNotFoundError where the file is not there, UserError where it is something else.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected MediaPipe's face_landmarker.task, found none")
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads TFLite from files only
            try:
                with zipfile.ZipFile(path) as archive:
                    archive.extract(NETWORK, folder)
            except (zipfile.BadZipFile, KeyError) as error:
                raise UserError(f"{path}: expected MediaPipe's face_landmarker.task, found something else") from error
            model: Any = CORE.read_model(Path(folder) / NETWORK)
            with COMPILING:
                self._request = CORE.compile_model(model, "CPU", settings).create_infer_request()

    def look(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32], rolls: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the (N, 478, 2) points in pixels of an (H, W, 3) BGR or (H, W) picture, and (N,) presence in 0-1.

        boxes: (N, 4) xyxy of the faces. rolls: (N,) radians by which they are turned, as `roll_of` says: a face turned
        by 45 degrees of which this is not told is lost in half of all cases.
        """
        colour = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB if image.ndim == 2 else cv2.COLOR_BGR2RGB), np.uint8)
        points, presence = np.zeros((len(boxes), 478, 2), np.float32), np.zeros(len(boxes), np.float32)
        for row, (box, roll) in enumerate(zip(boxes, rolls.tolist(), strict=True)):
            centre, side, angle = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max()), roll
            for _ in range(LOOKS):
                points[row], presence[row] = self._answer(colour, crop_matrix(centre, MARGIN * side, angle))
                centre, side, angle = frame_of(points[row])
        return points, presence

    def _answer(self, colour: NDArray[np.uint8], matrix: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
        flags = cv2.INTER_AREA if matrix[0, 0] < 0.7 else cv2.INTER_LINEAR
        crop = cv2.warpAffine(colour, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_CONSTANT)
        self._request.infer([crop[None].astype(np.float32) / 255])
        mesh, logit = (self._request.get_output_tensor(number).data.reshape(-1) for number in range(2))
        found = mesh.reshape(478, 3)[:, :2].astype(np.float64)
        back = cv2.invertAffineTransform(matrix)
        return (found @ back[:, :2].T + back[:, 2]).astype(np.float32), float(1 / (1 + np.exp(-logit[0])))


def crop_matrix(centre: NDArray[np.float32], side: float, angle: float) -> NDArray[np.float64]:
    """Return the (2, 3) map from the picture to a crop of a square that is turned by an angle in radians."""
    scale = SIDE / max(side, 1.0)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.array([[cos, sin], [-sin, cos]])
    return np.concatenate([turn, (SIDE / 2 - turn @ centre)[:, None]], axis=1)


def frame_of(mesh: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, float]:
    """Return centre, longer side and roll in radians of a face from its (478, 2) points."""
    angle = roll_of(mesh[list(RIGHT_EYE)].mean(axis=0), mesh[list(LEFT_EYE)].mean(axis=0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    level = mesh @ turn.T
    low, high = level.min(axis=0), level.max(axis=0)
    return ((low + high) / 2 @ turn).astype(np.float32), float((high - low).max()), angle


def roll_of(right_eye: NDArray[np.float32], left_eye: NDArray[np.float32]) -> float:
    """Return by how many radians a face is turned, clockwise, from the (2,) places of a person's eyes."""
    across = left_eye - right_eye
    return float(np.arctan2(across[1], across[0]))


def to_ibug(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (N, 68, 2) landmarks of (N, 478, 2) meshes."""
    return np.asarray(mesh[:, FIRST] * (1 - WAY) + mesh[:, SECOND] * WAY, np.float32)
