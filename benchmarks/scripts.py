"""What happens in composed scenes: who walks where, what is held before faces, where the camera looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from acting import Actor, Camera, Cover, Film, Matte, Path2D, Person, Picture, Scene
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from streamer.sources import unique_names

SIZE = (640, 360)
LARGE = (1280, 720)
WORDS = ("BREAKING NEWS", "Results of the third quarter", "LIVE", "22:08", "Good morning, everybody", "SUBSCRIBE 800")


@dataclass(frozen=True)
class Cast:
    """Hold who can act, people who move and photos of bare and masked faces, and the grounds that they act before."""

    moving: Sequence[Person]
    bare: Sequence[Person]
    masked: Sequence[Person]
    grounds: Sequence[Picture]

    def ground(self, random: np.random.Generator, size: tuple[int, int] = SIZE) -> Picture:
        picture = self.grounds[int(random.integers(len(self.grounds)))]
        return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def some(people: Sequence[Person], count: int, random: np.random.Generator) -> list[Person]:
    return [people[at] for at in random.permutation(len(people))[:count]]


def act(
    people: Sequence[Person], sides: Sequence[float], paths: Sequence[Path2D], random: np.random.Generator
) -> list[Actor]:
    """Give everybody a path; nobody acts twice under one name."""
    names = unique_names(person.name for person in people)
    return [
        Actor(person, side, path, name, int(random.integers(0, 200)), 0.0 if len(person.pictures) > 1 else 4.0)
        for person, side, path, name in zip(people, sides, paths, names, strict=True)
    ]


def swaying(x: float, y: float, reach: float = 4.0, phase: float = 0.0) -> Path2D:
    return lambda time: (x + reach * np.sin(1.7 * time + phase), y + 0.5 * reach * np.sin(2.3 * time + 2 * phase))


def there_and_back(start: float, end: float, y: float, begins: float, takes: float, rests: float) -> Path2D:
    """Stay at `start`, go to `end` from second `begins` on, rest there, and come back as fast."""

    def path(time: float) -> tuple[float, float]:
        share = np.clip(min(time - begins, begins + 2 * takes + rests - time) / takes, 0, 1)
        eased = (1 - np.cos(np.pi * share)) / 2
        return float(start + (end - start) * eased), y + 3 * np.sin(2 * time)

    return path


def crossing(cast: Cast, random: np.random.Generator) -> Scene:
    """Two people walk past each other, there and back; a third stands behind."""
    side, speed = float(random.uniform(70, 110)), float(random.uniform(90, 220))
    span = 640 - 2 * side

    def walk(start: float, y: float) -> Path2D:
        return lambda time: (
            side + span * (2 / np.pi * np.arcsin(np.sin(np.pi * speed * time / span + start)) / 2 + 0.5),
            y,
        )

    low = float(random.uniform(150, 200))
    paths = [swaying(320, low - 40), walk(-np.pi / 2, low), walk(np.pi / 2, low + float(random.uniform(-25, 25)))]
    sides = [0.7 * side, side, side * float(random.uniform(0.85, 1.2))]
    return Scene(8, cast.ground(random), act(some(cast.moving, 3, random), sides, paths, random))


def pillar(left: int, wide: int, random: np.random.Generator) -> Cover:
    colour = random.integers(40, 200, 3)

    def paint(picture: Picture, time: float) -> Matte:
        matte = np.zeros(picture.shape[:2], np.float32)
        matte[:, left : left + wide] = 1
        shade = 0.75 + 0.25 * np.cos(np.linspace(-1.5, 1.5, wide))
        picture[:, left : left + wide] = (colour * shade[None, :, None]).astype(np.uint8)
        return matte

    return paint


def exits(cast: Cast, random: np.random.Generator) -> Scene:
    """One leaves over the edge and comes back within 0.8 s, one passes behind a pillar, one is away for 2 s."""
    side = float(random.uniform(70, 100))
    y = float(random.uniform(130, 190))
    # From the edge inwards a face is half out at x = 0; it takes `takes` to go 1.6 sides beyond and back.
    quick = there_and_back(1.1 * side, -0.75 * side, y, 1.5, 0.6, float(random.uniform(0.05, 0.3)))
    long = there_and_back(640 - 1.2 * side, 640 + 1.2 * side, y, 2.0, 0.8, 2.0)
    post = int(random.integers(290, 330))
    behind = there_and_back(post - 1.2 * side, post + 1.2 * side + 60, y - 20, 1.0, 1.5, 1.5)
    people = some(cast.moving, 3, random)
    actors = act(people, [side, side, 0.8 * side], [quick, long, behind], random)
    return Scene(8, cast.ground(random), actors, [pillar(post, int(0.9 * side), random)])


def hand(at: Path2D, side: float, random: np.random.Generator) -> Cover:
    """Hold up a hand with a forearm, of a face's length, whose palm is at a place."""
    skin = np.array([110, 140, 190]) * random.uniform(0.6, 1.15)
    lean = float(random.uniform(-0.4, 0.4))

    def paint(picture: Picture, time: float) -> Matte:
        matte = np.zeros(picture.shape[:2], np.float32)
        if (palm := at(time)) is None or palm[1] > picture.shape[0] + side:
            return matte
        left, right = max(0, round(palm[0] - 2.2 * side)), min(picture.shape[1], round(palm[0] + 2.2 * side))
        part = picture[:, left:right]
        drawn = _drawn_hand(part.shape[:2], np.array(palm) - (left, 0), side, lean)
        own = cv2.GaussianBlur(drawn, (0, 0), 1.0)
        shade = 0.7 + 0.3 * cv2.GaussianBlur(drawn, (0, 0), 0.05 * side)
        part[:] = (part + (skin * shade[..., None] - part) * own[..., None]).clip(0, 255).astype(np.uint8)
        matte[:, left:right] = own
        return matte

    return paint


