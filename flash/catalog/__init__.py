"""What an item is called and what it looks like, made from nothing but its id.

A name is a number written in words: colour, material and object are the digits of a permuted id, so any
`NAMES` ids in a row have as many different names, and after that the names come round again. The picture
shows what the name says, the rest of its composition is drawn from the whole id. Nothing here may depend
on luck, time, `hash()` or the platform: both are cached by clients as immutable.
"""

from __future__ import annotations

import math
from typing import NamedTuple


def name(item_id: int) -> str:
    """Three words, such as "Amber Walnut Lantern"; different for any `NAMES` consecutive ids."""
    word = _words(item_id)
    return f"{COLOURS[word.colour]} {MATERIALS[word.material]} {OBJECTS[word.object]}"


def image_path(item_id: int) -> str:
    """Where the service shows the picture."""
    return f"/items/{item_id}/image.svg"


def image_svg(item_id: int) -> bytes:
    """A square SVG of 1-3 KB that needs nothing else; its ids end in the item's, so pages may inline many."""
    word = _words(item_id)
    dice = _Dice(item_id)
    paint = _paints(word.colour, dice)
    backdrop = _BACKDROPS[dice.roll(len(_BACKDROPS))](dice)
    figure = _FIGURES[word.object // 2]
    turn = dice.roll(7) - 3
    slots = {"n": item_id, "spin": dice.roll(360), **paint}
    texture = _TEXTURES[word.material // 24].format(size=dice.between(80, 140) / 100, **slots)
    flip = "matrix(-1 0 0 1 400 0)" if dice.roll(2) else ""
    return "".join(
        (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" role="img">',
            f"<title>{name(item_id)}</title>",
            _GRADIENTS.format(texture=texture, **slots),
            f'<path fill="url(#g{item_id})" d="M0 0h400v400H0z"/>',
            backdrop.format(**slots),
            f'<ellipse cx="200" cy="322" rx="{figure.shadow}" ry="11" fill="{paint["ink"]}" opacity=".16"/>',
            f'<g transform="{flip}rotate({turn} 200 318)" stroke-linecap="round" fill="none">',
            figure.behind.format(**slots),
            f'<path fill="url(#b{item_id})" d="{figure.body}"/>',
            f'<path fill="url(#t{item_id})" d="{figure.body}"/>',
            figure.front.format(**slots),
            "</g></svg>",
        )
    ).encode()


class _Words(NamedTuple):
    """Positions in the three lists."""

    colour: int
    material: int
    object: int


def _words(item_id: int) -> _Words:
    """A bijection from `item_id % NAMES`: each round turns one digit by an amount the other two decide.

    Such a round can be undone (the other two digits are still there), so the whole can, whatever `_mix` does.
    """
    rest, thing = divmod(item_id % NAMES, len(OBJECTS))
    colour, material = divmod(rest, len(MATERIALS))
    for turn in range(3):
        colour = (colour + _mix(thing << 16 | material << 8 | turn)) % len(COLOURS)
        material = (material + _mix(colour << 16 | thing << 8 | turn)) % len(MATERIALS)
        thing = (thing + _mix(material << 16 | colour << 8 | turn)) % len(OBJECTS)
    return _Words(colour, material, thing)


def _mix(number: int) -> int:
    """64 bits that look unrelated to those of `number` (the finalizer of splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & _MASK
    return number ^ number >> 31


_MASK = 2**64 - 1


class _Dice:
    """Throws that the id alone decides."""

    def __init__(self, item_id: int) -> None:
        self._state = _mix(item_id)

    def roll(self, sides: int) -> int:
        """0 … `sides - 1`."""
        self._state = _mix(self._state)
        return self._state % sides

    def between(self, low: int, high: int) -> int:
        """`low` … `high`, both included."""
        return low + self.roll(high - low + 1)


def _paints(colour: int, dice: _Dice) -> dict[str, str]:
    """The colours of one picture: the word's for the object, a pale one behind, a contrasting one as accent.

    Even steps of OKLCH lightness keep every hue equally readable against its background.
    """
    hue, chroma, lightness = _HUES[colour // 10]
    lightness = _GREYS[colour % 10] if chroma < 0.05 else lightness + dice.between(-4, 4)
    hue += dice.between(-7, 7)
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
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


def _byte(linear: float) -> int:
    linear = min(max(linear, 0.0), 1.0)
    return round(255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055))


def _sun(dice: _Dice) -> str:
    x, y, r = dice.between(120, 280), dice.between(130, 210), dice.between(105, 145)
    return f'<circle cx="{x}" cy="{y}" r="{r}" fill="{{veil}}"/>{_FLOOR}'


def _rings(dice: _Dice) -> str:
    x, y, gap = dice.between(110, 290), dice.between(120, 230), dice.between(32, 46)
    rings = "".join(f'<circle cx="{x}" cy="{y}" r="{gap * n}"/>' for n in range(1, 6))
    return f'<g fill="none" stroke="{{veil}}" stroke-width="{dice.between(8, 14)}">{rings}</g>{_FLOOR}'


def _arch(dice: _Dice) -> str:
    half, top = dice.between(95, 135), dice.between(45, 80)
    x = 200 - half + dice.between(-22, 22)
    arch = f'<path fill="{{veil}}" d="M{x} 318V{top + half}a{half} {half} 0 0 1 {2 * half} 0V318z"/>'
    return f"{arch}{_FLOOR}"


def _hills(dice: _Dice) -> str:
    a, b, c = dice.between(150, 240), dice.between(190, 280), dice.between(180, 270)
    sun = f'<circle cx="{dice.between(70, 330)}" cy="{dice.between(70, 110)}" r="{dice.between(26, 44)}"'
    far = f'<path fill="{{veil}}" opacity=".7" d="M0 {a}Q110 {a - 70} 220 {b}T400 {c}V400H0z"/>'
    return f'{sun} fill="{{glow}}"/>{far}{_FLOOR}'


def _tiles(dice: _Dice) -> str:
    x, y, side = dice.between(50, 90), dice.between(40, 80), dice.between(190, 240)
    spin, shift = dice.between(-24, 24), dice.between(30, 60)
    tile = f'<rect x="{x}" y="{y}" width="{side}" height="{side}" rx="36" fill="{{veil}}"'
    turned = f' transform="rotate({spin} 200 200)'
    return f'{tile}{turned}"/>{tile} opacity=".55"{turned}translate({shift} {shift // 2})"/>{_FLOOR}'


def _confetti(dice: _Dice) -> str:
    colours = ("{veil}", "{glow}", "{veil}", "{pop}")
    dots = []
    for n in range(15):
        x, y = 40 + 80 * (n % 5) + dice.between(-26, 26), 50 + 90 * (n // 5) + dice.between(-30, 30)
        dots.append(f'<circle cx="{x}" cy="{y}" r="{dice.between(5, 22)}" fill="{colours[n % 4]}"/>')
    return '<g opacity=".75">' + "".join(dots) + "</g>" + _FLOOR


def _rays(dice: _Dice) -> str:
    x, y, first = dice.between(140, 260), dice.between(150, 230), dice.roll(30)
    ray = f"M{x} {y}l-34-420h68z"
    rays = "".join(f'<path d="{ray}" transform="rotate({first + 36 * n} {x} {y})"/>' for n in range(10))
    return f'<g fill="{{veil}}" opacity=".7">{rays}</g>{_FLOOR}'


_FLOOR = (
    '<path fill="{soft}" d="M0 312Q200 296 400 312V400H0z"/>'
    '<path fill="{veil}" opacity=".5" d="M0 352q200-22 400 0v48H0z"/>'
)
_BACKDROPS = (_sun, _rings, _arch, _hills, _tiles, _confetti, _rays)

_GRADIENTS = (
    '<defs><linearGradient id="g{n}" gradientTransform="rotate({spin} .5 .5)"><stop stop-color="{pale}"/>'
    '<stop offset="1" stop-color="{soft}"/></linearGradient>'
    '<linearGradient id="b{n}" x1="0" y1="0" x2="1" y2=".7">'
    '<stop stop-color="{high}"/><stop offset=".5" stop-color="{body}"/><stop offset="1" stop-color="{deep}"/>'
    "</linearGradient>{texture}</defs>"
)


def _texture(width: int, height: int, spin: str, marks: str) -> str:
    return (
        f'<pattern id="t{{n}}" width="{width}" height="{height}" patternUnits="userSpaceOnUse"'
        f' patternTransform="rotate({spin})scale({{size}})">{marks}</pattern>'
    )


_TEXTURES = (  # one for each 24 of MATERIALS
    _texture(
        90,
        24,
        "-4",
        '<path d="M0 5q22 6 45 0t45 0M0 15q22-5 45 0t45 0" stroke="{dark}" stroke-width="1.6" fill="none" '
        'opacity=".3"/>'
        '<ellipse cx="45" cy="10" rx="9" ry="2.5" fill="{dark}" opacity=".18"/>',
    ),
    _texture(
        34,
        34,
        "{spin}",
        '<g opacity=".4"><circle cx="6" cy="8" r="2.4" fill="{glow}"/>'
        '<circle cx="22" cy="5" r="1.5" fill="{dark}"/>'
        '<circle cx="15" cy="20" r="1.8" fill="{dark}"/><circle cx="29" cy="25" r="2.8" fill="{glow}"/>'
        '<circle cx="5" cy="29" r="1.3" fill="{dark}"/></g>',
    ),
    _texture(
        110,
        110,
        "24",
        '<path d="M14 0h20v110H14zM42 0h6v110h-6z" fill="#fff" opacity=".3"/>'
        '<path d="M70 0h26v110H70z" fill="{dark}" opacity=".14"/>',
    ),
    _texture(
        12,
        12,
        "45",
        '<path d="M0 3h12M3 0v12" stroke="{dark}" stroke-width="1.5" opacity=".26"/>'
        '<path d="M0 9h12M9 0v12" stroke="#fff" stroke-width="1.5" opacity=".24"/>',
    ),
    _texture(
        64,
        400,
        "12",
        '<path d="M0 0h9v400H0zM22 0h24v400H22z" fill="#fff" opacity=".2"/>'
        '<path d="M50 0h3v400h-3z" fill="#fff" opacity=".45"/>',
    ),
    _texture(
        36,
        36,
        "{spin}",
        '<path d="M0 18L18 0 36 18 18 36z" fill="{dark}" opacity=".15"/>'
        '<circle cx="18" cy="18" r="4.5" fill="{pop}"'
        ' opacity=".75"/>',
    ),
)


class _Figure(NamedTuple):
    """A silhouette that stands on y = 318 around x = 200: its textured body, what is behind and before."""

    body: str
    front: str
    behind: str = ""
    shadow: int = 90


_FIGURES = (  # one for each two of OBJECTS
    _Figure(  # vase
        "M170 128h60c4 26-14 38-6 58 10 20 44 36 44 72 0 34-22 60-40 60h-56c-18 0-40-26-40-60 0-36 34-52 "
        "44-72 8-20-10-32-6-58z",
        '<ellipse cx="200" cy="128" rx="31" ry="7" fill="{dark}"/>'
        '<path d="M137 236q63 26 126 0M134 252q66 26 132 0" stroke="{pop}" stroke-width="6"/>',
        '<path d="M204 128c0-30 12-40 18-66M196 128c-4-24-18-32-26-50M200 128V50" stroke="{dark}" '
        'stroke-width="4"/>'
        '<g fill="{pop}"><circle cx="223" cy="60" r="14"/><circle cx="168" cy="74" r="12"/>'
        '<circle cx="200" cy="48" r="16"/></g>'
        '<g fill="{glow}"><circle cx="223" cy="60" r="5"/><circle cx="168" cy="74" r="4"/>'
        '<circle cx="200" cy="48" r="6"/></g>',
        76,
    ),
    _Figure(  # mug
        "M118 168h136v118q0 32-32 32h-72q-32 0-32-32z",
        '<ellipse cx="186" cy="168" rx="68" ry="13" fill="{deep}"/>'
        '<ellipse cx="186" cy="170" rx="58" ry="9" fill="{dark}"/>'
        '<path d="M134 200v78q0 14 8 22" stroke="#fff" stroke-width="7" opacity=".4"/>',
        '<path d="M252 196h20q28 0 28 32t-28 38l-24 6" stroke="{deep}" stroke-width="17"/>'
        '<path d="M166 142c-14-18 14-26 0-46M204 142c-14-18 14-26 0-46" stroke="{dark}" stroke-width="6" '
        'opacity=".3"/>',
        100,
    ),
    _Figure(  # teapot
        "M120 236c0-46 36-76 80-76s80 30 80 76c0 38-24 82-46 82h-68c-22 0-46-44-46-82z",
        '<path d="M148 176q52 22 104 0" stroke="{dark}" stroke-width="5" opacity=".6"/>'
        '<circle cx="200" cy="146" r="13" fill="{pop}"/>'
        '<path d="M142 214q-6 30 12 64" stroke="#fff" stroke-width="7" opacity=".4"/>',
        '<path d="M272 214c26 0 28-46 58-52-6 22-14 84-62 92z" fill="{deep}"/>'
        '<path d="M128 210c-58-28-66 62 6 68" stroke="{deep}" stroke-width="15"/>',
        104,
    ),
    _Figure(  # lantern
        "M146 156h108l14 128H132z",
        '<path d="M170 172h60l8 98h-76z" fill="{glow}"/>'
        '<path d="M200 204c22 26 14 50 0 50s-22-24 0-50z" fill="{fire}"/>'
        '<path d="M200 172v98" stroke="{dark}" stroke-width="4" opacity=".55"/>'
        '<path d="M122 284h156v20q0 14-14 14H136q-14 0-14-14zM136 156l30-36h68l30 36z" fill="{dark}"/>',
        '<path d="M166 122c0-70 68-70 68 0" stroke="{dark}" stroke-width="7"/>',
    ),
    _Figure(  # table lamp
        "M158 96h84l40 104H118z",
        '<path d="M118 200h164l-4-11H122z" fill="{pop}"/>'
        '<path d="M166 108l-26 70" stroke="#fff" stroke-width="6" opacity=".4"/>',
        '<path d="M92 318l38-118h140l38 118z" fill="{glow}" opacity=".55"/>'
        '<path d="M200 198v100" stroke="{dark}" stroke-width="10"/>'
        '<path d="M146 318q0-28 54-28t54 28z" fill="{dark}"/>'
        '<circle cx="200" cy="248" r="14" fill="{deep}"/>',
        76,
    ),
    _Figure(  # armchair
        "M130 154q0-38 38-38h64q38 0 38 38v82H130zM94 208q0-20 20-20t22 20v32h128v-32q0-20 22-20t20 20v80q0 "
        "12-12 12H106q-12 0-12-12z",
        '<rect x="134" y="222" width="132" height="34" rx="13" fill="{high}"/>'
        '<path d="M134 262h132" stroke="{dark}" stroke-width="4" opacity=".4"/>'
        '<rect x="166" y="160" width="68" height="62" rx="13" fill="{pop}" transform="rotate(8 200 190)"/>',
        '<path d="M120 296l-8 20M280 296l8 20" stroke="{dark}" stroke-width="10"/>',
        118,
    ),
    _Figure(  # stool
        "M116 176q0-18 18-18h132q18 0 18 18v10q0 18-18 18H134q-18 0-18-18z",
        '<ellipse cx="200" cy="166" rx="72" ry="8" fill="#fff" opacity=".3"/>'
        '<path d="M182 158v-40h36v40z" fill="{pop}"/>'
        '<path d="M200 118c-4-26-20-32-30-30 2 18 14 28 30 30 0-28 10-46 30-48 2 24-10 42-30 48z" '
        'fill="{deep}"/>',
        '<path d="M146 200l-20 114M254 200l20 114M182 200l-8 110M218 200l8 110" stroke="{dark}" '
        'stroke-width="10"/><path d="M136 264h128" stroke="{deep}" stroke-width="8"/>',
        94,
    ),
    _Figure(  # clock
        "M200 94a108 108 0 1 0 .1 0z",
        '<circle cx="200" cy="202" r="84" fill="{pale}"/>'
        '<path d="M200 128v12M200 264v12M126 202h12M262 202h12" stroke="{dark}" stroke-width="6"/>'
        '<path d="M200 202V148M200 202l38 24" stroke="{dark}" stroke-width="8"/>'
        '<path d="M200 202l-30 46" stroke="{pop}" stroke-width="4"/>'
        '<circle cx="200" cy="202" r="8" fill="{pop}"/>',
        '<path d="M150 290l-18 26M250 290l18 26" stroke="{dark}" stroke-width="14"/>',
    ),
    _Figure(  # watch
        "M172 62q0-10 10-10h36q10 0 10 10l10 80h-76zM162 250h76l-10 58q0 10-10 10h-36q-10 0-10-10z",
        '<circle cx="200" cy="196" r="68" fill="{dark}"/><circle cx="200" cy="196" r="56" fill="{pale}"/>'
        '<rect x="266" y="188" width="14" height="16" rx="4" fill="{dark}"/>'
        '<path d="M200 148v8M200 236v8M152 196h8M240 196h8" stroke="{dark}" stroke-width="5"/>'
        '<path d="M200 196v-34M200 196l24 14" stroke="{dark}" stroke-width="6"/>'
        '<path d="M200 196l-14 32" stroke="{pop}" stroke-width="3"/>'
        '<circle cx="200" cy="196" r="6" fill="{pop}"/>',
        "",
        60,
    ),
    _Figure(  # guitar
        "M200 172c34 0 52 14 50 36-2 14-12 18-10 30 3 12 28 18 28 42 0 26-28 38-68 38s-68-12-68-38c0-24 "
        "25-30 28-42 2-12-8-16-10-30-2-22 16-36 50-36z",
        '<circle cx="200" cy="222" r="20" fill="{dark}" stroke="{pop}" stroke-width="4"/>'
        '<path d="M176 286h48" stroke="{dark}" stroke-width="9"/>'
        '<path d="M191 64v220h18V64z" fill="{deep}"/><path d="M185 44h30l-4 38h-22z" fill="{dark}"/>'
        '<path d="M196 60v224M200 60v224M204 60v224" stroke="{glow}" stroke-width="1.4"/>'
        '<path d="M191 104h18M191 124h18M191 144h18M191 164h18" stroke="{dark}" stroke-width="2"/>',
        "",
        76,
    ),
    _Figure(  # drum
        "M112 176v108c0 46 176 46 176 0V176z",
        '<path d="M112 190l30 116 28-104 30 114 30-114 28 104 30-116" stroke="{glow}" stroke-width="4" '
        'stroke-linejoin="round"/><path d="M112 284c0 46 176 46 176 0" stroke="{pop}" stroke-width="11"/>'
        '<ellipse cx="200" cy="176" rx="88" ry="30" fill="{pale}" stroke="{pop}" stroke-width="10"/>'
        '<path d="M226 168L292 92M178 178L106 112" stroke="{dark}" stroke-width="7"/>'
        '<circle cx="224" cy="170" r="8" fill="{dark}"/><circle cx="180" cy="180" r="8" fill="{dark}"/>',
        "",
        100,
    ),
    _Figure(  # backpack
        "M128 186c0-50 28-86 72-86s72 36 72 86v108q0 24-24 24h-96q-24 0-24-24z",
        '<rect x="144" y="226" width="112" height="76" rx="18" fill="{deep}"/>'
        '<path d="M144 250h112" stroke="{dark}" stroke-width="5"/>'
        '<rect x="190" y="242" width="20" height="26" rx="6" fill="{pop}"/>'
        '<path d="M150 190c0-34 20-58 50-58s50 24 50 58" stroke="{dark}" stroke-width="5" opacity=".55"/>',
        '<path d="M178 106c0-38 44-38 44 0" stroke="{dark}" stroke-width="9"/>'
        '<path d="M130 196q-26 18-18 96M270 196q26 18 18 96" stroke="{dark}" stroke-width="15"/>',
    ),
    _Figure(  # tote
        "M122 182h156l18 122q2 14-14 14H118q-16 0-14-14z",
        '<path d="M160 206c0-116 80-116 80 0" stroke="{dark}" stroke-width="9"/>'
        '<circle cx="160" cy="206" r="7" fill="{glow}"/><circle cx="240" cy="206" r="7" fill="{glow}"/>'
        '<path d="M200 236c28-22 44 14 0 46-44-32-28-68 0-46z" fill="{pop}"/>',
        '<path d="M170 182c0-90 76-90 76 0" stroke="{dark}" stroke-width="8" opacity=".45"/>',
        108,
    ),
    _Figure(  # umbrella
        "M76 204c6-72 56-118 124-118s118 46 124 118c-18-20-44-20-62 0-18-20-44-20-62 0-18-20-44-20-62 "
        "0-18-20-44-20-62 0z",
        '<path d="M200 86c-40 24-60 64-62 118M200 86c40 24 60 64 62 118" stroke="{dark}" stroke-width="4" '
        'opacity=".4"/><path d="M200 86V68" stroke="{dark}" stroke-width="9"/>'
        '<circle cx="200" cy="70" r="7" fill="{pop}"/>',
        '<path d="M200 96v194c0 34 44 34 44 0" stroke="{dark}" stroke-width="9"/>'
        '<path d="M244 292v-6" stroke="{pop}" stroke-width="13"/>',
        64,
    ),
    _Figure(  # carafe
        "M180 118h40v56c0 22 50 38 50 92 0 34-18 52-46 52h-48c-28 0-46-18-46-52 0-54 50-70 50-92z",
        '<path d="M138 252q62 20 124 0v14c0 28-14 42-38 42h-48c-24 0-38-14-38-42z" fill="{pop}" '
        'opacity=".85"/><path d="M174 122h52" stroke="{dark}" stroke-width="9"/>'
        '<path d="M184 70l-6 42h44l-6-42q-16-12-32 0z" fill="{dark}"/>'
        '<path d="M152 236q8-20 20-32" stroke="#fff" stroke-width="7" opacity=".55"/>',
        "",
        78,
    ),
    _Figure(  # bowl
        "M92 212h216c0 66-42 98-72 98h-72c-30 0-72-32-72-98z",
        '<ellipse cx="200" cy="212" rx="108" ry="17" fill="{deep}"/>'
        '<path d="M160 306h80l6 12h-92z" fill="{dark}"/>'
        '<path d="M116 246q84 32 168 0" stroke="{pop}" stroke-width="7"/>'
        '<path d="M94 212a108 14 0 0 0 212 0" fill="{dark}" opacity=".35"/>',
        '<g stroke="{dark}" stroke-width="4"><circle cx="160" cy="182" r="34" fill="{pop}" stroke="none"/>'
        '<circle cx="240" cy="184" r="32" fill="{glow}" stroke="none"/>'
        '<circle cx="202" cy="164" r="36" fill="{high}" stroke="none"/><path d="M202 130q2-16 14-22"/></g>',
        84,
    ),
    _Figure(  # candle
        "M158 176q42-18 84 0v122h-84z",
        '<path d="M158 178q42-16 84 0 0 10-10 12-4 30-12 2-26 6-42 0-4 46-12 0-8-4-8-14z" fill="{high}"/>'
        '<path d="M118 296h164l-14 22H132z" fill="{dark}"/>'
        '<path d="M282 296c34-4 34-38 4-38" stroke="{dark}" stroke-width="9"/>',
        '<circle cx="200" cy="118" r="58" fill="{glow}" opacity=".6"/>'
        '<path d="M200 176v-26" stroke="{dark}" stroke-width="4"/>'
        '<path d="M200 76c34 38 22 76 0 76s-34-38 0-76z" fill="{fire}"/>'
        '<path d="M200 112c14 18 10 36 0 36s-14-18 0-36z" fill="{pale}"/>',
    ),
    _Figure(  # planter
        "M132 212h136l-18 92q-3 14-16 14h-68q-13 0-16-14z",
        '<rect x="122" y="200" width="156" height="28" rx="10" fill="{deep}"/>'
        '<path d="M142 262q58 18 116 0" stroke="{pop}" stroke-width="6"/>',
        '<path d="M200 206V92M200 206c-8-50-40-70-66-76M200 206c8-50 40-70 66-76" stroke="{dark}" '
        'stroke-width="5"/><g fill="{leaf}"><path d="M200 164c-44-40-28-84 0-106 28 22 44 66 0 106z"/>'
        '<path d="M188 198c-54 8-84-22-88-72 46-4 82 26 88 72z"/>'
        '<path d="M212 198c54 8 84-22 88-72-46-4-82 26-88 72z"/></g>'
        '<path d="M200 150V84M180 184l-46-38M220 184l46-38" stroke="{pale}" stroke-width="3" opacity=".6"/>',
        76,
    ),
    _Figure(  # mirror
        "M200 74c52 0 82 44 82 104s-30 104-82 104-82-44-82-104 30-104 82-104z",
        '<ellipse cx="200" cy="178" rx="64" ry="86" fill="{pale}"/>'
        '<path d="M200 92c40 0 64 40 64 86L158 244c-32-60-12-152 42-152z" fill="#fff" opacity=".6"/>'
        '<path d="M166 214l58-58M184 226l34-34" stroke="{veil}" stroke-width="7"/>',
        '<path d="M200 276v30" stroke="{dark}" stroke-width="14"/>'
        '<path d="M138 318q4-22 62-22t62 22z" fill="{dark}"/><circle cx="200" cy="68" r="13" fill="{pop}"/>',
        76,
    ),
    _Figure(  # journal
        "M134 112q0-16 16-16h112q16 0 16 16v190q0 16-16 16H150q-16 0-16-16z",
        '<path d="M134 112q0-16 16-16h10v222h-10q-16 0-16-16z" fill="{dark}" opacity=".45"/>'
        '<path d="M250 96v222" stroke="{pop}" stroke-width="9"/>'
        '<rect x="176" y="136" width="56" height="40" rx="7" fill="{pale}"/>'
        '<path d="M186 150h36M186 162h22" stroke="{dark}" stroke-width="4" opacity=".7"/>',
        '<path d="M146 108h142v202q0 8-8 8H146z" fill="{pale}"/>'
        '<path d="M284 114v198" stroke="{veil}" stroke-width="3"/>'
        '<path d="M190 312v34l9-9 9 9v-34z" fill="{pop}"/>',
    ),
    _Figure(  # camera
        "M92 192q0-22 22-22h36l16-28q4-8 14-8h40q10 0 14 8l16 28h36q22 0 22 22v104q0 22-22 22H114q-22 0-22-22z",
        '<path d="M92 206h216v20H92z" fill="{dark}" opacity=".55"/>'
        '<circle cx="200" cy="240" r="60" fill="{dark}"/><circle cx="200" cy="240" r="45" fill="{pop}"/>'
        '<circle cx="200" cy="240" r="28" fill="{ink}"/>'
        '<circle cx="188" cy="226" r="9" fill="#fff" opacity=".8"/>'
        '<circle cx="278" cy="190" r="8" fill="{glow}"/>'
        '<rect x="112" y="158" width="28" height="13" rx="5" fill="{dark}"/>',
        "",
        118,
    ),
    _Figure(  # radio
        "M96 178q0-20 20-20h168q20 0 20 20v112q0 20-20 20H116q-20 0-20-20z",
        '<circle cx="156" cy="234" r="48" fill="{dark}"/><circle cx="156" cy="234" r="37" fill="{deep}"/>'
        '<path d="M128 218h56M122 234h68M128 250h56" stroke="{dark}" stroke-width="5"/>'
        '<rect x="220" y="182" width="66" height="42" rx="8" fill="{pale}"/>'
        '<path d="M230 210h46M240 204v-8M254 204v-8M268 204v-8" stroke="{dark}" stroke-width="3"/>'
        '<path d="M248 188v30" stroke="{pop}" stroke-width="4"/>'
        '<circle cx="234" cy="262" r="15" fill="{pop}"/><circle cx="272" cy="262" r="15" fill="{pop}"/>'
        '<path d="M234 262v-10M272 262l7-7" stroke="{dark}" stroke-width="4"/>',
        '<path d="M124 160c0-50 152-50 152 0" stroke="{dark}" stroke-width="10"/>'
        '<path d="M268 158L318 68" stroke="{dark}" stroke-width="5"/>'
        '<circle cx="318" cy="68" r="7" fill="{pop}"/>'
        '<path d="M122 306v10M278 306v10" stroke="{dark}" stroke-width="12"/>',
        112,
    ),
    _Figure(  # hourglass
        "M140 94h120v16q0 12-12 12H152q-12 0-12-12zM140 318v-16q0-12 12-12h96q12 0 12 12v16z",
        '<path d="M152 118h96c0 56-38 60-38 88s38 32 38 88h-96c0-56 38-60 38-88s-38-32-38-88z" fill="#fff" '
        'opacity=".6"/><path d="M164 150q36 10 72 0c-8 26-28 32-31 56h-10c-3-24-23-30-31-56zM158 290c2-26 '
        '30-40 42-44 12 4 40 18 42 44z" fill="{pop}"/>'
        '<path d="M200 200v50" stroke="{pop}" stroke-width="4"/>',
        '<path d="M150 116v178M250 116v178" stroke="{deep}" stroke-width="10"/>',
        72,
    ),
    _Figure(  # bell
        "M200 102c46 0 62 38 64 84 2 40 10 62 32 84q6 14-10 14H114q-16 0-10-14c22-22 30-44 32-84 2-46 18-84 64-84z",
        '<path d="M112 262h176" stroke="{pop}" stroke-width="9"/>'
        '<path d="M164 150q-10 28-10 66" stroke="#fff" stroke-width="8" opacity=".45"/>',
        '<circle cx="200" cy="290" r="24" fill="{dark}"/>'
        '<circle cx="200" cy="86" r="18" stroke="{dark}" stroke-width="9"/>',
        88,
    ),
)


def _split(words: str) -> tuple[str, ...]:
    return tuple(words.split())


_HUES = (  # OKLCH hue in degrees, chroma and lightness in percent, one for each ten of COLOURS
    *((22, 0.175, 58), (38, 0.14, 63), (56, 0.15, 70), (76, 0.145, 72), (98, 0.155, 81), (120, 0.14, 69)),
    *((148, 0.14, 60), (166, 0.11, 68), (195, 0.1, 64), (230, 0.12, 67), (258, 0.16, 56), (282, 0.14, 57)),
    *((308, 0.14, 60), (352, 0.165, 66), (80, 0.018, 60)),
)
_GREYS = (88, 86, 76, 52, 44, 68, 40, 89, 79, 56)  # lightness of the last ten of COLOURS

COLOURS = _split(
    """
    Crimson Scarlet Ruby Cherry Garnet Vermilion Cardinal Carmine Poppy Claret
    Coral Rust Terracotta Copper Salmon Ember Paprika Henna Sienna Brick
    Tangerine Apricot Peach Persimmon Papaya Pumpkin Marigold Melon Clementine Nectarine
    Amber Honey Saffron Ochre Golden Mustard Turmeric Butterscotch Maize Caramel
    Lemon Primrose Canary Buttercup Citrine Daffodil Straw Flaxen Sunny Mimosa
    Olive Lime Moss Pistachio Chartreuse Pear Avocado Fern Meadow Willow
    Emerald Forest Basil Clover Ivy Spruce Verdant Malachite Evergreen Shamrock
    Jade Mint Sage Seafoam Eucalyptus Celadon Juniper Aloe Viridian Laurel
    Teal Aqua Lagoon Turquoise Peacock Tidal Cyan Petrol Oceanic Verdigris
    Azure Sky Cerulean Glacier Cornflower Arctic Pacific Harbour Rainy Cloudless
    Cobalt Sapphire Royal Navy Marine Lapis Denim Admiral Bluebell Prussian
    Indigo Iris Midnight Twilight Dusky Ultramarine Periwinkle Wisteria Lavender Cosmic
    Violet Amethyst Plum Orchid Lilac Heather Aubergine Mulberry Grape Thistle
    Fuchsia Magenta Rose Peony Blossom Blush Raspberry Cerise Carnation Flamingo
    Ivory Pearl Silver Slate Charcoal Ashen Onyx Cream Misty Smoky
    """
)

MATERIALS = _split(
    """
    Walnut Oak Maple Birch Cedar Teak Beech Elm Pine Mahogany Rosewood Ebony
    Bamboo Rattan Cork Acacia Alder Larch Hickory Cypress Sandalwood Wicker Applewood Driftwood
    Marble Granite Basalt Quartz Terrazzo Travertine Limestone Sandstone Soapstone Alabaster Agate Obsidian
    Flint Pumice Porcelain Stoneware Earthenware Ceramic Clay Concrete Plaster Adobe Gypsum Majolica
    Brass Bronze Pewter Steel Iron Nickel Chrome Tin Titanium Aluminium Zinc Platinum
    Gunmetal Damascus Filigree Gilded Hammered Brushed Polished Burnished Forged Etched Riveted Anodised
    Linen Cotton Wool Velvet Silk Canvas Tweed Felt Flannel Corduroy Suede Leather
    Satin Jute Hemp Cashmere Mohair Chenille Brocade Tartan Muslin Knitted Woven Quilted
    Glass Crystal Frosted Opaline Acrylic Resin Enamel Lacquer Glazed Mosaic Stained Blown
    Fluted Ribbed Faceted Prismatic Iridescent Mirrored Mercury Smoked Crackle Bubble Tinted Translucent
    Nordic Bauhaus Deco Retro Rustic Modern Vintage Classic Baroque Gothic Coastal Alpine
    Parisian Kyoto Tuscan Shaker Atomic Bohemian Nomad Cubist Minimal Victorian Moorish Safari
    """
)

OBJECTS = (  # two names for each figure
    *("Vase", "Urn", "Mug", "Cup", "Teapot", "Kettle", "Lantern", "Tealight", "Table Lamp", "Reading Lamp"),
    *("Armchair", "Lounge Chair", "Stool", "Side Table", "Clock", "Timepiece", "Watch", "Wristwatch"),
    *(
        "Guitar",
        "Ukulele",
        "Drum",
        "Tom-Tom",
        "Backpack",
        "Rucksack",
        "Tote",
        "Shopper",
        "Umbrella",
        "Parasol",
    ),
    *("Carafe", "Decanter", "Bowl", "Fruit Bowl", "Candle", "Night Light", "Planter", "Flowerpot"),
    *("Mirror", "Looking Glass", "Journal", "Notebook", "Camera", "Rangefinder", "Radio", "Wireless"),
    *("Hourglass", "Sandglass", "Bell", "Chime"),
)

NAMES = len(COLOURS) * len(MATERIALS) * len(OBJECTS)
"""How many names there are; more than the 1,000,000 items that the largest sale can have."""
