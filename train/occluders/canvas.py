"""The sheet that occluders are drawn on: a grey picture, the landmarks of its face, and what is hidden so far."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]  # (H, W)

FINE = 4  # bits of fraction that corners keep when they are drawn
NARROWEST = 0.75  # of the way from eyes to mouth: the eyes of a profile count as this far apart


class Canvas:
    """Hold one picture while something is drawn over its face.

    picture: (H, W) float32 in 0-255. hidden: (H, W) float32 in 0-1, the share of each pixel that cannot be seen.
    points: (68, 2) pixels. cover: 0-1, how much of what it can hide the occluder shall hide. The face has its own
    frame: the origin lies between the eyes, x counts the eyes' distance, y the way from the eyes to the mouth.
    """

    def __init__(
        self, picture: NDArray[np.uint8], points: NDArray[np.float32], cover: float, random: np.random.Generator
    ) -> None:
        self.picture: Map = picture.astype(np.float32)
        self.points, self.cover, self.random = points.astype(np.float64), cover, random
        self.hidden: Map = np.zeros(picture.shape, np.float32)
        right, left = self.points[36:42].mean(axis=0), self.points[42:48].mean(axis=0)
        self.origin = (right + left) / 2
        self.down = self.points[48:68].mean(axis=0) - self.origin
        across, shortest = left - right, NARROWEST * float(np.hypot(*self.down))
        apart = float(np.hypot(*across))
        self.across = across * max(1.0, shortest / apart) if apart > 1e-3 else np.array([shortest, 0.0])
        self.unit = max(1.0, float(np.hypot(*self.across)))  # pixels between the eyes

    def at(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn (K, 2) places of the face's frame into pixels."""
        return np.asarray(self.origin + places @ np.array([self.across, self.down]))

    def uniform(self, low: float, high: float) -> float:
        """Draw a number."""
        return float(self.random.uniform(low, high))

    def wobble(self, corners: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        """Move (K, 2) pixels at random by a share of the eyes' distance."""
        return np.asarray(corners + self.random.normal(0, share * self.unit, corners.shape))

    def fill(self, corners: NDArray[np.float64], soft: float = 0.0) -> Map:
        """Return the map of a polygon, 1 inside; soft: width of its border in shares of the eyes' distance."""
        drawn = np.zeros(self.hidden.shape, np.uint8)
        fixed = np.rint((corners - 0.5).clip(-1e4, 1e4) * (1 << FINE)).astype(np.int32)
        cv2.fillPoly(drawn, [fixed], (255,), cv2.LINE_AA, FINE)
        return self.softened(np.asarray(drawn, np.float32) / np.float32(255), soft)

    def stroke(self, corners: NDArray[np.float64], width: float) -> Map:
        """Return the map of a line through (K, 2) pixels; width in shares of the eyes' distance."""
        drawn = np.zeros(self.hidden.shape, np.uint8)
        fixed = np.rint((corners - 0.5).clip(-1e4, 1e4) * (1 << FINE)).astype(np.int32)
        pixels = width * self.unit
        cv2.polylines(drawn, [fixed], False, (255,), max(1, round(pixels)), cv2.LINE_AA, FINE)
        return drawn.astype(np.float32) * (min(1.0, pixels) / 255)

    def softened(self, values: Map, width: float) -> Map:
        """Blur a map by a width in shares of the eyes' distance."""
        sigma = width * self.unit
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32) if sigma > 0.2 else values

    def lay(self, shape: Map, paint: Map | float) -> None:
        """Cover the picture where `shape` is 1 and note that it is hidden there."""
        self.picture += shape * (paint - self.picture)
        self.hidden = np.maximum(self.hidden, shape)

    def darken(self, shape: Map, share: float) -> None:
        """Take light away where `shape` is 1, as folds and shadows do; hides nothing."""
        self.picture *= 1 - share * shape

    def light(self, strength: float = 0.5) -> Map:
        """Return how the face is lit, 1 in the mean: what is worn on it is lit alike."""
        smooth = np.asarray(cv2.GaussianBlur(self.picture, (0, 0), 0.5 * self.unit), np.float32)
        return np.asarray(1 + strength * (smooth / max(1.0, float(smooth.mean())) - 1), np.float32)

    def skin(self) -> float:
        """Return the grey level of the face: the median at cheeks and bridge of the nose."""
        places = np.array([[-0.35, 0.5], [0.35, 0.5], [0, 0.3], [-0.2, 0.45], [0.2, 0.45]])
        height, width = self.picture.shape
        x, y = np.floor(self.at(places)).astype(int).T
        return float(np.median(self.picture[y.clip(0, height - 1), x.clip(0, width - 1)]))

    def grain(self, size: float) -> Map:
        """Return random spots of mean 0 and deviation 1, `size` eyes' distances wide."""
        height, width = self.hidden.shape
        cell = max(1.0, size * self.unit)
        small = self.random.standard_normal((max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)))
        return np.asarray(cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC))

    def ramp(self, angle: float) -> Map:
        """Return the place of each pixel along a direction, in eyes' distances from the origin."""
        y, x = np.mgrid[: self.hidden.shape[0], : self.hidden.shape[1]].astype(np.float32) + 0.5
        along = (x - self.origin[0]) * np.cos(angle) + (y - self.origin[1]) * np.sin(angle)
        return np.asarray(along / self.unit, np.float32)


def rounded(corners: NDArray[np.float64], times: int = 2) -> NDArray[np.float64]:
    """Cut the corners of a closed (K, 2) outline (Chaikin 1974), each time to twice as many."""
    for _ in range(times):
        following = np.roll(corners, -1, axis=0)
        corners = np.stack([0.75 * corners + 0.25 * following, 0.25 * corners + 0.75 * following], axis=1).reshape(
            -1, 2
        )
    return corners


def ellipse(
    centre: NDArray[np.float64], radii: tuple[float, float], angle: float, count: int = 20
) -> NDArray[np.float64]:
    """Return the (count, 2) outline of an ellipse."""
    turns = np.linspace(0, 2 * np.pi, count, endpoint=False)
    x, y = radii[0] * np.cos(turns), radii[1] * np.sin(turns)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(centre + np.stack([cos * x - sin * y, sin * x + cos * y], axis=1))
