"""The pictures: findings in, SVG out. Lines and bars are labelled directly, and amounts begin at zero.

Every colour is replaced by a CSS variable, so that one file suits light and dark, in a page or on its own.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from benchmarks.findings import GENERATOR, HANDLER, STOCK, Findings, SaleFigures
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
"""Light and dark. `plum` and `soft` are for what is not the service itself."""
INK, SOFT, RULE, ACCENT, GREEN, BLUE, OCHRE, PLUM = (light for light, _ in COLOURS.values())
_SERIES = (SOFT, BLUE, GREEN, OCHRE, PLUM, ACCENT)
_PROCESSES = (("web", ACCENT), ("inventory", BLUE), ("PostgreSQL", GREEN), ("Valkey", OCHRE), (GENERATOR, SOFT))

mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["system-ui", "DejaVu Sans", "sans-serif"],
        "font.size": 11,
        "text.color": INK,
        "axes.labelcolor": SOFT,
        "axes.edgecolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": RULE,
        "grid.linewidth": 1.0,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "lines.linewidth": 2.2,
        "lines.markersize": 5,
    }
)


class Picture(NamedTuple):
    """`name` is a file's name without its ending."""

    name: str
    title: str
    svg: str


class Label(NamedTuple):
    """A text beside the last point of a line, in the line's colour."""

    text: str
    x: float
    y: float
    colour: str


def draw(findings: Findings) -> list[Picture]:
    """Every picture for which something was measured."""
    mpl.use("svg")
    return [_finished(findings, *drawn) for drawn in _all(findings)]


Drawn = tuple[str, str, str, Figure]
Line = tuple[str, Sequence[tuple[float, float]], str]


def _all(findings: Findings) -> Iterator[Drawn]:
    closed = [sale for sale in findings.closed_loops() if sale.sales]
    if closed:
        of_web = [sale for sale in closed if sale.web == closed[-1].web]
        yield _sold_over_time(of_web)
        yield _latency(of_web)
        yield _throughput(findings, of_web)
        if len({sale.web for sale in closed}) > 1:
            yield _over_web(closed)
    with_cpu = [sale for sale in findings.sales if sale.cpu_us_per_sale]
    if with_cpu:
        yield _cpu(with_cpu)
    if findings.request_costs:
        yield _request_costs(findings)
    if findings.ceilings:
        yield _commits(findings)


def _sold_over_time(sales: Sequence[SaleFigures]) -> Drawn:
    figure, (axes,) = _figure()
    stock = max(sale.counts.stock for sale in sales)
    for place, (sale, colour) in enumerate(zip(sales, _colours(len(sales)), strict=True)):
        points = sale.load.sold_over_time
        axes.plot(*zip(*points, strict=True), color=colour)
        # right of its curve, at a height of its own, so that steep neighbours do not share a place
        height = points[-1][1] * (0.1 + 0.8 * place / len(sales))
        x = next(x for x, y in points if y >= height)
        text = f"{sale.clients:,} clients"
        axes.annotate(text, (x, height), (7, -5), textcoords="offset points", color=colour, va="center")
    axes.axhline(stock, color=ACCENT, linestyle=(0, (2, 2)), linewidth=1.4)
    axes.annotate(f"{stock:,} items, never crossed", (0, stock), (2, 5), textcoords="offset points", color=ACCENT)
    _amounts(axes, stock * 1.12, "items sold")
    axes.set_xlim(0, max(sale.load.seconds for sale in sales) * 1.15)
    axes.set_xlabel("seconds after the first request")
    return "sold", "Items sold over time", "Each purchase when its buyer heard of it, one line per sale", figure


def _latency(sales: Sequence[SaleFigures]) -> Drawn:
    figure, both = _figure(len(KINDS), share_y=True)
    ends = []
    for axes, kind in zip(both, KINDS, strict=True):
        labels = []
        for sale, colour in zip(sales, _colours(len(sales)), strict=True):
            points = [(share, ms) for share, ms in sale.load.accepted[kind].distribution if share >= 0.5]
            # as far right as there are samples: the maximum of n samples stands at 1 - 1/n
            last = 1 - 1 / max(2, sale.load.accepted[kind].count)
            xs = [-math.log10(1 - min(share, last)) for share, _ in points]
            axes.plot(xs, [ms for _, ms in points], color=colour)
            labels.append(Label(f"{sale.clients:,}", xs[-1], points[-1][1], colour))
        _logarithmic(axes, "milliseconds" if kind == KINDS[0] else "")
        axes.set_title(f"{kind}, clients at the end of each line", loc="left", fontsize=11, color=SOFT)
        shares = (0.5, 0.9, 0.99, 0.999, 0.9999)
        axes.xaxis.set_major_locator(FixedLocator([-math.log10(1 - share) for share in shares]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - 10**-x):.4g} %"))
        axes.set_xlim(-math.log10(0.5), max(label.x for label in labels) + 0.7)
        axes.set_xlabel("share of requests that were not slower, up to the slowest")
        ends.append((axes, labels))
    for axes, labels in ends:
        _label_ends(axes, labels)
    title = "Latency of accepted requests"
    return "latency", title, "From sending to the whole response, waits for a retry included", figure


