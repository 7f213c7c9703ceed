"""What comes between a face and the camera: hands, hair, things, and blots and scraps of no kind."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from train.data.textures import textures
from train.occluders.canvas import Canvas, Map, ellipse, rounded

MOUTH, EYES = (0.0, 1.0), (0.0, 0.0)  # in the face's frame


def hand(canvas: Canvas) -> None:
    """Hold a hand before the mouth, low enough to leave most of the nose free."""
    _hand(canvas, (0.0, 1.08), 0.35 + 0.27 * canvas.cover, canvas.uniform(1.3, 1.85))


def hand_over_eyes(canvas: Canvas) -> None:
    """Hold a hand before the eyes."""
    _hand(canvas, EYES, 0.55 + 0.45 * canvas.cover, canvas.uniform(0.9, 1.9))


def hair(canvas: Canvas) -> None:
    """Let a fringe of strands hang over the brows and, with more cover, over the eyes."""
    low = -0.35 + 0.6 * canvas.cover
    columns = np.linspace(-1.5, 1.5, 25)
    ends = low + canvas.random.normal(0, 0.06, 25) + canvas.uniform(-0.08, 0.08) * columns
    fringe = np.concatenate([np.stack([columns, ends], axis=1), [[1.7, -2.5], [-1.7, -2.5]]])
    tone = canvas.uniform(5, 200)
    shape = canvas.fill(canvas.at(fringe), 0.02)
    tips = np.zeros_like(shape)
    for x in canvas.random.uniform(-1.4, 1.4, 30):
        tip = np.interp(x, columns, ends) + canvas.uniform(0, 0.2)
        strand = np.array([[x, tip - 0.6], [x + canvas.uniform(-0.05, 0.05), tip]])
        tips = np.maximum(tips, canvas.stroke(canvas.at(strand), canvas.uniform(0.02, 0.06)))
    paint = tone * (1 + 0.2 * _combed(canvas)) * canvas.light(0.4)
    canvas.lay(np.maximum(shape, tips), np.asarray(paint.clip(0, 255), np.float32))


def thing(canvas: Canvas) -> None:
    """Hold something before the face: a microphone, a cup, a telephone, a sheet."""
    place = np.array((MOUTH, EYES, (-0.5, 0.5), (0.5, 0.5))[canvas.random.integers(4)]) + canvas.random.normal(
        0, 0.2, 2
    )
    centre, size = canvas.at(place), (0.35 + 0.9 * canvas.cover) * canvas.unit
    angle = canvas.uniform(-0.5, 0.5)
    if canvas.random.random() < 0.4:  # round, on a stick
        wide = size * canvas.uniform(0.5, 0.9)
        foot = centre + np.array([canvas.uniform(-1, 1), 1.0]) * 6 * size
        canvas.lay(canvas.stroke(np.array([centre, foot]), canvas.uniform(0.1, 0.5)), canvas.uniform(0, 255))
        outline = ellipse(centre, (wide, wide * canvas.uniform(0.8, 1.3)), angle)
    else:
        half = np.array([size * canvas.uniform(0.4, 1.2), size * canvas.uniform(0.4, 1.2)])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        outline = canvas.wobble(centre + corners @ turn, 0.05)
        outline = rounded(outline, int(canvas.random.integers(0, 3)))
    canvas.lay(canvas.fill(outline, canvas.uniform(0, 0.03)), _surface(canvas, canvas.uniform(0, 255)))


def blot(canvas: Canvas) -> None:
    """Lay one to three smooth shapes of no kind over the face, some as bright as its skin."""
    for _ in range(int(canvas.random.integers(1, 4))):
        centre = canvas.at(np.array([canvas.uniform(-0.8, 0.8), canvas.uniform(-0.5, 1.5)]))
        corners = int(canvas.random.integers(4, 9))
        size = (0.2 + 0.7 * canvas.cover) * canvas.unit
        outline = ellipse(centre, (size * canvas.uniform(0.5, 1.3), size * canvas.uniform(0.4, 1.0)),
                          canvas.uniform(0, 3.2), corners)  # fmt: skip
        shape = canvas.fill(rounded(canvas.wobble(outline, 0.15)), canvas.uniform(0, 0.06))
        alike = canvas.random.random() < 0.6
        tone = canvas.skin() * canvas.uniform(0.7, 1.25) if alike else canvas.uniform(0, 255)
        canvas.lay(shape, _surface(canvas, tone))


def scrap(canvas: Canvas) -> None:
    """Lay pieces of something that has a look of its own over the face: a photo, or other places of this picture.

    They come as patches, as broad strokes, or as all that lies on one side of a line.
    """
    kind = canvas.random.integers(3)
    middle = np.array((MOUTH, EYES, (-0.5, 0.5), (0.5, 0.5), (0.0, 0.5))[canvas.random.integers(5)])
    shape = np.zeros_like(canvas.hidden)
    if kind == 0:
        for _ in range(int(canvas.random.integers(1, 3))):
            size = (0.3 + 0.7 * canvas.cover) * canvas.unit
            centre = canvas.at(middle + canvas.random.normal(0, 0.25, 2))
            outline = ellipse(centre, (size * canvas.uniform(0.5, 1.3), size * canvas.uniform(0.4, 1.1)),
                              canvas.uniform(0, 3.2), int(canvas.random.integers(4, 10)))  # fmt: skip
            outline = rounded(canvas.wobble(outline, 0.12), int(canvas.random.integers(3)))
            shape = np.maximum(shape, canvas.fill(outline, canvas.uniform(0, 0.04)))
    elif kind == 1:
        angle, wide = canvas.uniform(0, 3.2), canvas.uniform(0.08, 0.35)
        along = np.array([np.cos(angle), np.sin(angle)])
        count = 1 + int(canvas.cover * canvas.uniform(0.3, 1.2) / wide)
        for place in (np.arange(count) - (count - 1) / 2) * wide * canvas.uniform(0.9, 1.6):
            centre = canvas.at(middle) + place * canvas.unit * along[::-1] * (-1, 1)
            ends = centre + canvas.unit * np.outer([canvas.uniform(-3, -0.4), canvas.uniform(-0.3, 1.0)], along)
            shape = np.maximum(shape, canvas.stroke(canvas.wobble(ends, 0.1), wide))
    else:
        angle = canvas.uniform(0, 2 * np.pi)
        where = ((canvas.points - canvas.origin) @ (np.cos(angle), np.sin(angle))) / canvas.unit
        limit = float(np.quantile(where, 1 - 0.75 * canvas.cover))
        border = canvas.ramp(angle) - limit + canvas.uniform(0, 0.1) * canvas.grain(canvas.uniform(0.1, 0.6))
        shape = np.asarray(np.clip(border * canvas.unit + 0.5, 0, 1), np.float32)
    canvas.lay(shape, _stuff(canvas))


def _stuff(canvas: Canvas) -> Map:
    """Return the look of a photo, or of this very picture, turned, moved and stretched, in any tone or that of skin."""
    own = canvas.random.random() < 0.5
    source = canvas.picture if own else textures()[canvas.random.integers(len(textures()))].astype(np.float32)
    height, width = canvas.hidden.shape
    angle, scale = canvas.uniform(0, 2 * np.pi), float(np.exp(canvas.uniform(-1.2, 0.7)))
    centre = canvas.random.random(2) * source.shape[::-1]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    matrix = np.column_stack([turn, centre - turn @ (width / 2, height / 2)])  # from here to there
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(source, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    mean = float(found.mean())
    tone = canvas.skin() * canvas.uniform(0.75, 1.2) if canvas.random.random() < 0.5 else canvas.uniform(20, 235)
    return np.asarray((tone + canvas.uniform(0.2, 1.3) * (found - mean)).clip(0, 255), np.float32)


def _hand(canvas: Canvas, place: tuple[float, float], size: float, lean: float) -> None:
    """Draw palm, fingers and thumb in the tone of the face; the fingers lie over the place.

    size: about half a finger, in eyes' distances. lean: where the fingers point, in radians from up, to either side.
    """
    reach, angle = size * canvas.unit, canvas.random.choice([-1, 1]) * lean
    up = np.array([np.sin(angle), -np.cos(angle)])
    side = np.array([up[1], -up[0]])
    centre = canvas.at(np.array([place])).reshape(2) + canvas.random.normal(0, 0.05, 2) * canvas.unit
    wide = 0.3 * reach
    palm = centre - up * 1.55 * reach
    tone = canvas.skin() * canvas.uniform(0.75, 1.15)
    canvas.lay(canvas.fill(ellipse(palm, (1.9 * wide, 0.95 * reach), angle)), _surface(canvas, tone, 0.15))
    thumb = np.array([palm - side * 1.4 * wide, palm - side * 3 * wide + up * 0.7 * reach])
    _finger(canvas, thumb, 1.2 * wide, tone)
    spread = canvas.uniform(0.0, 0.12)
    for order in canvas.random.permutation(4):
        shift = order - 1.5
        root = palm + side * shift * 0.98 * wide + up * 0.3 * reach
        length = (2.25 - 0.15 * abs(shift - 0.3)) * reach
        tip = root + (up + side * shift * spread) * length
        _finger(canvas, np.array([root, tip]), 1.16 * wide, tone * canvas.uniform(0.95, 1.05))


def _finger(canvas: Canvas, ends: NDArray[np.float64], wide: float, tone: float) -> None:
    """Draw a round-ended stroke with darker borders."""
    share = wide / canvas.unit
    outer, inner = canvas.stroke(ends, share), canvas.stroke(ends, 0.7 * share)
    shade = 0.72 + 0.28 * canvas.softened(inner, 0.12 * share)
    canvas.lay(outer, np.asarray((tone * shade).clip(0, 255), np.float32))


def _surface(canvas: Canvas, tone: float, rough: float = 0.25) -> Map:
    """Return the look of something: a tone, lit from one side, with spots."""
    slope = canvas.uniform(-0.3, 0.3) * canvas.ramp(canvas.uniform(0, 6.3))
    spots = canvas.uniform(0, rough) * canvas.grain(canvas.uniform(0.03, 0.4))
    return np.asarray((tone * (1 + slope + spots)).clip(0, 255), np.float32)


def _combed(canvas: Canvas) -> Map:
    """Return streaks that run down the face: spots, drawn out."""
    lean = canvas.ramp(np.arctan2(canvas.across[1], canvas.across[0]) + canvas.uniform(-0.3, 0.3))
    streaks = canvas.random.standard_normal(400)
    return np.asarray(streaks[np.clip((lean + 4) * 40, 0, 399).astype(int)], np.float32)
