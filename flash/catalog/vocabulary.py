"""The words of names, and how pictures draw them: the TOML files beside this one, read once at import.

A word's position decides which items bear it, so a change to those files renames what people have bought.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour of one word in OKLCH: hue in degrees, chroma, and lightness in percent."""

    word: str
    hue: int
    chroma: float
    lightness: int
    is_grey: bool


@dataclass(frozen=True, slots=True)
class Texture:
    """A pattern tile: its size in SVG units, its rotation in degrees (or a field) and the SVG on it."""

    width: int
    height: int
    spin: str
    marks: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A silhouette that stands on y = 318 around x = 200: its textured body and the SVG behind and before it."""

    body: str
    behind: str
    front: str
    shadow: int


@dataclass(frozen=True, slots=True)
class Group:
    """Words that stand for one thing, one after the other in their list, and what visitors call it: "red", "vases"."""

    name: str
    words: tuple[str, ...]


def _tables(name: str) -> list[dict[str, Any]]:
    text = resources.files("flash.catalog").joinpath(f"{name}.toml").read_text("utf-8")
    tables: list[dict[str, Any]] = tomllib.loads(text)[name]
    return tables


def _colours(table: dict[str, Any]) -> list[Colour]:
    words, greys = table["words"], table.get("lightness_by_word")
    lightness = greys or [table["lightness"]] * len(words)
    return [
        Colour(word, table["hue"], table["chroma"], percent, greys is not None)
        for word, percent in zip(words, lightness, strict=True)
    ]


def _joined(svg: str) -> str:
    """SVG without the line breaks that make it readable in the file."""
    return "".join(svg.splitlines())


def _texture(table: dict[str, Any]) -> Texture:
    return Texture(table["width"], table["height"], table["spin"], _joined(table["marks"]))


def _figure(table: dict[str, Any]) -> Figure:
    return Figure(table["body"], _joined(table.get("behind", "")), _joined(table["front"]), table["shadow"])


def _groups(name: str) -> tuple[Group, ...]:
    return tuple(Group(table["name"], tuple(table["words"])) for table in _tables(name))


# Each word has an entry, at its position, in the list of what it means.
COLOURS = tuple(colour for table in _tables("colours") for colour in _colours(table))

_MATERIALS = [(word, _texture(table)) for table in _tables("materials") for word in table["words"]]
MATERIAL_WORDS = tuple(word for word, _ in _MATERIALS)
TEXTURES = tuple(texture for _, texture in _MATERIALS)

_OBJECTS = [(word, _figure(table)) for table in _tables("objects") for word in table["words"]]
OBJECT_WORDS = tuple(word for word, _ in _OBJECTS)
FIGURES = tuple(figure for _, figure in _OBJECTS)

COLOUR_WORDS = tuple(colour.word for colour in COLOURS)

COLOUR_GROUPS = _groups("colours")
KINDS = _groups("objects")
