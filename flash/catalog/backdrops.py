"""What stands behind the figure of a picture: one of seven compositions on a floor, its measures thrown with dice.

Each returns SVG whose {fields} are the picture's colours.
"""

from __future__ import annotations

from flash.catalog.dice import Dice

_FLOOR = (
    '<path fill="{soft}" d="M0 312Q200 296 400 312V400H0z"/>'
    '<path fill="{veil}" opacity=".5" d="M0 352q200-22 400 0v48H0z"/>'
)


def backdrop(dice: Dice) -> str:
    """One of the compositions, all equally likely."""
    return _COMPOSITIONS[dice.roll(len(_COMPOSITIONS))](dice)


def _sun(dice: Dice) -> str:
    x, y, r = dice.between(120, 280), dice.between(130, 210), dice.between(105, 145)
    return f'<circle cx="{x}" cy="{y}" r="{r}" fill="{{veil}}"/>{_FLOOR}'


def _rings(dice: Dice) -> str:
    x, y, gap = dice.between(110, 290), dice.between(120, 230), dice.between(32, 46)
    rings = "".join(f'<circle cx="{x}" cy="{y}" r="{gap * n}"/>' for n in range(1, 6))
    return f'<g fill="none" stroke="{{veil}}" stroke-width="{dice.between(8, 14)}">{rings}</g>{_FLOOR}'


def _arch(dice: Dice) -> str:
    half, top = dice.between(95, 135), dice.between(45, 80)
    x = 200 - half + dice.between(-22, 22)
    arch = f'<path fill="{{veil}}" d="M{x} 318V{top + half}a{half} {half} 0 0 1 {2 * half} 0V318z"/>'
    return f"{arch}{_FLOOR}"


def _hills(dice: Dice) -> str:
    a, b, c = dice.between(150, 240), dice.between(190, 280), dice.between(180, 270)
    sun = f'<circle cx="{dice.between(70, 330)}" cy="{dice.between(70, 110)}" r="{dice.between(26, 44)}"'
    far = f'<path fill="{{veil}}" opacity=".7" d="M0 {a}Q110 {a - 70} 220 {b}T400 {c}V400H0z"/>'
    return f'{sun} fill="{{glow}}"/>{far}{_FLOOR}'


def _tiles(dice: Dice) -> str:
    x, y, side = dice.between(50, 90), dice.between(40, 80), dice.between(190, 240)
    spin, shift = dice.between(-24, 24), dice.between(30, 60)
    tile = f'<rect x="{x}" y="{y}" width="{side}" height="{side}" rx="36" fill="{{veil}}"'
    turned = f' transform="rotate({spin} 200 200)'
    return f'{tile}{turned}"/>{tile} opacity=".55"{turned}translate({shift} {shift // 2})"/>{_FLOOR}'


def _confetti(dice: Dice) -> str:
    colours = ("{veil}", "{glow}", "{veil}", "{pop}")
    dots = []
    for n in range(15):
        x, y = 40 + 80 * (n % 5) + dice.between(-26, 26), 50 + 90 * (n // 5) + dice.between(-30, 30)
        dots.append(f'<circle cx="{x}" cy="{y}" r="{dice.between(5, 22)}" fill="{colours[n % 4]}"/>')
    return '<g opacity=".75">' + "".join(dots) + "</g>" + _FLOOR


def _rays(dice: Dice) -> str:
    x, y, first = dice.between(140, 260), dice.between(150, 230), dice.roll(30)
    ray = f"M{x} {y}l-34-420h68z"
    rays = "".join(f'<path d="{ray}" transform="rotate({first + 36 * n} {x} {y})"/>' for n in range(10))
    return f'<g fill="{{veil}}" opacity=".7">{rays}</g>{_FLOOR}'


_COMPOSITIONS = (_sun, _rings, _arch, _hills, _tiles, _confetti, _rays)
