"""Sales over time as SVG, with each fault drawn where it began and as long as it lasted, in a lane for its target."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from drill.faults import TARGETS
from drill.verdict import Record

WIDTH, LEFT, RIGHT = 1_080, 76, 16
_TOP, _CHART, _LANE = 12, 220, 22
_LANES = TARGETS
_BARS_MAX = 240
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600)
_TICKS_MAX = 12
_MARK_WIDTH_MIN = 2.0


def draw(record: Record) -> str:
    """The picture. Its colours are those of the page (classes), so it follows light and dark."""
    seconds = max(record.ended - record.began, 1.0)
    bottom = _TOP + _CHART
    height = bottom + _LANE * len(_LANES) + 34
    label = f"Items sold each second over {seconds:.0f} seconds, with {len(record.faults)} faults below"
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">'
        + "".join([*_bars(record, seconds), *_lanes(record, seconds, bottom), *_axis(seconds, height)])
        + "</svg>"
    )


def _x(second: float, seconds: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max(second / seconds, 0.0), 1.0)


def _bars(record: Record, seconds: float) -> Iterator[str]:
    width = max(0.5, seconds / _BARS_MAX)
    counts = [0] * (int(seconds / width) + 1)
    for time in record.sale_times:
        counts[min(int(time / width), len(counts) - 1)] += 1
    rates = [count / width for count in counts]
    top = max([*rates, 1.0])
    for share in (0.5, 1.0):
        y = _TOP + _CHART * (1 - share)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="label" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{top * share:.0f}</text>'
    yield f'<text class="label" x="{LEFT - 8}" y="{_TOP + _CHART}" text-anchor="end">sales/s</text>'
    for place, rate in enumerate(rates):
        if rate:
            left, right = _x(place * width, seconds), _x((place + 1) * width, seconds)
            tall = _CHART * rate / top
            yield (
                f'<rect class="bar" x="{left:.1f}" width="{max(right - left - 0.5, 0.5):.1f}" '
                f'y="{_TOP + _CHART - tall:.1f}" height="{tall:.1f}"/>'
            )


def _lanes(record: Record, seconds: float, bottom: int) -> Iterator[str]:
    for lane, target in enumerate(_LANES):
        y = bottom + 6 + lane * _LANE
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y + 15}" y2="{y + 15}"/>'
        yield f'<text class="label" x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{target}</text>'
    for fault in record.faults:
        y = bottom + 6 + _LANES.index(fault.kind.target) * _LANE
        began, healed = fault.began - record.began, fault.healed - record.began
        left, right = _x(began, seconds), _x(healed, seconds)
        width = max(right - left, _MARK_WIDTH_MIN)
        told = f"{fault.kind.name} at {began:.1f} s: {fault.what}"
        yield f'<rect class="shade" x="{left:.1f}" width="{width:.1f}" y="{_TOP}" height="{_CHART}"/>'
        yield (
            f'<rect class="fault {fault.kind.target}" x="{left:.1f}" width="{width:.1f}" y="{y}" height="15">'
            f"<title>{escape(told)}</title></rect>"
        )


def _axis(seconds: float, height: int) -> Iterator[str]:
    step = next((step for step in _STEPS if seconds / step <= _TICKS_MAX), _STEPS[-1])
    for tick in range(0, int(seconds) + 1, step):
        x = _x(tick, seconds)
        text = f"{tick} s" if seconds < 120 else f"{tick // 60}:{tick % 60:02}"
        yield f'<text class="label" x="{x:.1f}" y="{height - 8}" text-anchor="middle">{text}</text>'
