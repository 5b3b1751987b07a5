"""The colours of one picture. Even steps of OKLCH lightness keep every hue equally readable on its background."""

from __future__ import annotations

import math

from flash.catalog.dice import Dice
from flash.catalog.vocabulary import Colour


def paints(colour: Colour, dice: Dice) -> dict[str, str]:
    """`#rrggbb` by role: the word's colour for the object, a pale one behind it and a contrasting accent."""
    lightness = colour.lightness if colour.is_grey else colour.lightness + dice.between(-4, 4)
    chroma = colour.chroma
    hue = colour.hue + dice.between(-7, 7)
    behind = hue + (25, -25, 60, -60, 180, 205)[dice.roll(6)] + dice.between(-6, 6)
    accent = hue + (150, 180, 210, 120)[dice.roll(4)]
    light = lightness / 100
    return {
        "pale": _oklch(0.965, 0.022, behind),
        "soft": _oklch(0.905, 0.045, behind + 20),
        "veil": _oklch(0.85, 0.065, behind),
        "high": _oklch(min(light + 0.12, 0.95), chroma * 0.85, hue + 8),
        "body": _oklch(light, chroma, hue),
        "deep": _oklch(light - 0.13, chroma * 0.95, hue - 8),
        "dark": _oklch(0.36, chroma * 0.55, hue - 10),
        "ink": _oklch(0.28, 0.04, behind),
        "leaf": _oklch(0.62, 0.12, dice.between(125, 165)),
        "glow": _oklch(0.94, 0.05, hue + 30),
        "fire": _oklch(0.78, 0.16, 62),
        "pop": _oklch(0.76, 0.125, accent),
    }


def plain(colour: Colour) -> str:
    """`#rrggbb` of the colour itself, without the differences between pictures."""
    return _oklch(colour.lightness / 100, colour.chroma, colour.hue)


def _oklch(lightness: float, chroma: float, hue: int) -> str:
    """`#rrggbb`; a colour that a screen cannot show is made paler until it can.

    Matrices: https://bottosson.github.io/posts/oklab/
    """
    a, b = math.cos(math.radians(hue)), math.sin(math.radians(hue))
    while True:
        red, green, blue = _linear(lightness, chroma * a, chroma * b)
        if 0 <= min(red, green, blue) <= max(red, green, blue) <= 1 or chroma < 0.004:
            return f"#{_byte(red):02x}{_byte(green):02x}{_byte(blue):02x}"
        chroma *= 0.9


def _linear(lightness: float, a: float, b: float) -> tuple[float, float, float]:
    """Linear sRGB of an OKLAB colour."""
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _byte(linear: float) -> int:
    """0 … 255, with the gamma of sRGB applied."""
    linear = min(max(linear, 0.0), 1.0)
    return round(255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055))
