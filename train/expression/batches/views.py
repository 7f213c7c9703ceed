"""Training pictures for one network of several regions: what of the face is seen is drawn for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from streamer.faces.regions import HIDDEN, hidden_boxes, inside, region_box, unseen
from streamer.faces.visibility import VisibleRegion
from train.expression.batches.cutting import landmarker_of, recipe, whole
from train.expression.config import Data, Input
from train.occluders import NONE, TRAINING, occlude

JITTER = 0.06  # deviation of each edge of a box, as a share of its longer side: landmarks are never exact


class Zoom(NamedTuple):
    """Say what is seen of N pictures: matrices (N, 2, 3) from output to input, and the (N, 2) shares of the output,
    across and down, that the region fills; the rest is padding.
    """

    matrices: Tensor
    extent: Tensor


def move(points: NDArray[np.float32], matrices: Tensor, shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Move (N, 68, 2) landmarks of pictures of `shape` with them to the pixels of pictures of `size` (height, width).

    matrices: (N, 2, 3) from output to input positions in -1..1, as `random_affine` draws them.
    """
    before = torch.from_numpy(points) / torch.tensor([shape[1], shape[0]]) * 2 - 1
    matrices = matrices.cpu().float()
    back = torch.linalg.inv(matrices[:, :, :2])
    after = (before - matrices[:, None, :, 2]) @ back.transpose(1, 2)
    moved: Tensor = (after + 1) / 2 * torch.tensor([size[1], size[0]])
    return moved


class Covered(NamedTuple):
    """Hold N faces, some with something over them, and what is known of their landmarks.

    pictures: (N, H, W, 1) uint8. points: (N, 68, 2) float32 pixels. visibility: (N, 68) in 0-1, NaN where nothing was
    drawn. usable: (N,) as `Face.usable`, 1 where nobody asked.
    """

    pictures: NDArray[np.uint8]
    points: NDArray[np.float32]
    visibility: NDArray[np.float32]
    usable: NDArray[np.float32]


class Cover:
    """Draw occluders over faces, and locate their landmarks as serving does.

    Where a landmark network serves it is asked about every face that something was drawn over: it guesses what is
    hidden, while the true landmarks would tell the shape of a covered mouth.
    """

    def __init__(self, share: float, data: Data, seen: Input) -> None:
        self.share, self.seen = share, seen
        self._landmarker = landmarker_of(data) if share > 0 and data.landmarks != Path("dlib") else None

    def __call__(self, pictures: NDArray[np.uint8], points: NDArray[np.float32]) -> Covered:
        """Draw something over a share of the faces of (N, H, W, 1) pictures; points: their (N, 68, 2) landmarks."""
        random = np.random.default_rng(int(torch.randint(2**31, ()).item()))
        drawn = [str(random.choice(TRAINING)) if random.random() < self.share else NONE for _ in pictures]
        changed, visibility = occlude(pictures[..., 0], points, drawn, random)
        bare = np.array([family == NONE for family in drawn])
        visibility[bare] = np.nan
        found = Covered(changed[..., None], points.copy(), visibility, np.ones(len(pictures), np.float32))
        rows = np.flatnonzero(~bare & np.isfinite(points).all(axis=(1, 2)))
        if self._landmarker and len(rows):
            boxes = [face_of(picture, self.seen)[None] for picture in found.pictures[rows]]
            looks = self._landmarker.look(list(found.pictures[rows]), boxes)
            for row, look in zip(rows, looks, strict=True):
                assert look.visibility is not None
                assert look.usable is not None
                found.points[row], found.visibility[row] = look.points[0], look.visibility[0]
                found.usable[row] = look.usable[0]
        return found

    def close(self) -> None:
        """Close the landmark network."""
        if self._landmarker:
            self._landmarker.close()


