"""What is worn on a face: masks and dark glasses."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from train.occluders.canvas import Canvas, Map, rounded

# Landmarks down the middle of the face, from the upper lip to the root of the nose, where the edge of a mask may lie.
MIDDLE = (51, 33, 30, 29, 28, 27)
JUST_BELOW_NOSE, POINT_29, ROOT = 0.6, 4.15, 4.6  # places on that line, counted in its landmarks


def surgical_mask(canvas: Canvas) -> None:
    """Cover mouth and nose, up to landmark 29 (from 1), with a light mask that has pleats and straps."""
    shape, (left, right) = _mask(canvas, 1 + (POINT_29 - 1) * canvas.cover)
    _straps(canvas, left, right)
    paint = canvas.uniform(110, 245) * canvas.light(canvas.uniform(0.3, 0.8))
    canvas.lay(shape, paint.clip(0, 255))
    for row in np.linspace(0.75, 1.35, 3) + canvas.uniform(-0.05, 0.05):
        bend = np.array([[-0.6, row - 0.05], [0, row + 0.04], [0.6, row - 0.05]])
        canvas.darken(canvas.stroke(canvas.at(bend), 0.03) * shape, canvas.uniform(0.05, 0.3))


def plain_mask(canvas: Canvas) -> None:
    """Cover the mouth, or mouth and nose, with a mask of one colour that has a seam down the middle."""
    shape, ends = _mask(canvas, canvas.uniform(0.2, 0.6) + (ROOT - 0.6) * canvas.cover)
    _straps(canvas, *ends)
    paint = canvas.uniform(5, 235) * canvas.light(canvas.uniform(0.3, 0.9))
    canvas.lay(shape, paint.clip(0, 255))
    if canvas.random.random() < 0.5:
        canvas.darken(canvas.stroke(canvas.at(np.array([[0, 0.3], [0.02, 1.7]])), 0.03) * shape, 0.3)


def textured_mask(canvas: Canvas) -> None:
    """Cover mouth and nose, up to landmark 29 (from 1), with patterned cloth."""
    _cloth(canvas, 1 + (POINT_29 - 1) * canvas.cover)


def textured_mask_low(canvas: Canvas) -> None:
    """Cover the mouth alone, up to below the nose, with patterned cloth."""
    _cloth(canvas, JUST_BELOW_NOSE * canvas.cover)


def sunglasses(canvas: Canvas) -> None:
    """Cover the eyes, and with much cover the brows, with dark lenses, a bridge and temples."""
    tone, size = canvas.uniform(0, 75), 0.7 + 0.6 * canvas.cover
    joined = canvas.random.random() < 0.15
    glass = np.zeros_like(canvas.hidden)
    middle_y = canvas.uniform(0.0, 0.12)
    for side in (-1, 1):
        x, y = 0.4 * size * canvas.uniform(0.9, 1.15), 0.3 * size * canvas.uniform(0.85, 1.3)
        shape = np.array([[-1, -0.9], [0, -1], [1, -0.9], [1.05, 0], [0.7, 0.85], [0, 1], [-0.7, 0.85], [-1.05, 0]])
        lens = canvas.at(np.array([side * 0.5, middle_y]) + shape * (x, y))
        glass = np.maximum(glass, canvas.fill(rounded(canvas.wobble(lens, 0.02), 1)))
    if joined:
        bar = np.array([[-0.5, -0.2], [0.5, -0.2], [0.5, 0.15], [-0.5, 0.15]]) * (1, size)
        glass = np.maximum(glass, canvas.fill(canvas.at(bar)))
    frame = canvas.stroke(canvas.at(np.array([[-0.2, middle_y - 0.03], [0.2, middle_y - 0.03]])), 0.06)
    for side in (-1, 1):
        frame = np.maximum(frame, canvas.stroke(canvas.at(np.array([[side * 0.85, 0], [side * 1.35, -0.05]])), 0.05))
    canvas.lay(frame, canvas.uniform(0, 200))
    shine = canvas.uniform(0, 60) * np.clip(0.5 - canvas.ramp(canvas.uniform(0, 6.3)), 0, 1)
    canvas.lay(glass * canvas.uniform(0.88, 1.0), np.asarray(tone + shine, np.float32))


def _mask(canvas: Canvas, edge: float) -> tuple[Map, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the shape of a mask whose edge crosses the middle of the face at a place, and its upper ends."""
    points = canvas.points
    first = int(np.clip(np.floor(edge), 0, len(MIDDLE) - 2))
    top = points[MIDDLE[first]] + (edge - first) * (points[MIDDLE[first + 1]] - points[MIDDLE[first]])
    start = float(np.interp(edge, [0, 1, 5], [4.2, 3.3, 1.2])) + canvas.uniform(-0.4, 0.4)
    middle = (points[33] + points[51]) / 2
    jaw = middle + (points[:17] - middle) * (1 + canvas.uniform(0.03, 0.12))
    jaw[6:11] += canvas.uniform(0, 0.15) * canvas.down
    left, right = _on(jaw, start), _on(jaw, 16 - start)
    sag = canvas.uniform(-0.05, 0.12) * canvas.down
    between = [0.5 * (left + top) + sag, top, 0.5 * (right + top) + sag]
    below = jaw[int(np.ceil(start)) : 17 - int(np.ceil(start))][::-1]
    corners = np.concatenate([[left], canvas.wobble(np.array(between), 0.015), [right], below])
    corners[2] = top
    return canvas.fill(corners, canvas.uniform(0, 0.03)), (left, right)


def _on(line: NDArray[np.float64], place: float) -> NDArray[np.float64]:
    """Return the point at a fractional index of a (K, 2) line."""
    first = int(np.clip(np.floor(place), 0, len(line) - 2))
    return np.asarray(line[first] + (place - first) * (line[first + 1] - line[first]))


def _straps(canvas: Canvas, left: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    tone = canvas.uniform(60, 250)
    for end, outwards in ((left, -1.0), (right, 1.0)):
        ear = end + outwards * 0.35 * canvas.across - 0.25 * canvas.down
        canvas.lay(canvas.stroke(np.array([end, ear]), 0.03), tone)


def _cloth(canvas: Canvas, edge: float) -> None:
    shape, _ = _mask(canvas, edge)
    dark, bright = np.sort(canvas.random.uniform(5, 250, 2))
    pattern = _pattern(canvas)
    weave = 6 * canvas.grain(0.04)
    paint = (dark + (bright - dark) * pattern + weave) * canvas.light(canvas.uniform(0.2, 0.7))
    canvas.lay(shape, np.asarray(paint.clip(0, 255), np.float32))


def _pattern(canvas: Canvas) -> Map:
    """Return stripes, checks, dots or spots in 0-1, bent over the face."""
    pitch = canvas.uniform(0.12, 0.4)
    angle = canvas.uniform(0, np.pi)
    bend = 0.1 * canvas.grain(0.8)
    across, along = (np.sin(2 * np.pi * (canvas.ramp(angle + turn) + bend) / pitch) for turn in (0, np.pi / 2))
    kind = canvas.random.integers(4)
    values = (across, np.maximum(across, along), across * along, canvas.grain(pitch))[kind]
    sharp = canvas.uniform(1, 4)
    pattern = np.asarray(1 / (1 + np.exp(-sharp * 2 * values)), np.float32)
    return np.asarray(cv2.GaussianBlur(pattern, (0, 0), 0.6), np.float32)