def _throughput(findings: Findings, sales: Sequence[SaleFigures]) -> Drawn:
    web = sales[-1].web
    figure, (axes,) = _figure()
    baselines = [row for row in findings.baselines if row.web == web]
    lines: list[Line] = [("this service", [(sale.clients, sale.load.responses_per_second) for sale in sales], ACCENT)]
    for server, name, colour in ((HANDLER, "constant, its handler", INK), (STOCK, "constant, stock Hypercorn", SOFT)):
        lines.append((name, [(r.clients, r.requests_per_second) for r in baselines if r.server == server], colour))
    _lines(axes, lines, "clients", "requests per second")
    text = f"With {web} web process{'es' if web > 1 else ''}. A sale is two requests, each durable before its response"
    return "throughput", "Throughput next to the baseline servers", text, figure


def _over_web(sales: Sequence[SaleFigures]) -> Drawn:
    figure, (axes,) = _figure()
    clients = sorted({sale.clients for sale in sales})
    lines: list[Line] = [
        (f"{n:,} clients", [(s.web, s.sales_per_second) for s in sales if s.clients == n], colour)
        for n, colour in zip(clients, _colours(len(clients)), strict=True)
    ]
    _lines(axes, lines, "web processes", "sales per second")
    text = "More of them help as long as there are cores for them"
    return "web", "Throughput by number of web processes", text, figure


def _cpu(sales: Sequence[SaleFigures]) -> Drawn:
    rows = [
        (_name(sale), [(_microseconds(sale, kind), colour) for kind, colour in _PROCESSES]) for sale in reversed(sales)
    ]
    figure = _bars(rows, [kind for kind, _ in _PROCESSES], "CPU µs per sale")
    text = "By kind of process; the load generator runs on the same machine. A sale is a checkout and a purchase"
    return "cpu", "Where the CPU time of a sale goes", text, figure


def _microseconds(sale: SaleFigures, kind: str) -> float:
    spent = [process.cpu_seconds for process in sale.measured.processes if process.name.split(".")[0] == kind]
    return 1e6 * sum(spent) / sale.sales if sale.sales else 0.0


def _name(sale: SaleFigures) -> str:
    if sale.kind == "clients":
        return f"{sale.clients:,} clients, {sale.web} web"
    return f"{sale.size:,} items" if sale.kind == "size" else f"{sale.rate:,g} sales per second"


def _request_costs(findings: Findings) -> Drawn:
    rows = [
        (cost.title, [(cost.cpu_us_per_request or 0.0, GREEN if cost.outcome in ("issued", "sold") else ACCENT)])
        for cost in reversed(findings.request_costs)
    ]
    text = "CPU of the service and its stores for one request, accepted or refused. A refused checkout is recorded too"
    return "refusals", "Cost of refusals compared with sales", text, _bars(rows, [], "CPU µs per request")


def _commits(findings: Findings) -> Drawn:
    assert findings.ceilings is not None
    rows = findings.ceilings.commits
    figure, (axes,) = _figure()
    lines: list[Line] = [
        ("a checkout", [(row.batch, row.checkout_us_per_row) for row in rows], ACCENT),
        ("a purchase", [(row.batch, row.purchase_us_per_row) for row in rows], BLUE),
    ]
    _lines(axes, lines, "rows per commit", "µs per row", is_logarithmic=True)
    text = "One connection, the service's own statements, fsync on: what a durable row costs at best"
    return "commits", "PostgreSQL: group commit", text, figure


