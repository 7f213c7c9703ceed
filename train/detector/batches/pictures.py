"""Pictures with the faces that are known in them, kept together in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError

EMPTY = ("textures", "backgrounds", "things", "rendered")  # sources without people


@dataclass(frozen=True, eq=False)
class Picture:
    """Hold a grey picture and its N faces.

    image: (H, W) uint8. boxes: (N, 4) float32 xyxy pixels. points: (N, 5, 2) float32, eyes, nose, mouth corners, NaN
    where nobody said them. sure: (N,) bool; a face that the teachers disputed is False and teaches nothing, neither
    face nor background. source: name of the set it comes from. held: kept from training, for thresholds and validation.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    sure: NDArray[np.bool_]
    source: str
    held: bool = False


def save(path: Path, pictures: Sequence[Picture], made: str = "") -> None:
    """Write pictures to one npz file; made: what they were made of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".tmp.npz")
    np.savez(
        unfinished,
        pixels=np.concatenate([picture.image.reshape(-1) for picture in pictures]),
        shapes=np.array([picture.image.shape for picture in pictures], np.int32),
        counts=np.array([len(picture.boxes) for picture in pictures], np.int32),
        boxes=np.concatenate([picture.boxes for picture in pictures]),
        points=np.concatenate([picture.points for picture in pictures]),
        sure=np.concatenate([picture.sure for picture in pictures]),
        source=np.array([picture.source for picture in pictures]),
        held=np.array([picture.held for picture in pictures]),
        made=np.array(made),
    )
    unfinished.replace(path)


def load(path: Path, made: str = "") -> list[Picture]:
    """Read what `save` wrote. Raises UserError where the file is something else, or made of something else."""
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            table = {name: file[name] for name in file.files}
        ends = np.cumsum(table["shapes"].astype(np.int64).prod(axis=1))[:-1]
        faces = np.cumsum(table["counts"])[:-1]
        columns = [np.split(table[name], faces) for name in ("boxes", "points", "sure")]
        images = [
            pixels.reshape(shape)
            for pixels, shape in zip(np.split(table["pixels"], ends), table["shapes"], strict=True)
        ]
    except (KeyError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"{path}: not a file of labelled pictures ({error}); delete it, it is made anew") from error
    found = str(table.get("made", ""))  # files from before it was noted have none
    if made and found and found != made:
        raise UserError(f"{path}: made of {found}, expected {made}; name another `data.cache`, or delete it")
    rows = zip(images, *columns, table["source"].tolist(), table["held"].tolist(), strict=True)
    return [Picture(*row) for row in rows]
