"""What a picture shows: its faces, and the record that `streamer photo` writes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from streamer.types import Face


class Faces(Sequence[Face]):
    """Hold the faces of one picture, in the order of their ids.

    name: of the file; width, height: of the picture that was analysed, to which all boxes belong, pixels. notes: what
    was changed about it, in words, as 'turned by 90°'. image: that picture, (H, W, 3) uint8 BGR, not to be written to,
    with faces hidden where privacy asks for it; None where several pictures were analysed at once.
    """

    def __init__(
        self, faces: Sequence[Face], record: Mapping[str, Any], image: NDArray[np.uint8] | None = None
    ) -> None:
        self._faces, self._record, self.image = tuple(faces), record, image

    @property
    def name(self) -> str:
        """Return the name of the picture's file."""
        return str(self._record["name"])

    @property
    def width(self) -> int:
        """Return the width of the picture in pixels."""
        return int(self._record["width"])

    @property
    def height(self) -> int:
        """Return the height of the picture in pixels."""
        return int(self._record["height"])

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was changed about the picture before it was analysed."""
        return tuple(self._record["notes"])

    def to_dict(self) -> dict[str, Any]:
        """Return the picture, its faces and what they show as a group as JSON values, as in photos.json."""
        return deepcopy(dict(self._record))

    def __len__(self) -> int:
        return len(self._faces)

    @overload
    def __getitem__(self, place: int) -> Face: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Face, ...]: ...

    def __getitem__(self, place: int | slice) -> Face | tuple[Face, ...]:
        return self._faces[place]

    def __iter__(self) -> Iterator[Face]:
        return iter(self._faces)

    def __repr__(self) -> str:
        said = ", ".join(f"{face.label} {face.confidence:.2f}" if face.expression else "?" for face in self._faces)
        return f"<Faces of {self.name}: {said or 'none'}>"