def _figure(count: int = 1, *, share_y: bool = False, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    layout = ConstrainedLayoutEngine(rect=(0.01, 0.3 / height, 0.98, 1 - 1.0 / height))
    figure = Figure(figsize=(7.6 if count == 1 else 10.4, height), layout=layout)
    return figure, list(figure.subplots(1, count, sharey=share_y, squeeze=False)[0])


def _colours(count: int) -> tuple[str, ...]:
    """The last line is the accented one."""
    return tuple(_SERIES[max(0, len(_SERIES) - count) :][place % len(_SERIES)] for place in range(count))


def _lines(axes: Axes, lines: Sequence[Line], x_name: str, y_name: str, *, is_logarithmic: bool = False) -> None:
    """Lines over a logarithmic axis that names exactly the values that were measured."""
    labels = []
    for name, points, colour in lines:
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker="o")
            labels.append(Label(name, *points[-1], colour))
    xs = sorted({x for _, points, _ in lines for x, _ in points})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(xs))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlim(min(xs) / 1.15, max(xs) * max(1.5, (max(xs) / min(xs)) ** 0.42))
    axes.set_xlabel(x_name)
    if is_logarithmic:
        _logarithmic(axes, y_name)
    else:
        _amounts(axes, max(y for _, points, _ in lines for _, y in points) * 1.08, y_name)
    _label_ends(axes, labels)


def _label_ends(axes: Axes, labels: Sequence[Label], gap_pixels: float = 19.0) -> None:
    """Each label beside its point, pushed up where it would cover the one below."""
    dpi = _settled(axes)
    height = -math.inf
    for label in sorted(labels, key=lambda label: label.y):
        place = float(axes.transData.transform((label.x, label.y))[1])
        height = max(place, height + gap_pixels)
        offset = (8, (height - place) * 72 / dpi)
        axes.annotate(
            label.text, (label.x, label.y), offset, textcoords="offset points", color=label.colour, va="center"
        )


def _settled(axes: Axes) -> float:
    """Fix the layout, which places depend on; dots per inch."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    return float(figure.dpi)


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
    figure, (axes,) = _figure(height=1.9 + 0.36 * len(rows))
    for place, (_, parts) in enumerate(rows):
        left = 0.0
        for value, colour in parts:
            axes.barh(place, value, left=left, height=0.62, color=colour)
            left += value
        axes.annotate(f"{left:,.0f}", (left, place), (5, 0), textcoords="offset points", va="center")
    axes.set_ylim(-0.6, len(rows) - (0.1 if heads else 0.4))
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, max(sum(value for value, _ in parts) for _, parts in rows) * 1.1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel(name)
    _label_parts(axes, len(rows) - 1, rows[-1][1], heads)
    return figure


def _label_parts(axes: Axes, place: float, parts: Sequence[tuple[float, str]], heads: Sequence[str]) -> None:
    """The name of each part above the middle of it, pushed right where it would cover the one before."""
    dpi = _settled(axes)
    left = end = 0.0
    for head, (value, colour) in zip(heads, parts, strict=False):
        start = max(end, float(axes.transData.transform((left, 0))[0]))
        x = float(axes.transData.inverted().transform((start, 0))[0])
        axes.annotate(head, (x, place + 0.36), (0, 3), textcoords="offset points", color=colour)
        end = start + (7 * len(head) + 12) * dpi / 72
        left += value


def _finished(findings: Findings, name: str, title: str, text: str, figure: Figure) -> Picture:
    """Title above, machine and command below, colours as CSS variables."""
    inch = figure.get_size_inches()[1]
    figure.text(0.01, 1 - 0.26 / inch, title, fontsize=14, fontweight=600, va="center")
    figure.text(0.01, 1 - 0.5 / inch, text, color=SOFT, va="center")
    machine = findings.machine
    below = f"{machine.cpu}, {machine.cores} cores, {machine.date.split()[0]}   $ {machine.command}"
    figure.text(
        0.01, 0.14 / inch, below if len(below) < 130 else below[:129] + "…", color=SOFT, fontsize=9, va="center"
    )
    file = io.StringIO()
    nothing: dict[str, str] = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # type: ignore[assignment]
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return Picture(name, title, _themed(file.getvalue(), title))


def _themed(svg: str, title: str) -> str:
    """Smaller, named for screen readers, and with the reader's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # unique in a file, but not in a page of several
    svg = re.sub(r"font: ([^;\"]*?)'system-ui'[^;\"]*", r"font: \1system-ui, sans-serif", svg)
    for name, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--{name})")
    schemes = [";".join(f"--{name}:{pair[n]}" for name, pair in COLOURS.items()) for n in (0, 1)]
    style = f"svg{{{schemes[0]}}}@media (prefers-color-scheme: dark){{svg{{{schemes[1]}}}}}"
    svg = svg.replace('<style type="text/css">', f'<style type="text/css">{style}', 1)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
