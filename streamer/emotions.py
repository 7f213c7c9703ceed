"""What faces can express: the emotions with the words that data sets have for them and their colours, and 'uncertain'.

Everything that names, draws or reads them does so by this module. A network may have other labels; see `colours`.
"""

from __future__ import annotations

import colorsys
from functools import lru_cache
from typing import NamedTuple

Colour = tuple[int, int, int]  # BGR

UNCERTAIN = "uncertain"  # shown in place of a label where none is likely enough
GREY: Colour = (150, 150, 150)  # of what is uncertain
HAPPINESS = "happiness"
GOLDEN = 0.618034  # share of the circle between two hues: any number of them lie far apart
FIRST_HUE, SATURATIONS, VALUES = 0.76, (0.4, 0.8), (1.0, 0.65)  # eight such are apart from the emotions' colours too


class Emotion(NamedTuple):
    """Hold the words of data sets for an emotion beside its name, and its colour."""

    words: tuple[str, ...]
    colour: Colour


KNOWN = {  # in the order of FER+; colours after Okabe & Ito: apart for colour-blind people too, bright on dark panels
    "neutral": Emotion(("neutrality",), (232, 232, 232)),
    HAPPINESS: Emotion(("happy", "joy"), (66, 228, 240)),
    "surprise": Emotion(("surprised",), (0, 159, 230)),
    "sadness": Emotion(("sad",), (240, 190, 96)),
    "anger": Emotion(("angry",), (30, 84, 232)),
    "disgust": Emotion(("disgusted",), (120, 178, 26)),
    "fear": Emotion(("fearful", "afraid"), (190, 124, 214)),
    "contempt": Emotion(("contemptuous",), (236, 110, 62)),
}
EMOTIONS = tuple(KNOWN)


@lru_cache(maxsize=64)
def colours(labels: tuple[str, ...] = EMOTIONS) -> dict[str, Colour]:
    """Return the colour of each label of a network and of 'uncertain'.

    labels: all that the network knows, in its order. Those that are no emotions get colours of their own by their place
    among themselves, so that a network's labels look the same in every picture and page.
    """
    others = [label for label in labels if label not in KNOWN and label != UNCERTAIN]
    known = {label: KNOWN[label].colour for label in labels if label in KNOWN}
    return known | {label: _other(number) for number, label in enumerate(others)} | {UNCERTAIN: GREY}


def _other(number: int) -> Colour:
    hue, saturation = (FIRST_HUE + number * GOLDEN) % 1, SATURATIONS[number % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, VALUES[number // 2 % 2])
    return round(255 * blue), round(255 * green), round(255 * red)
