"""The pictures: findings in, SVG out. Lines and bars are labelled directly, and amounts begin at zero.

Every colour is replaced by a CSS variable, so that one file suits light and dark, in a page or on its own.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from benchmarks.findings import GENERATOR, HANDLER, STOCK, Findings, Sale
from benchmarks.load.buyers import KINDS

COLOURS = {
    "ink": ("#1b1a17", "#f1eee7"),
    "soft": ("#6d6a62", "#a5a197"),
    "rule": ("#e4e0d7", "#37342d"),
    "accent": ("#d9431e", "#ff7a55"),
    "green": ("#1f7a4d", "#58bd8a"),
    "blue": ("#2c5f9e", "#7aaeea"),
    "ochre": ("#a8741a", "#dcab52"),
    "plum": ("#7d4a86", "#c495cd"),
}
"""Light and dark."""
INK, SOFT, RULE, ACCENT, GREEN, BLUE, OCHRE, PLUM = (light for light, _ in COLOURS.values())
_SERIES = (SOFT, PLUM, OCHRE, GREEN, BLUE, ACCENT)
_PROCESSES = {"web": ACCENT, "inventory": BLUE, "PostgreSQL": GREEN, "Valkey": OCHRE, GENERATOR: SOFT}
_WIDTH_INCHES = 9.0

Drawn = tuple[str, str, str, Figure]
"""A file's name without its ending, a title, an explanation, the picture."""
Line = tuple[str, Sequence[tuple[float, float]], str]
"""A label, points, a colour."""


class Picture(NamedTuple):
    """Finished."""

    name: str
    title: str
    svg: str


def draw(findings: Findings) -> list[Picture]:
    """Every picture for which something was measured."""
    with style.context(Path(__file__).with_name("plots.mplstyle")):
        return [_finished(findings, *drawn) for drawn in _all(findings)]


def _all(findings: Findings) -> Iterator[Drawn]:
    closed = [sale for sale in findings.sales if sale.kind == "clients" and sale.sales]
    if closed:
        of_web = [sale for sale in closed if sale.measured.web == closed[-1].measured.web]
        yield _sold_over_time(of_web)
        yield _latency(of_web)
        yield _throughput(findings, of_web)
        if len(of_web) < len(closed):
            yield _over_web(closed)
    with_cpu = [sale for sale in findings.sales if sale.cpu_us_per_sale]
    if with_cpu:
        yield _cpu(with_cpu)
    if findings.request_costs:
        yield _request_costs(findings)
    if findings.ceilings.commits:
        yield _commits(findings)


def _sold_over_time(sales: Sequence[Sale]) -> Drawn:
    figure, (axes,) = _figure()
    stock = max(sale.counts.stock for sale in sales)
    for place, (sale, colour) in enumerate(zip(sales, _colours(len(sales)), strict=True)):
        points = sale.load.sold_over_time
        axes.plot(*zip(*points, strict=True), color=colour)
        # right of its curve, at a height of its own, so that steep neighbours do not share a place
        height = points[-1][1] * (0.1 + 0.8 * place / len(sales))
        _label(axes, f"{sale.measured.clients:,} clients", next(x for x, y in points if y >= height), height, colour)
    axes.axhline(stock, color=ACCENT, linestyle=(0, (2, 2)), linewidth=1.4)
    _label(axes, f"{stock:,} items, never crossed", 0, stock, ACCENT, (3, 9))
    _amounts(axes, stock * 1.12, "items sold")
    axes.set_xlim(0, max(sale.load.seconds for sale in sales) * 1.15)
    axes.set_xlabel("seconds after the first request")
    return "sold", "Items sold over time", "Each purchase when its buyer heard of it, one line per sale", figure