def _drawn_hand(shape: tuple[int, ...], palm: NDArray[np.float64], side: float, lean: float) -> Matte:
    """Return the opacity of four fingers, thumb, palm and forearm."""
    drawn = np.zeros(shape, np.float32)
    along = np.array([np.sin(lean), -np.cos(lean)])
    aside = np.array([along[1], -along[0]])

    def limb(start: NDArray[np.float64], end: NDArray[np.float64], thick: float) -> None:
        ends = [tuple((palm + side * point).round().astype(int).tolist()) for point in (start, end)]
        cv2.line(drawn, *ends, 1.0, max(1, round(thick * side)), cv2.LINE_AA)

    for finger in (-1.5, -0.5, 0.5, 1.5):
        root = aside * finger * 0.2 + along * 0.2
        limb(root, root + (along + aside * finger * 0.12) * (0.62 - 0.08 * abs(finger)), 0.17)
    limb(-aside * 0.25, -aside * 0.55 + along * 0.25, 0.18)
    limb(-along * 0.1, along * 0.25, 0.8)
    limb(-along * 0.3, -along * 3 + aside * 0.4, 0.5)
    return drawn


def hands(cast: Cast, random: np.random.Generator) -> Scene:
    """Before one face a hand hides everything for up to 0.7 s, twice; before another, the lower half for long."""
    side = float(random.uniform(80, 120))
    y = float(random.uniform(130, 170))
    wipes = float(random.uniform(0.2, 0.5))
    quick = [there_and_back(y + 2.5 * side, y + 0.1 * side, 0, begins, 0.35, wipes) for begins in (1.5, 4.5)]
    slow = there_and_back(y + 2.5 * side, y + 0.75 * side, 0, 2.0, 0.6, 3.0)

    def upright(path: Path2D, x: float) -> Path2D:
        return lambda time: (x + 5 * np.sin(3 * time), path(time)[0])  # type: ignore[index]

    covers = [hand(upright(path, 190), side, random) for path in quick] + [hand(upright(slow, 450), side, random)]
    people = some(cast.moving, 2, random)
    paths = [swaying(190, y), swaying(450, y, phase=1.0)]
    return Scene(8, cast.ground(random), act(people, [side, side], paths, random), covers)


def shot(cast: Cast, random: np.random.Generator, seconds: float) -> Scene:
    """One to three people who stand about, the first where others of other shots stand too."""
    count = int(random.integers(1, 4))
    side = float(random.uniform(80, 120))
    places = [320 + float(random.uniform(-15, 15)), 130.0, 510.0][:count]
    paths = [swaying(x, 150 + float(random.uniform(-15, 15)), 6, float(random.uniform(0, 6))) for x in places]
    return Scene(seconds, cast.ground(random), act(some(cast.moving, count, random), [side] * count, paths, random))


def cuts(cast: Cast, random: np.random.Generator) -> Film:
    return Film([shot(cast, random, float(random.uniform(1, 2.4))) for _ in range(6)])


def dissolves(cast: Cast, random: np.random.Generator, black: bool = False) -> Film:
    """Shots that blend into each other for 0.4 to 2 s."""
    blend = int(random.integers(10, 51))
    return Film([shot(cast, random, blend / 12.5 + float(random.uniform(1.2, 2.4))) for _ in range(4)], blend, black)


def seen_by(camera: Camera, cast: Cast, random: np.random.Generator) -> Scene:
    """Four people in a wide place, of which the camera sees a part."""
    side = float(random.uniform(70, 100))
    paths = [swaying(160 + 310 * n, 160 + float(random.uniform(-20, 30)), 5, n) for n in range(4)]
    actors = act(some(cast.moving, 4, random), [side] * 4, paths, random)
    return Scene(8, cast.ground(random, (1280, 400)), actors, camera=camera)