def face_of(picture: NDArray[np.uint8], seen: Input) -> NDArray[np.float32]:
    """Return the (4,) box of the face in a picture that was cut by it, as `whole_faces` cuts."""
    if seen.face_box != "detector":
        return whole(picture)
    side = picture.shape[0]
    half, middle = side / (1 + 2 * seen.margin) / 2, side * np.array([0.5, 0.5 - seen.shift_y])
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def draw_views(faces: Covered, regions: Sequence[str]) -> list[str]:
    """Draw a region for each of N faces: what an occluder leaves; any where nothing is drawn.

    An occluder may leave a region that is not learned, or nothing: then it is any, too.
    """
    drawn = torch.randint(len(regions), (len(faces.pictures),)).tolist()
    left = left_by(faces)
    return [one if one and one in regions else regions[number] for one, number in zip(left, drawn, strict=True)]


def left_by(faces: Covered) -> list[str | None]:
    """Return the region that an occluder leaves of each face; None where nothing is drawn, or nothing can be seen."""
    return [
        VisibleRegion().update(visibility, float(usable))
        for visibility, usable in zip(faces.visibility, faces.usable, strict=True)
    ]


def shaken(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Move every edge of (..., 4) boxes a little."""
    side = (boxes[..., 2:] - boxes[..., :2]).max(axis=-1, keepdims=True)
    return np.asarray(boxes + JITTER * side * torch.randn(boxes.shape).numpy(), np.float32)


def zoom(points: Tensor, views: Sequence[str], matrices: Tensor, shape: tuple[int, int], seen: Input) -> Zoom:
    """Fill each picture with its region, padded to a square, on top of its random changes.

    points: (N, 68, 2) landmarks in the pixels of the changed pictures of `shape` (height, width); where they are NaN,
    and of the view 'face', the whole picture is seen. matrices: (N, 2, 3) from the changed picture to the given one, in
    -1..1.
    """
    frame = torch.tensor([shape[1], shape[0]], dtype=torch.float32)
    found = [region_box(face, view, seen.margin, seen.eyes) for face, view in zip(points.numpy(), views, strict=True)]
    found = [np.full_like(box, np.nan) if view == "face" else box for box, view in zip(found, views, strict=True)]
    boxes = torch.from_numpy(shaken(np.stack(found)))
    boxes = torch.where(boxes.isfinite(), boxes, torch.cat([torch.zeros(2), frame])).to(matrices.device)
    frame = frame.to(matrices.device)
    low, high = boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    side = (high - low).amax(dim=1, keepdim=True)
    centre, half = (low + high) / frame - 1, side / frame
    turn = matrices[:, :, :2]
    shift = (turn @ centre[:, :, None]) + matrices[:, :, 2:]
    return Zoom(torch.cat([turn * half[:, None, :], shift], dim=2), (high - low) / side)


def pad(images: Tensor, extent: Tensor, padding: int) -> Tensor:
    """Replace by the constant `padding` what lies outside the middle (N, 2) shares of (N, C, H, W) pictures."""
    height, width = images.shape[2:]
    across = (torch.arange(width, device=images.device) + 0.5).mul(2 / width).sub(1).abs()
    down = (torch.arange(height, device=images.device) + 0.5).mul(2 / height).sub(1).abs()
    shown = (across[None, None, :] < extent[:, 0, None, None]) & (down[None, :, None] < extent[:, 1, None, None])
    return torch.where(shown[:, None], images, float(padding))


def show_views(
    images: Tensor, points: Tensor, views: Sequence[str], seen: Input, visibility: NDArray[np.float32] | None = None
) -> Tensor:
    """Hide what the view of each of (N, C, H, W) pictures lacks, as `streamer.faces.regions.crops` does.

    All are lifted to 1 at least. points: (N, 68, 2) landmarks in their pixels; a picture whose landmarks are NaN is
    shown whole. visibility: (N, 68) in 0-1, NaN where everything can be seen.
    """
    boxes = shaken(hidden_boxes(points.numpy(), views, recipe(seen)))
    hidden = inside(boxes.reshape(len(images), -1, 2), *images.shape[2:])
    if visibility is not None:
        hidden |= unseen(points.numpy(), visibility, views, *images.shape[2:])
    covers = torch.from_numpy(hidden).to(images.device)
    return torch.where(covers[:, None], float(HIDDEN), images.clamp(HIDDEN + 1, 255))