def _latency(sales: Sequence[Sale]) -> Drawn:
    figure, both = _figure(len(KINDS))
    lines: dict[str, list[Line]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for sale, colour in zip(sales, _colours(len(sales)), strict=True):
            latency = sale.load.accepted[kind]
            # the slowest of n requests stands at 1 - 1/2n, right of every share that has samples beyond it
            shares = [(min(share, 1 - 0.5 / latency.count), ms) for share, ms in latency.distribution if share >= 0.5]
            curve = [(-math.log10(1 - share), ms) for share, ms in shares]
            lines[kind].append((f"{sale.measured.clients:,}", curve, colour))
    for axes, kind in zip(both, KINDS, strict=True):
        for _, points, colour in lines[kind]:
            axes.plot(*zip(*points, strict=True), color=colour)
        _logarithmic(axes, "milliseconds" if axes is both[0] else "")
        axes.set_title(f"{kind}, by number of clients")
        axes.xaxis.set_major_locator(FixedLocator([-math.log10(1 - share) for share in (0.5, 0.9, 0.99, 0.999)]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - 10**-x):.3g} %"))
        axes.set_xlim(-math.log10(0.5), max(points[-1][0] for _, points, _ in lines[kind]) * 1.18)
        axes.set_xlabel("share of requests that took no longer")
    for axes, kind in zip(both, KINDS, strict=True):
        _label_ends(axes, lines[kind])
    text = "From sending to the whole response, waiting for a retry included. Each line ends at the slowest request"
    return "latency", "Latency of accepted requests", text, figure


def _throughput(findings: Findings, sales: Sequence[Sale]) -> Drawn:
    web = sales[-1].measured.web
    lines: list[Line] = [
        ("this service", [(sale.measured.clients, sale.load.responses_per_second) for sale in sales], ACCENT)
    ]
    for server, name, colour in ((HANDLER, "constant, its handler", INK), (STOCK, "constant, stock Hypercorn", SOFT)):
        rows = [row for row in findings.baselines if (row.title, row.measured.web) == (server, web)]
        lines.append((name, [(row.measured.clients, row.requests_per_second) for row in rows], colour))
    text = f"With {web} web process{'es' if web > 1 else ''}. A sale is two requests, each durable before its response"
    figure = _lines(lines, "clients", "requests per second")
    return "throughput", "Throughput next to the baseline servers", text, figure


def _over_web(sales: Sequence[Sale]) -> Drawn:
    clients = sorted({sale.measured.clients for sale in sales})
    lines: list[Line] = [
        (f"{n:,} clients", [(s.measured.web, s.sales_per_second) for s in sales if s.measured.clients == n], colour)
        for n, colour in zip(clients, _colours(len(clients)), strict=True)
    ]
    text = "More of them help as long as there are cores for them"
    return "web", "Throughput by number of web processes", text, _lines(lines, "web processes", "sales per second")


def _cpu(sales: Sequence[Sale]) -> Drawn:
    rows = []
    for sale in sales:
        name = f"{sale.measured.clients:,} clients, {sale.measured.web} web"
        name = {"size": f"{sale.size:,} items", "rate": f"{sale.rate or 0:,g} per second"}.get(sale.kind, name)
        spent = dict.fromkeys(_PROCESSES, 0.0)
        for process in sale.measured.processes:
            spent[process.name.split(".")[0]] += 1e6 * process.cpu_seconds / sale.sales
        rows.append((name, [(spent[kind], colour) for kind, colour in _PROCESSES.items()]))
    text = "CPU of a checkout and a purchase. The load generator runs on the same machine and takes its share of it"
    return "cpu", "Where the CPU time of a sale goes", text, _bars(rows, list(_PROCESSES), "CPU µs per sale")


def _request_costs(findings: Findings) -> Drawn:
    rows = [
        (row.title, [(row.cpu_us_per_request or 0.0, ACCENT if row.measured.load.refusals else GREEN)])
        for row in findings.request_costs
    ]
    text = "CPU of the service and its stores, accepted (green) and refused. A refused checkout is recorded too"
    return "refusals", "Cost of refusals compared with sales", text, _bars(rows, [], "CPU µs per request")


def _commits(findings: Findings) -> Drawn:
    rows = findings.ceilings.commits
    lines: list[Line] = [
        ("a checkout", [(row.batch, row.checkout_us_per_row) for row in rows], ACCENT),
        ("a purchase", [(row.batch, row.purchase_us_per_row) for row in rows], BLUE),
    ]
    text = "One connection, the service's own statements, fsync on: what a durable row costs at best"
    return "commits", "PostgreSQL: group commit", text, _lines(lines, "rows per commit", "µs per row", is_log=True)


def _figure(count: int = 1, height: float = 4.4) -> tuple[Figure, list[Axes]]:
    """Room is left above for title and text, and below for machine and command."""
    layout = ConstrainedLayoutEngine(rect=(0.005, 0.55 / height, 0.99, 1 - 1.25 / height))
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout=layout)
    return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def _colours(count: int) -> list[str]:
    """The last line is the accented one."""
    return [_SERIES[(place - count) % len(_SERIES)] for place in range(count)]