def pan(cast: Cast, random: np.random.Generator) -> Scene:
    """Look along the place and back, at up to one width in 1.6 s, as by hand."""
    speed, shake = float(random.uniform(0.6, 1.2)), random.normal(0, 1.5, (400, 2))

    def camera(time: float) -> tuple[float, float, float]:
        dx, dy = shake[round(time * 25)]
        return 320 - 300 * np.cos(speed * time) + dx, 20 + 10 * np.sin(2 * time) + dy, 1.0

    return seen_by(camera, cast, random)


def zoom(cast: Cast, random: np.random.Generator) -> Scene:
    """Go near two faces and away from them."""

    def camera(time: float) -> tuple[float, float, float]:
        scale = 1.35 + 0.35 * np.sin(1.5 * time)
        return 470 - 320 / scale, 190 - 180 / scale, scale

    return seen_by(camera, cast, random)


def words(text: str, x: Callable[[float], float], y: int, size: int, bar: bool, random: np.random.Generator) -> Cover:
    """Write a line over the picture, on a bar or without; x: its left edge at a time."""
    font = ImageFont.load_default(size)
    wide = int(font.getlength(text)) + 20
    mask = Image.new("L", (wide, size + 16), 0)
    ImageDraw.Draw(mask).text((10, 4), text, fill=255, font=font)
    letters = np.asarray(mask, np.float32)[..., None] / 255
    colour, ink = random.integers(0, 256, 3), np.array([255, 255, 255]) if random.random() < 0.7 else np.zeros(3)
    sign = letters * ink + (1 - letters) * colour
    opaque = np.full_like(letters, 0.85) if bar else letters

    def paint(picture: Picture, time: float) -> Matte:
        matte = np.zeros(picture.shape[:2], np.float32)
        left = round(x(time))
        first, last = max(left, 0), min(left + wide, picture.shape[1])
        if last > first:
            rows, own = slice(y, min(y + size + 16, picture.shape[0])), slice(first - left, last - left)
            high = rows.stop - y
            share = opaque[:high, own]
            picture[rows, first:last] = (picture[rows, first:last] * (1 - share) + sign[:high, own] * share).astype(
                np.uint8
            )
            matte[rows, first:last] = share[..., 0]
        return matte

    return paint


def text(cast: Cast, random: np.random.Generator) -> Scene:
    """Lower thirds, a ticker, and a title that runs over the faces."""
    lines = [WORDS[at] for at in random.permutation(len(WORDS))]
    side = float(random.uniform(80, 110))
    covers = [
        words(lines[0], lambda time: 30, 285, 30, True, random),
        words("   ".join(WORDS), lambda time: 640 - 140 * time, 335, 18, True, random),
        words(lines[1], lambda time: 700 - 160 * time, 110, int(random.integers(24, 60)), False, random),
        words(lines[2], lambda time: 420 if 3 < time < 5 else 2000, 20, 40, True, random),
    ]
    paths = [swaying(200, 150), swaying(440, 160, phase=2)]
    return Scene(8, cast.ground(random), act(some(cast.moving, 2, random), [side, side], paths, random), covers)


def fifty(cast: Cast, random: np.random.Generator) -> Scene:
    """Fifty people in rows, who sway; some walk along before them."""
    people = [*some(cast.bare, 38, random), *some(cast.masked, 8, random), *some(cast.moving, 4, random)]
    places = [(70 + 126 * (n % 10), 80 + 140 * (n // 10)) for n in range(50)]
    order = random.permutation(50)
    paths = [swaying(*places[at], 8, float(random.uniform(0, 6))) for at in order]
    actors = act(people[:50], [float(random.uniform(46, 60)) for _ in people[:50]], paths[: len(people)], random)
    return Scene(4, cast.ground(random, LARGE), actors, view=LARGE)


def masks(cast: Cast, random: np.random.Generator) -> Scene:
    """Four people with masks of all colours, two of whom walk past each other."""
    side = float(random.uniform(70, 100))
    walk = [there_and_back(120, 420, 150, 1, 2.2, 0.5), there_and_back(430, 130, 165, 1.2, 2.0, 0.6)]
    paths = [*walk, swaying(560, 120, 6), swaying(280, 90, 6, 2)]
    actors = act(some(cast.masked, 4, random), [side, side, 0.9 * side, 0.7 * side], paths, random)
    return Scene(8, cast.ground(random), [actors[3], actors[2], *actors[:2]])


SCRIPTS: Mapping[str, Callable[[Cast, np.random.Generator], Scene | Film]] = {
    "crossings": crossing,
    "exits and returns": exits,
    "hands": hands,
    "cuts": cuts,
    "dissolves": dissolves,
    "dissolves through black": partial(dissolves, black=True),
    "pans": pan,
    "zooms": zoom,
    "text": text,
    "fifty faces": fifty,
    "masks in colour": masks,
}


def played(cast: Cast, kind: str, count: int, seed: int) -> Iterator[Scene | Film]:
    """Yield scenes of a kind, other ones for every seed."""
    for number in range(count):
        yield SCRIPTS[kind](cast, np.random.default_rng([seed, number]))
