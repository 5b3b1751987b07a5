"""The pictures: findings in, SVG out. Lines and bars are labelled directly, and amounts begin at zero."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from html import escape

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.findings import GENERATOR, HANDLER, STOCK, Findings, Measured
from benchmarks.load import KINDS

INK, SOFT, ACCENT, GREEN, BLUE, OCHRE = "#1b1a17", "#6d6a62", "#d9431e", "#1f7a4d", "#2c5f9e", "#a8741a"
_SERIES = (SOFT, OCHRE, GREEN, BLUE, ACCENT)  # the last line is the accented one
_PROCESSES = {"web": ACCENT, "inventory": BLUE, "PostgreSQL": GREEN, "Valkey": OCHRE, GENERATOR: SOFT}
Line = tuple[str, Sequence[tuple[float, float]], str]
"""A label, points, a colour."""
Drawn = tuple[str, str, str, Figure]
"""A file's name without its ending, a title, an explanation, the picture."""


def draw(findings: Findings) -> dict[str, tuple[str, str]]:
    """Title and SVG of every picture for which something was measured, by name."""
    rcParams.update({"svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True})
    rcParams.update({"grid.color": "#e4e0d7", "axes.axisbelow": True, "axes.titlelocation": "left"})
    return {drawn[0]: (drawn[1], _finished(findings.facts, drawn)) for drawn in _all(findings)}


def _all(findings: Findings) -> Iterator[Drawn]:
    closed = [sale for sale in findings.sales if sale.kind == "clients" and sale.sales]
    if closed:
        of_web = [sale for sale in closed if sale.web == closed[-1].web]
        yield from (_sold_over_time(of_web), _latency(of_web), _throughput(findings, closed))
    if with_cpu := [sale for sale in findings.sales if sale.cpu_us_per_sale]:
        yield _cpu(with_cpu)
    if findings.request_costs:
        yield _costs(findings.request_costs)


def _sold_over_time(sales: Sequence[Measured]) -> Drawn:
    figure, (axes,) = _figure()
    stock = max(sale.counts.stock for sale in sales)
    for place, sale in enumerate(sales):
        points, colour = sale.load.sold_over_time, _SERIES[(place - len(sales)) % len(_SERIES)]
        axes.plot(*zip(*points, strict=True), color=colour)
        # right of its curve, at a height of its own, so that steep neighbours do not share a place
        x, y = next((x, y) for x, y in points if y >= points[-1][1] * (0.1 + 0.8 * place / len(sales)))
        _label(axes, f"{sale.clients:,} clients", x, y, colour)
    axes.axhline(stock, color=ACCENT, linestyle="--")
    _label(axes, f"{stock:,} items, never crossed", 0, stock, ACCENT, (3, 9))
    axes.set(ylim=(0, stock * 1.12), xlim=0, xlabel="seconds after the first request", ylabel="items sold")
    return "sold", "Items sold over time", "Each purchase when its buyer heard of it, one line per sale", figure


def _latency(sales: Sequence[Measured]) -> Drawn:
    figure, both = _figure(len(KINDS))
    for axes, kind in zip(both, KINDS, strict=True):
        lines: list[Line] = []
        for place, sale in enumerate(sales):
            latency = sale.load.accepted[kind]
            # the slowest of n requests stands at 1 - 1/2n, right of every share that has samples beyond it
            shares = [(min(share, 1 - 0.5 / latency.count), ms) for share, ms in latency.distribution if share >= 0.5]
            points = [(1 / (1 - share), ms) for share, ms in shares]
            lines.append((f"{sale.clients:,}", points, _SERIES[(place - len(sales)) % len(_SERIES)]))
        axes.set(title=f"{kind}, by number of clients", yscale="log", ylabel="milliseconds")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        _plot(axes, lines, "share that took no longer", {2: "50 %", 10: "90 %", 100: "99 %", 1000: "99.9 %"})
    text = "From sending to the whole response, waiting for a retry included. Each line ends at the slowest request"
    return "latency", "Latency of accepted requests", text, figure


def _throughput(findings: Findings, sales: Sequence[Measured]) -> Drawn:
    figure, (axes,) = _figure()
    last, lines = sales[-1].web, list[Line]()
    for web in sorted({sale.web for sale in sales}):
        points = [(sale.clients, sale.requests_per_second) for sale in sales if sale.web == web]
        lines.append((f"this service, {web} web", points, ACCENT if web == last else OCHRE))
    for server, name, colour in ((HANDLER, "constant, its handler", INK), (STOCK, "constant, stock Hypercorn", SOFT)):
        rows = [row for row in findings.baselines if (row.title, row.web) == (server, last)]
        lines.append((name, [(row.clients, row.requests_per_second) for row in rows], colour))
    axes.set(ylabel="requests per second", ylim=(0, 1.08 * max(y for _, points, _ in lines for _, y in points)))
    _plot(axes, lines, "clients", {sale.clients: f"{sale.clients:,}" for sale in sales}, marker="o")
    text = f"Constants from {last} web. A sale is two requests, each durable before its response"
    return "throughput", "Throughput next to the baseline servers", text, figure


def _cpu(sales: Sequence[Measured]) -> Drawn:
    rows: list[tuple[str, list[tuple[float, str]]]] = []
    for sale in sales:
        name = f"{sale.size:,}, {sale.clients:,} clients, {sale.web} web" + (f", {sale.rate:,g}/s" if sale.rate else "")
        spent = dict.fromkeys(_PROCESSES, 0.0)
        for process in sale.processes:
            spent[process.name.split(".")[0]] += 1e6 * process.cpu_seconds / sale.sales
        rows.append((name, [(spent[kind], colour) for kind, colour in _PROCESSES.items()]))
    figure, axes = _bars(rows, "CPU µs per sale")
    for place, (head, colour) in enumerate(_PROCESSES.items()):
        axes.annotate(head, (place / 5, 1.02), xycoords="axes fraction", color=colour, weight="bold")
    text = "CPU of a checkout and a purchase. The load generator runs on the same machine and takes its share of it"
    return "cpu", "Where the CPU time of a sale goes", text, figure


def _costs(rows: Sequence[Measured]) -> Drawn:
    bars = [(row.title, [(row.cpu_us_per_request or 0.0, ACCENT if row.load.refusals else GREEN)]) for row in rows]
    text = "CPU of the service and its stores, accepted (green) and refused. A refused checkout is recorded too"
    return "refusals", "Cost of refusals compared with sales", text, _bars(bars, "CPU µs per request")[0]


def _figure(count: int = 1, height: float = 4.6) -> tuple[Figure, list[Axes]]:
    """Room is left above for title and text, and below for machine and command."""
    layout = ConstrainedLayoutEngine(rect=(0, 0.5 / height, 1, 1 - 1.2 / height))
    figure = Figure(figsize=(9, height), layout=layout)
    return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def _plot(axes: Axes, lines: Sequence[Line], x_name: str, ticks: dict[int, str], marker: str = "") -> None:
    """Over a logarithmic axis. Each label is beside the last point, pushed up where it would cover the one below."""
    for _, points, colour in lines:
        axes.plot(*zip(*points, strict=True), color=colour, marker=marker, linewidth=2)
    axes.set(xscale="log", xlabel=x_name)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(list(ticks), list(ticks.values()))
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * max(1.2, (high / low) ** 0.3))
    axes.yaxis.set_major_formatter("{x:,g}")
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # settles the layout, which places depend on
    height = -math.inf
    for text, points, colour in sorted(lines, key=lambda line: line[1][-1][1]):
        place = float(axes.transData.transform(points[-1])[1]) * 72 / figure.dpi
        height = max(place, height + 13)
        _label(axes, text, *points[-1], colour, (8, height - place))


def _label(axes: Axes, text: str, x: float, y: float, colour: str, offset: tuple[float, float] = (8, 0)) -> None:
    """`offset` is in points."""
    axes.annotate(text, (x, y), offset, textcoords="offset points", color=colour, va="center")


def _bars(rows: Sequence[tuple[str, list[tuple[float, str]]]], name: str) -> tuple[Figure, Axes]:
    """Horizontal and stacked, with the sum at the end."""
    figure, (axes,) = _figure(height=2.1 + 0.34 * len(rows))
    for place, (_, parts) in enumerate(rows):
        left = 0.0
        for value, colour in parts:
            axes.barh(-place, value, left=left, height=0.62, color=colour)
            left += value
        _label(axes, f"{left:,.0f}", left, -place, INK, (5, 0))
    axes.set_yticks(range(0, -len(rows), -1), [title for title, _ in rows])
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    axes.set_xlabel(name)
    return figure, axes


def _finished(facts: dict[str, str], drawn: Drawn) -> str:
    """Title above, machine and command below; named for screen readers."""
    _, title, text, figure = drawn
    height = figure.get_size_inches()[1]
    figure.text(0.008, 1 - 0.2 / height, title, fontsize=14, weight="bold", va="center")
    figure.text(0.008, 1 - 0.48 / height, text, color=SOFT, va="center")
    command = textwrap.shorten(facts["Command"], 128, placeholder=" …")
    below = f"{facts['Machine']}, {facts['Date'].split()[0]}\n$ {command}"
    figure.text(0.008, 0.25 / height, below, color=SOFT, fontsize=8, va="center", parse_math=False)
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = file.getvalue()
    return svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
