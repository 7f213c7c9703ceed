"""Pictures without people that come with a package: backgrounds, and stuff for what hides a face."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

NAMES = (
    *("brick", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field", "ihc", "motorcycle_left"),
    *("page", "retina", "rocket", "text"),
)


def texture_files() -> list[Path]:
    """Return the pictures without people that scikit-image's wheel holds."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return sorted(file for file in folder.iterdir() if file.stem in NAMES)


@cache
def textures() -> tuple[NDArray[np.uint8], ...]:
    """Return them in grey, (H, W)."""
    found = [cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE) for file in texture_files()]
    return tuple(np.asarray(picture, np.uint8) for picture in found if picture is not None)
