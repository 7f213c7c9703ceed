"""Make sample.mp4: two faces that move, one of them behind a mask for two seconds.

Everything is drawn from the NASA portrait of astronaut Eileen Collins (public domain) in scikit-image's wheel. The
frames are the same on every run; the bytes of the file depend on OpenCV's encoder.

    python docs/sample/make_sample.py [FILE]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut

Picture = NDArray[np.float32]  # 0-255, BGR where it has three channels; covers are 0-1
Points = tuple[tuple[int, int], ...]  # x, y

WIDTH, HEIGHT, FPS, COUNT = 640, 480, 25, 175
MASKED = (2.6, 4.9)  # seconds: pulled up, taken off
PULL = 0.4  # seconds that pulling the mask up or down takes

# Points of the portrait, 512x512 pixels.
FACE = (222.0, 122.0)  # what the paths move: the middle of the face
FIGURE = (
    *((154, 70), (160, 54), (174, 42), (188, 36), (196, 27), (210, 19), (230, 15), (250, 20), (268, 28), (282, 38)),
    *((294, 54), (300, 74), (300, 94), (294, 112), (284, 124), (276, 134), (268, 137), (263, 150), (258, 164)),
    *((257, 174), (272, 180), (286, 194), (298, 212), (304, 232), (320, 240), (336, 254), (346, 272), (354, 296)),
    *((362, 330), (364, 348), (390, 344), (420, 347), (446, 358), (468, 376), (482, 398), (492, 428), (496, 460)),
    *((500, 512), (110, 512), (60, 512), (30, 480), (22, 440), (20, 410), (26, 370), (34, 322), (42, 284), (56, 256)),
    *((74, 236), (96, 218), (112, 208), (113, 192), (124, 180), (134, 164), (148, 154), (170, 148), (186, 149)),
    *((184, 134), (178, 132), (172, 121), (164, 112), (156, 100), (153, 86)),
)
MASK: Points = (
    *((181, 121), (200, 117), (213, 110), (222, 107), (232, 110), (245, 119), (266, 124), (262, 150), (250, 172)),
    *((236, 184), (221, 187), (206, 181), (192, 165), (184, 146)),
)
PLEATS = (
    ((184, 134), (222, 133), (265, 137)),
    ((186, 147), (222, 148), (263, 150)),
    ((190, 160), (222, 164), (258, 162)),
)


def frames(indices: Iterable[int] = range(COUNT)) -> Iterator[NDArray[np.uint8]]:
    """Yield the clip's frames of these numbers, (480, 640, 3) uint8 BGR."""
    portrait = np.asarray(astronaut()[..., ::-1], np.float32)  # type: ignore[no-untyped-call]
    figure, orange = filled(FIGURE, blur=1.6), soften(portrait)
    mirrored, blue = figure[:, ::-1].copy(), soften(blue_suit(portrait))[:, ::-1].copy()
    mask, scene = surgical_mask(), background()
    for index in indices:
        time = index / FPS
        picture = paste(scene, blue, mirrored, right_path(time), (511 - FACE[0], FACE[1]))
        picture = paste(picture, wear(orange, *mask, *mask_state(time)), figure, left_path(time), FACE)
        yield np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def left_path(time: float) -> tuple[float, float, float, float]:
    """Return x, y of the face's middle, its angle in degrees and its scale."""
    turn = 2 * np.pi * time / 7
    return 178 + 26 * np.sin(turn), 196 + 12 * np.sin(2 * turn), 5 * np.sin(turn + 1), 1.36 + 0.10 * np.cos(turn)


def right_path(time: float) -> tuple[float, float, float, float]:
    """Return the same for the face on the right."""
    turn = 2 * np.pi * time / 7
    return 462 + 28 * np.cos(turn), 184 + 14 * np.sin(turn + 2), 6 * np.cos(2 * turn), 1.26 - 0.09 * np.cos(turn)


def mask_state(time: float) -> tuple[float, float]:
    """Return how far the mask hangs below its place, in portrait pixels, and how visible it is, 0-1."""
    up = np.clip(min(time - MASKED[0], MASKED[1] - time) / PULL, 0, 1)
    eased = up * up * (3 - 2 * up)
    return 62 * (1 - eased), min(1.0, 2 * eased)


def wear(portrait: Picture, colour: Picture, cover: Picture, drop: float, visible: float) -> Picture:
    """Return the portrait with the mask on."""
    if not visible:
        return portrait
    shift = np.array([[1, 0, 0], [0, 1, drop]], np.float32)
    alpha = visible * cv2.warpAffine(cover, shift, (512, 512))[..., None]
    return float32(portrait * (1 - alpha) + cv2.warpAffine(colour, shift, (512, 512)) * alpha)