def _lines(lines: Sequence[Line], x_name: str, y_name: str, *, is_log: bool = False) -> Figure:
    """Lines over a logarithmic axis that names exactly the values that were measured."""
    figure, (axes,) = _figure()
    lines = [line for line in lines if line[1]]
    for _, points, colour in lines:
        axes.plot(*zip(*points, strict=True), color=colour, marker="o")
    xs = sorted({x for _, points, _ in lines for x, _ in points})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(xs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlim(xs[0] / 1.15, xs[-1] * max(1.3, (xs[-1] / xs[0]) ** 0.36))
    axes.set_xlabel(x_name)
    if is_log:
        _logarithmic(axes, y_name)
    else:
        _amounts(axes, max(y for _, points, _ in lines for _, y in points) * 1.08, y_name)
    _label_ends(axes, lines)
    return figure


def _label(
    axes: Axes, text: str, x: float, y: float, colour: str, offset: tuple[float, float] = (8, 0), at: str = "center"
) -> None:
    """`offset` is in points."""
    axes.annotate(text, (x, y), offset, textcoords="offset points", color=colour, va=at)


def _label_ends(axes: Axes, lines: Sequence[Line], gap_points: float = 14.0) -> None:
    """Each label beside the last point, pushed up where it would cover the one below."""
    scale, height = _settled(axes), -math.inf
    for text, points, colour in sorted(lines, key=lambda line: line[1][-1][1]):
        place = float(axes.transData.transform(points[-1])[1]) * scale
        height = max(place, height + gap_points)
        _label(axes, text, *points[-1], colour, (8, height - place))


def _settled(axes: Axes) -> float:
    """Fix the layout, which places depend on; points per pixel."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    return 72 / figure.dpi


def _amounts(axes: Axes, top: float, name: str) -> None:
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.set_ylabel(name)


def _logarithmic(axes: Axes, name: str) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
    axes.set_ylabel(name)


def _bars(rows: Sequence[tuple[str, list[tuple[float, str]]]], heads: Sequence[str], name: str) -> Figure:
    """Horizontal and stacked, with the sum at the end. The parts are named above the first bar."""
    figure, (axes,) = _figure(height=2.1 + 0.34 * len(rows))
    for place, (_, parts) in enumerate(rows):
        left = 0.0
        for value, colour in parts:
            axes.barh(-place, value, left=left, height=0.62, color=colour)
            left += value
        _label(axes, f"{left:,.0f}", left, -place, INK, (5, 0))
    axes.set_yticks(range(0, -len(rows), -1), [title for title, _ in rows])
    axes.set_ylim(0.4 - len(rows), 1.0 if heads else 0.6)
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, max(sum(value for value, _ in parts) for _, parts in rows) * 1.1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel(name)
    scale, end, left = _settled(axes), 0.0, 0.0
    for head, (value, colour) in zip(heads, rows[0][1], strict=False):  # pushed right where it would cover the last
        start = float(axes.transData.transform((left, 0))[0]) * scale
        _label(axes, head, left, 0.34, colour, (max(0.0, end - start), 3), "bottom")
        end = max(start, end) + 6.5 * len(head) + 10
        left += value
    return figure


def _finished(findings: Findings, name: str, title: str, text: str, figure: Figure) -> Picture:
    """Title above, machine and command below, colours as CSS variables."""
    height, facts = figure.get_size_inches()[1], findings.machine.facts
    figure.text(0.008, 1 - 0.2 / height, title, fontsize=15, fontweight="bold", va="center")
    figure.text(0.008, 1 - 0.48 / height, text, color=SOFT, va="center")
    command = textwrap.shorten(facts["Command"], 128, placeholder=" …")
    below = f"{facts['Machine']}, {facts['Date'].split()[0]}\n$ {command}"
    figure.text(0.008, 0.25 / height, below, color=SOFT, fontsize=9, va="center", linespacing=1.5)
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return Picture(name, title, _themed(file.getvalue(), title))


def _themed(svg: str, title: str) -> str:
    """Named for screen readers, and with the reader's font and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # unique in a file, but not in a page of several
    svg = re.sub(r"font-family: [^;\"]*|(?<=px )'[^;\"]*sans-serif", "system-ui, sans-serif", svg)
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    light, dark = (";".join(f"--{name}:{pair[n]}" for name, pair in COLOURS.items()) for n in (0, 1))
    theme = f"svg{{{light};font-family:system-ui,sans-serif}}@media (prefers-color-scheme: dark){{svg{{{dark}}}}}"
    svg = svg.replace('<style type="text/css">', f'<style type="text/css">{theme}', 1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
