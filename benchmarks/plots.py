"""Plots as inline SVG: lines over linear or logarithmic axes, and stacked bars. Pure; colours come from the page.

Drawn for a width of 520 units, of which a phone shows two thirds: the margins leave room for the larger text it gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 14, 50
_BAR, _GAP = 24, 12
_LABEL = 164

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """One line. `color` is the number of a colour of the page, `dash` a stroke pattern or empty."""

    name: str
    points: Sequence[Point]
    color: int
    dash: str = ""
    has_dots: bool = True


@dataclass(frozen=True, slots=True)
class Axis:
    """From value to place, with the values that are written beside it."""

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def share(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        if self.is_log:
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def linear(values: Sequence[float], *, count: int = 5) -> Axis:
    """From 0 to a round number above all `values`."""
    highest = max([*values, 0.0]) or 1.0
    raw = highest / count
    magnitude = 10 ** math.floor(math.log10(raw))
    step = next(nice * magnitude for nice in (1, 2, 2.5, 5, 10) if nice * magnitude >= raw * 0.999)
    steps = math.ceil(highest / step - 1e-9)
    return Axis(0.0, steps * step, tuple(step * number for number in range(steps + 1)))


def logarithmic(values: Sequence[float]) -> Axis:
    """From a power of ten, or half of the next one, below the positive `values` to one above them."""
    positive = [value for value in values if value > 0] or [1.0]
    marks = sorted(base * 10.0**power for power in range(-4, 8) for base in (1, 2, 5))
    low = max([mark for mark in marks if mark <= min(positive)], default=marks[0])
    high = min([mark for mark in marks if mark >= max(positive) and mark > low], default=marks[-1])
    ticks = [mark for mark in marks if low <= mark <= high]
    if len(ticks) > 8:
        low, high = 10.0 ** math.floor(math.log10(low)), 10.0 ** math.ceil(math.log10(high))
        ticks = [mark for mark in marks[::3] if low <= mark <= high]
    return Axis(low, high, tuple(ticks), is_log=True)


def categories(values: Sequence[float]) -> Axis:
    """The values themselves, on a logarithmic axis: numbers of clients, batch sizes."""
    found = tuple(sorted(set(values)))
    if len(found) == 1:
        return Axis(found[0] / 2, found[0] * 2, found, is_log=True)
    return Axis(found[0], found[-1], found, is_log=True)


def lines(
    title: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    x_name: str,
    y_name: str,
    limit: tuple[float, str] | None = None,
) -> str:
    """A line plot with its legend; `limit` is a value that no line may cross, and what it says."""

    def place(point: Point) -> Point:
        return (
            LEFT + x.share(point[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y.share(point[1]) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [*_grid(x, y, place), *_axis_names(x_name, y_name)]
    for line in series:
        parts += _line(line, place, x_name, y_name)
    if limit is not None:
        parts += _limit(limit, x, place)
    body = "".join(parts)
    return f"{_legend([(line.name, line.color, line.dash) for line in series])}{_svg(title, HEIGHT, body)}"


def bars(
    title: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    names: Sequence[str],
    *,
    unit: str,
    digits: int = 0,
    colors: Sequence[int] = (),
) -> str:
    """Stacked horizontal bars, one a row, with the sum at its end; a legend if there is more than one part."""
    axis = linear([sum(values) for _, values in rows])
    room = WIDTH - _LABEL - 96
    height = len(rows) * (_BAR + _GAP) + _GAP
    palette = list(colors) or list(range(1, len(names) + 1))
    parts = []
    for number, (label, values) in enumerate(rows):
        top = _GAP + number * (_BAR + _GAP)
        parts.append(_text(_LABEL - 8, top + _BAR * 0.7, label, "end"))
        left = float(_LABEL)
        for name, value, color in zip(names, values, palette, strict=True):
            width = axis.share(value) * room
            tip = f"{label}, {name}: {value:,.{digits}f} {unit}"
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" class="fill{color}">'
                f"<title>{escape(tip)}</title></rect>"
            )
            left += width
        parts.append(_text(left + 6, top + _BAR * 0.7, f"{sum(values):,.{digits}f} {unit}", "start", "strong"))
    legend = _legend([(name, color, "") for name, color in zip(names, palette, strict=True)]) if len(names) > 1 else ""
    return legend + _svg(title, height, "".join(parts))


def short(value: float) -> str:
    """A tick's label: 2,500 or 10k, 0.5, 0."""
    if value >= 10_000:
        return f"{value / 1000:,.10g}k"
    return f"{value:,.10g}" if value >= 1 or value == 0 else f"{value:.3g}"


def _grid(x: Axis, y: Axis, place: Callable[[Point], Point]) -> Iterator[str]:
    for value in y.ticks:
        at = place((x.low, value))[1]
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>'
        yield _text(LEFT - 8, at + 4.5, short(value), "end")
    for value in x.ticks:
        at = place((value, y.low))[0]
        yield f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 5}" class="axis"/>'
        yield _text(at, HEIGHT - BOTTOM + 20, short(value), "middle")
    yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}" class="axis"/>'


def _axis_names(x_name: str, y_name: str) -> Iterator[str]:
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_name, "middle", "name")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield (
        f'<text x="14" y="{middle:.0f}" text-anchor="middle" class="name" '
        f'transform="rotate(-90 14 {middle:.0f})">{escape(y_name)}</text>'
    )


def _line(series: Series, place: Callable[[Point], Point], x_name: str, y_name: str) -> Iterator[str]:
    places = [place(point) for point in series.points]
    path = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
    dash = f' stroke-dasharray="{series.dash}"' if series.dash else ""
    yield f'<polyline points="{path}" class="line stroke{series.color}"{dash}/>'
    if series.has_dots:
        for (left, top), (x, y) in zip(places, series.points, strict=True):
            tip = f"{series.name}: {y:,.4g} {y_name} at {x:,.10g} {x_name}"
            yield f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4" class="fill{series.color}">'
            yield f"<title>{escape(tip)}</title></circle>"


def _limit(limit: tuple[float, str], x: Axis, place: Callable[[Point], Point]) -> Iterator[str]:
    at = place((x.low, limit[0]))[1]
    yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="limit"/>'
    yield _text(WIDTH - RIGHT - 4, at - 7, limit[1], "end", "limit-name")


def _legend(entries: Sequence[tuple[str, int, str]]) -> str:
    items = "".join(
        f'<li><svg class="key" viewBox="0 0 26 10" aria-hidden="true"><line x1="1" x2="25" y1="5" y2="5" '
        f'class="line stroke{color}"{f" stroke-dasharray={dash!r}" if dash else ""}/></svg>{escape(name)}</li>'
        for name, color, dash in entries
    )
    return f'<ul class="legend">{items}</ul>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'


def _svg(title: str, height: int, body: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title, quote=True)}">'
        f"{body}</svg>"
    )