def paste(
    below: Picture,
    picture: Picture,
    cover: Picture,
    place: tuple[float, float, float, float],
    middle: tuple[float, float],
) -> Picture:
    """Put a 512x512 picture over (480, 640, 3): turned and scaled about its `middle`, which goes to `place`."""
    x, y, angle, scale = place
    matrix = cv2.getRotationMatrix2D(middle, angle, scale) + np.array([[0, 0, x - middle[0]], [0, 0, y - middle[1]]])
    moved = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(cover, matrix, (WIDTH, HEIGHT))[..., None]
    return float32(below * (1 - alpha) + moved * alpha)


def filled(points: Points, blur: float) -> Picture:
    """Return the (512, 512) cover, 0-1, of a smooth closed curve through the points, with soft edges."""
    cover = np.zeros((512, 512), np.float32)
    curve = smooth(np.array(points, np.float64))
    cv2.fillPoly(cover, [np.rint(curve * 16).astype(np.int32)], (1.0,), cv2.LINE_8, 4)
    return float32(cv2.GaussianBlur(cover, (0, 0), blur))


def smooth(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a closed Catmull-Rom curve through the points, 8 steps between two."""
    before, after, next_but_one = np.roll(points, 1, 0), np.roll(points, -1, 0), np.roll(points, -2, 0)
    t = np.linspace(0, 1, 8, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None] for p in (before, points, after, next_but_one))
    curve = 2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    return (curve / 2).reshape(-1, 2)


def surgical_mask() -> tuple[Picture, Picture]:
    """Return a light blue mask with pleats, (512, 512, 3) BGR, and its cover, (512, 512)."""
    across = np.linspace(-1, 1, 86)[None, :] ** 2  # darker towards the cheeks
    shade = np.ones((512, 512), np.float32)
    shade[:, 181:267] = 1 - 0.16 * across
    for pleat in PLEATS:
        line = np.zeros((512, 512), np.float32)
        cv2.polylines(line, [np.array(pleat, np.int32) * 16], False, 1.0, 2, cv2.LINE_AA, 4)
        shade -= 0.16 * cv2.GaussianBlur(line, (0, 0), 1.0)
    colour = shade[..., None] * np.array([222, 205, 168], np.float32)
    return float32(colour), filled(MASK, blur=0.9)


def soften(portrait: Picture) -> Picture:
    """Return the portrait with less grain in the head and a body out of focus: the encoder pays for every detail."""
    body = np.clip((np.arange(512, dtype=np.float32)[:, None, None] - 176) / 24, 0, 1)
    return float32(
        (1 - body) * cv2.GaussianBlur(portrait, (0, 0), 0.55) + body * cv2.GaussianBlur(portrait, (0, 0), 1.7)
    )


def blue_suit(portrait: Picture) -> Picture:
    """Return the portrait with a blue suit and in a cooler light."""
    hsv = cv2.cvtColor(portrait / 255, cv2.COLOR_BGR2HSV)
    rows = np.arange(512)[:, None]
    suit = (rows > 195) & (hsv[..., 1] > 0.45) & ((hsv[..., 0] < 30) | (hsv[..., 0] > 345))
    hsv[..., 0] = np.where(suit, (hsv[..., 0] + 200) % 360, hsv[..., 0])
    hsv[..., 1] = np.where(suit, 0.72 * hsv[..., 1], hsv[..., 1])
    hsv[..., 2] = np.where(suit, 0.80 * hsv[..., 2], hsv[..., 2])
    toned = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * 255
    return float32(toned * np.array([1.04, 0.98, 0.93]))


def background() -> Picture:
    """Return a calm gradient with soft discs of light, (480, 640, 3) BGR."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    down = (y / HEIGHT)[..., None]
    scene = (1 - down) * np.array([224, 214, 200], np.float32) + down * np.array([196, 172, 148], np.float32)
    for cx, cy, radius, gain in ((90, 70, 80, 14), (330, 40, 110, 12), (560, 120, 70, 14), (320, 330, 90, 10)):
        disc = np.clip((radius - np.hypot(x - cx, y - cy)) / 14, 0, 1)
        scene += gain * disc[..., None]
    return float32(scene)


def float32(values: object) -> Picture:
    """Return an array as float32."""
    return np.asarray(values, np.float32)


def write(path: Path) -> None:
    """Encode the clip."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise OSError(f"{path}: cannot write the sample")
    for frame in frames():
        writer.write(frame)
    writer.release()


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("sample.mp4"))
