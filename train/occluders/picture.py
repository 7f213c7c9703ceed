"""What the picture itself does to a face: bars of text, its edges, blur and bad light."""

from __future__ import annotations

import cv2
import numpy as np

from train.occluders.canvas import Canvas, Map, ellipse

WORDS = ("LIVE", "BREAKING NEWS", "12:45", "Channel 4", "REC", "www", "UPDATE 7", "- - -")
UNREADABLE = 0.25  # eyes' distances: what is blurred so far, or shown in squares so large, cannot be read


def bar(canvas: Canvas) -> None:
    """Draw a bar with text across the face."""
    middle = canvas.at(np.array([[0, canvas.random.choice([0.0, 0.5, 1.0, 1.3]) + canvas.random.normal(0, 0.1)]]))[0]
    half = (0.12 + 0.45 * canvas.cover) * canvas.unit
    width = canvas.hidden.shape[1]
    left, right = (-1.0, width + 1.0) if canvas.random.random() < 0.6 else np.sort(canvas.random.uniform(0, width, 2))
    low, high = middle[1] - half, middle[1] + half
    shape = canvas.fill(np.array([[left, low], [right, low], [right, high], [left, high]]))
    tone = canvas.uniform(0, 255)
    paint = np.full_like(canvas.picture, tone)
    size, ink = canvas.uniform(0.6, 1.4) * half / 12, 255.0 if tone < 128 else 0.0
    for x in range(int(left), int(right), max(20, int(8 * half))):
        word = str(canvas.random.choice(WORDS))
        cv2.putText(paint, word, (x, int(middle[1] + half / 2)), cv2.FONT_HERSHEY_SIMPLEX, size, ink, 1, cv2.LINE_AA)
    canvas.lay(shape * canvas.uniform(0.85, 1.0), paint)


def edge(canvas: Canvas) -> None:
    """Let the picture end within the face: what lies beyond is black, as crops show it, or flat."""
    angle = canvas.random.integers(4) * np.pi / 2 + canvas.random.normal(0, 0.12)
    along = canvas.ramp(angle)
    where = ((canvas.points - canvas.origin) @ (np.cos(angle), np.sin(angle))) / canvas.unit
    limit = float(np.quantile(where, 1 - 0.75 * canvas.cover)) + canvas.random.normal(0, 0.05)
    shape = np.asarray(np.clip((along - limit) * canvas.unit + 0.5, 0, 1), np.float32)
    canvas.lay(shape, 0.0 if canvas.random.random() < 0.6 else canvas.uniform(0, 255))


def blur(canvas: Canvas) -> None:
    """Blur a part of the face until it cannot be read, or show it in squares."""
    width = UNREADABLE * canvas.uniform(1, 2) * canvas.unit
    if canvas.random.random() < 0.5:
        changed = cv2.GaussianBlur(canvas.picture, (0, 0), width, borderType=cv2.BORDER_REPLICATE)
    else:
        height, across = canvas.picture.shape
        size = max(1, round(across / (1.6 * width))), max(1, round(height / (1.6 * width)))
        small = cv2.resize(canvas.picture, size, interpolation=cv2.INTER_AREA)
        changed = cv2.resize(small, (across, height), interpolation=cv2.INTER_NEAREST)
    canvas.lay(_part(canvas), np.asarray(changed, np.float32))


def darkness(canvas: Canvas) -> None:
    """Put a part of the face into deep shadow or into glaring light."""
    shape = canvas.softened(_part(canvas), 0.15)
    noise = canvas.uniform(0, 3) * canvas.random.standard_normal(canvas.picture.shape).astype(np.float32)
    if canvas.random.random() < 0.65:
        left = canvas.uniform(0.0, 0.05) * canvas.picture + canvas.uniform(0, 15)
    else:
        left = 255 - canvas.uniform(0, 0.05) * (255 - canvas.picture)
    canvas.lay(shape, (left + noise).clip(0, 255))


def _part(canvas: Canvas) -> Map:
    """Return the map of a part of the face: around eyes, nose or mouth, or everything on one side of a line."""
    if canvas.random.random() < 0.5:
        place = np.array((0.0, canvas.random.choice([0.0, 0.6, 1.0]))) + canvas.random.normal(0, 0.15, 2)
        wide, high = (0.4 + 0.8 * canvas.cover) * canvas.unit, (0.25 + 0.5 * canvas.cover) * canvas.unit
        return canvas.fill(ellipse(canvas.at(place[None])[0], (wide, high), 0.0), 0.03)
    angle = canvas.uniform(0, 2 * np.pi)
    where = ((canvas.points - canvas.origin) @ (np.cos(angle), np.sin(angle))) / canvas.unit
    limit = float(np.quantile(where, 1 - 0.85 * canvas.cover))
    return np.asarray(np.clip((canvas.ramp(angle) - limit) * canvas.unit + 0.5, 0, 1), np.float32)
