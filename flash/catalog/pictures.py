"""The picture of an item: it shows what the name says; the rest of its composition is drawn from the whole id."""

from __future__ import annotations

from flash.catalog.backdrops import backdrop
from flash.catalog.dice import Dice
from flash.catalog.names import name, words
from flash.catalog.paints import paints
from flash.catalog.vocabulary import COLOURS, FIGURES, TEXTURES, Texture


def image_svg(item_id: int) -> bytes:
    """A square, self-contained SVG of 1-3 KB. Its ids end in the item's, so a page may inline many."""
    word = words(item_id)
    dice = Dice(item_id)
    # The order of these throws is part of the picture: clients have cached it.
    paint = paints(COLOURS[word.colour], dice)
    scene = backdrop(dice)
    figure = FIGURES[word.object]
    turn = dice.roll(7) - 3
    slots = {"n": item_id, "spin": dice.roll(360), **paint}
    texture = _pattern(TEXTURES[word.material]).format(size=dice.between(80, 140) / 100, **slots)
    flip = "matrix(-1 0 0 1 400 0)" if dice.roll(2) else ""
    return "".join(
        (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" role="img">',
            f"<title>{name(item_id)}</title>",
            _GRADIENTS.format(texture=texture, **slots),
            f'<path fill="url(#g{item_id})" d="M0 0h400v400H0z"/>',
            scene.format(**slots),
            f'<ellipse cx="200" cy="322" rx="{figure.shadow}" ry="11" fill="{paint["ink"]}" opacity=".16"/>',
            f'<g transform="{flip}rotate({turn} 200 318)" stroke-linecap="round" fill="none">',
            figure.behind.format(**slots),
            f'<path fill="url(#b{item_id})" d="{figure.body}"/>',
            f'<path fill="url(#t{item_id})" d="{figure.body}"/>',
            figure.front.format(**slots),
            "</g></svg>",
        )
    ).encode()


_GRADIENTS = (
    '<defs><linearGradient id="g{n}" gradientTransform="rotate({spin} .5 .5)"><stop stop-color="{pale}"/>'
    '<stop offset="1" stop-color="{soft}"/></linearGradient>'
    '<linearGradient id="b{n}" x1="0" y1="0" x2="1" y2=".7">'
    '<stop stop-color="{high}"/><stop offset=".5" stop-color="{body}"/><stop offset="1" stop-color="{deep}"/>'
    "</linearGradient>{texture}</defs>"
)


def _pattern(texture: Texture) -> str:
    return (
        f'<pattern id="t{{n}}" width="{texture.width}" height="{texture.height}" patternUnits="userSpaceOnUse"'
        f' patternTransform="rotate({texture.spin})scale({{size}})">{texture.marks}</pattern>'
    )
