"""The name of an item: a number written in words.

Colour, material and object are the digits of a permuted id. So any `NAMES` consecutive ids have as many different
names, and after that the names repeat.
"""

from __future__ import annotations

from typing import NamedTuple

from flash.catalog.dice import mix
from flash.catalog.vocabulary import COLOUR_WORDS, MATERIAL_WORDS, OBJECT_WORDS

_COLOURS, _MATERIALS, _OBJECTS = len(COLOUR_WORDS), len(MATERIAL_WORDS), len(OBJECT_WORDS)

NAMES = _COLOURS * _MATERIALS * _OBJECTS
"""How many names there are; more than the 1,000,000 items that the largest sale can have."""


def name(item_id: int) -> str:
    """Three words, such as "Amber Walnut Lantern"; different for any `NAMES` consecutive ids."""
    colour, material, thing = words(item_id)
    return f"{COLOUR_WORDS[colour]} {MATERIAL_WORDS[material]} {OBJECT_WORDS[thing]}"


class Words(NamedTuple):
    """Positions in the three lists of words."""

    colour: int
    material: int
    object: int


def words(item_id: int) -> Words:
    """A bijection from `item_id % NAMES`: each round shifts every digit by an amount that the other two decide.

    Such a shift can be undone because the other two digits are unchanged. So the whole can be undone, whatever
    `mix` does.
    """
    rest, thing = divmod(item_id % NAMES, _OBJECTS)
    colour, material = divmod(rest, _MATERIALS)
    for of_colours, of_materials, of_objects in _SHIFTS:
        colour = (colour + of_colours[thing * _MATERIALS + material]) % _COLOURS
        material = (material + of_materials[colour * _OBJECTS + thing]) % _MATERIALS
        thing = (thing + of_objects[material * _COLOURS + colour]) % _OBJECTS
    return Words(colour, material, thing)


def _shifts(turn: int, words: int, highs: int, lows: int) -> bytes:
    """By how much each pair of the other two digits shifts a word. Mixing at every look would cost a receipt 5 µs."""
    return bytes(mix(high << 16 | low << 8 | turn) % words for high in range(highs) for low in range(lows))


_SHIFTS = [
    (
        _shifts(turn, _COLOURS, _OBJECTS, _MATERIALS),
        _shifts(turn, _MATERIALS, _COLOURS, _OBJECTS),
        _shifts(turn, _OBJECTS, _MATERIALS, _COLOURS),
    )
    for turn in range(3)
]
