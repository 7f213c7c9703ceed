"""Where faces move: a Kalman filter over all tracked boxes at once, with the real time between frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streamer.faces.boxes import centred

# Lengths are in face sizes (square root of the box area); each row is cx, cy, width, height. Chosen on clips of moving
# heads for the best overlap between the predicted box and the one found when the detector runs on every frame.
JITTER = np.array([0.025, 0.025, 0.04, 0.04], np.float32)  # standard deviation of a detected box
ACCELERATION = np.array([3.0, 3.0, 1.5, 1.5], np.float32)  # noise density, sizes / s^1.5
START_SPEED = np.array([3.0, 3.0, 0.5, 0.5], np.float32)  # standard deviation of a new face's speed, sizes / s
TOP_SPEED = np.array([8.0, 8.0, 1.0, 1.0], np.float32)  # sizes / s
DAMPING = 0.4  # s after which a face that is not seen has lost 63 % of its speed
FARTHEST = 0.3  # largest standard deviation of a place: a face that is not seen is looked for near by
MIN_SIDE = 1.0  # pixels


class Motion:
    """Hold T boxes and their speeds as Gaussian states, and carry them through time.

    The model has constant velocity, damped so that an unseen box comes to rest. Noise scales with the size of the
    face. The four coordinates do not interact, so the 8x8 covariance of SORT (Bewley et al. 2016) falls into 2x2
    blocks, kept as three numbers each. state: (2, T, 4) position and velocity of (cx, cy, width, height) in pixels and
    pixels / s. covariance: (3, T, 4) of position, position with velocity, velocity.
    """

    def __init__(self, boxes: NDArray[np.float32]) -> None:
        """Start at (T, 4) xyxy boxes, at rest."""
        position = centred(boxes)
        size = _sizes(position)
        self.state = np.stack([position, np.zeros_like(position)])
        zero = np.zeros_like(position)
        self.covariance = np.stack([(JITTER * size) ** 2, zero, (START_SPEED * size) ** 2])

    def __len__(self) -> int:
        return int(self.state.shape[1])

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Return the (T, 4) float32 xyxy boxes."""
        centre, side = self.state[0, :, :2], self.state[0, :, 2:]
        return np.concatenate([centre - side / 2, centre + side / 2], axis=1)

    def predict(self, elapsed: float) -> None:
        """Move all boxes on by `elapsed` >= 0 seconds."""
        kept = np.float32(np.exp(-elapsed / DAMPING))
        reach = np.float32(DAMPING) * (1 - kept)
        position, velocity = self.state
        spread, shared, drift = self.covariance
        noise = (ACCELERATION * _sizes(position)) ** 2
        self.state = np.stack([position + reach * velocity, kept * velocity])
        self.covariance = np.stack(
            [
                spread + 2 * reach * shared + reach**2 * drift + noise * reach**3 / 3,
                kept * (shared + reach * drift) + noise * reach**2 / 2,
                kept**2 * drift + noise * reach,
            ]
        )
        self._bound(slice(None))

    def keep_near(self, width: int, height: int) -> None:
        """Stop boxes that have just left a picture of that size: who comes back does so near the edge."""
        centre, half = self.state[0, :, :2], self.state[0, :, 2:] / 2
        bounded = np.clip(centre, -half, np.array([width, height], np.float32) + half)
        self.state[1, :, :2][bounded != centre] = 0
        self.state[0, :, :2] = bounded

    def correct(self, rows: NDArray[np.int64], boxes: NDArray[np.float32]) -> None:
        """Take in detected (len(rows), 4) xyxy boxes of the given rows."""
        measured = centred(boxes)
        spread, shared, drift = self.covariance[:, rows]
        total = spread + (JITTER * _sizes(measured)) ** 2
        gain, gain_velocity = spread / total, shared / total
        surprise = measured - self.state[0, rows]
        self.state[0, rows] += gain * surprise
        self.state[1, rows] += gain_velocity * surprise
        self.covariance[:, rows] = (1 - gain) * spread, (1 - gain) * shared, drift - gain_velocity * shared
        self._bound(rows)

    def distances(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (T, N) squared Mahalanobis distances between the centres and those of (N, 4) xyxy boxes."""
        centres = centred(boxes)[:, :2]
        size = _sizes(self.state[0])
        variance = np.minimum(self.covariance[0, :, :2], (FARTHEST * size) ** 2) + (JITTER[:2] * size) ** 2
        offset = centres[None] - self.state[0, :, None, :2]
        return np.asarray((offset**2 / variance[:, None]).sum(axis=2), np.float32)

    def strides(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (T, N) distances between the centres and those of (N, 4) xyxy boxes, in sizes of the face."""
        offset = centred(boxes)[None, :, :2] - self.state[0, :, None, :2]
        return np.asarray(np.sqrt((offset**2).sum(axis=2)) / _sizes(self.state[0]), np.float32)

    def keep(self, rows: NDArray[np.bool_]) -> None:
        """Forget the boxes that the (T,) mask leaves out."""
        self.state, self.covariance = self.state[:, rows], self.covariance[:, rows]

    def extend(self, other: Motion) -> None:
        """Append the boxes of `other`."""
        self.state = np.concatenate([self.state, other.state], axis=1)
        self.covariance = np.concatenate([self.covariance, other.covariance], axis=1)

    def _bound(self, rows: NDArray[np.int64] | slice) -> None:
        self.state[0, rows, 2:] = np.maximum(self.state[0, rows, 2:], MIN_SIDE)
        top = TOP_SPEED * _sizes(self.state[0, rows])
        self.state[1, rows] = np.clip(self.state[1, rows], -top, top)


def _sizes(position: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.sqrt(np.maximum(position[:, 2:].prod(axis=1, keepdims=True), MIN_SIDE**2)), np.float32)
