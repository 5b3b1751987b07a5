"""The findings as tables: for a terminal, as Markdown and as one HTML file. It judges nothing and hides nothing."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import TypeAlias

import orjson
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.findings import HANDLER, STOCK, Findings, Measured
from benchmarks.load import KINDS
from benchmarks.options import Options
from benchmarks.stats import Latency
from flash.errors import OperatorError

BEGIN, END = "<!-- result: written by scripts/bench --docs -->", "<!-- end of the result -->"
_MS = ("p50 ms", "p95 ms", "p99 ms", "max ms")
_SALE = ("seconds", "sales/s", "sold", "refused", "rejected", "CPU µs\nper sale", "of its\nhandler")

Rows: TypeAlias = list[Sequence[str]]
"""Cells, ready to be shown. The first row has the heads, which may have two lines."""


def tables(findings: Findings) -> Iterator[tuple[str, Rows]]:
    """Titles and rows."""
    sales = findings.sales
    names = max(([used.name for used in sale.processes] for sale in sales), key=len, default=[])

    def of_sales(heads: Sequence[str], cells: Callable[[Measured], Sequence[str]]) -> Rows:
        sizes = [f"{sale.size:,}" + (f" at {sale.rate:,g}/s" if sale.rate else "") for sale in sales]
        rows = [(size, *_place(sale), *cells(sale)) for size, sale in zip(sizes, sales, strict=True)]
        return [("sale", "web", "clients", *heads), *rows]

    def of_processes(sale: Measured) -> list[str]:
        used = {one.name: (one.cpu_seconds, one.memory_peak_bytes) for one in sale.processes}
        return [f"{used[n][0]:,.2f} s {_number(used[n][1], unit=1e6)} MB" if n in used else "-" for n in names]

    def of_requests(rows: Sequence[Measured]) -> Rows:
        rates = [(_number(row.requests_per_second), _number(row.cpu_us_per_request)) for row in rows]
        cells = [(row.title, *_place(row), *rate, *_ms(row.latency)) for row, rate in zip(rows, rates, strict=True)]
        return [("request", "web", "clients", "requests/s", "CPU µs\nper request", *_MS), *cells]

    yield "Whole sales", of_sales([*_SALE, "of stock\nHypercorn", "rows per\ncommit"], _sale)
    kinds = [f"{kind}\n{name}" for kind in KINDS for name in _MS]
    latencies = of_sales(kinds, lambda sale: [text for kind in KINDS for text in _ms(sale.load.accepted[kind])])
    yield "Latency of accepted requests", latencies
    yield "CPU and memory by process", of_sales(names, of_processes)
    yield "Baseline servers, which answer a constant", of_requests(findings.baselines)
    yield "Cost of refusals compared with sales", of_requests(findings.request_costs)
    heads = ("rows per commit", "µs per checkout", "µs per purchase", "sales/s")
    commits = [(c.batch, c.checkout_us_per_row, c.purchase_us_per_row, c.sales_per_second) for c in findings.commits]
    yield "Ceiling: one PostgreSQL connection, group commit", [heads, *([*map(_number, row)] for row in commits)]
    trips = [(name, *_ms(latency, 3)) for name, latency in findings.round_trips.items()]
    yield "Ceiling: round trips", [("what", *_MS), *trips]
    for table in findings.tables:
        yield table.title, [table.heads, *([*map(_cell, row)] for row in table.rows)]


def _number(value: float | None, digits: int = 0, unit: float = 1) -> str:
    """For people; a dash for what was not measured."""
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def _cell(value: str | float | None) -> str:
    """A number with about three digits that count."""
    if isinstance(value, str):
        return value
    return _number(value, 0 if value is None or isinstance(value, int) or value >= 100 else 1 if value >= 10 else 2)


def _place(row: Measured) -> tuple[str, str]:
    return str(row.web), f"{row.clients:,}"


def _ms(latency: Latency, digits: int = 1) -> list[str]:
    return [_number(n, digits) for n in (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)]


def _sale(sale: Measured) -> list[str]:
    counts, refused = sale.counts, sum(refusal.count for refusal in sale.load.refusals)
    figures = (sale.sales_per_second, sale.sales, refused, sale.load.rejected, sale.cpu_us_per_sale)
    ratios = [_number(sale.ratios.get(server), 2) for server in (HANDLER, STOCK)]
    # checkouts + purchases that one commit carried on average: what a durable row costs depends on it most
    checkouts = sum(counts.attempts.values()) / max(1, counts.checkout_commits)
    rows = f"{checkouts:,.1f} + {counts.purchases / max(1, counts.purchase_commits):,.1f}"
    return [_number(sale.seconds, 2), *map(_number, figures), *ratios, rows if counts.checkout_commits else "-"]


def write(findings: Findings, options: Options) -> None:
    """On the terminal, and to the files that were asked for."""
    _print(findings, Console(highlight=False))
    if options.json:
        options.json.write_bytes(orjson.dumps(findings, option=orjson.OPT_INDENT_2))
    if options.html or options.docs:
        from benchmarks.plots import draw  # matplotlib takes a while, and most runs need none

        pictures = draw(findings)
        if options.html:
            options.html.write_text(_html(findings, [svg for _, svg in pictures.values()]))
        if options.docs:
            _write_docs(options.docs, findings, pictures)


def _print(findings: Findings, console: Console) -> None:
    """All tables, then the verdict, last because it stays in view."""
    console.width = max(console.width, 160)
    for title, (heads, *rows) in tables(findings):
        shown = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for place, head in enumerate(heads):
            shown.add_column(head, justify="right" if place else "left", no_wrap=True)
        for row in rows:
            shown.add_row(*row)
        if rows:
            console.print(shown, crop=False, no_wrap=True)
    for text in (*(f"{name}: {fact}" for name, fact in findings.facts.items()), *findings.remarks()):
        console.print(text, style="bold red" if text.startswith("WRONG") else "", soft_wrap=True, markup=False)
    console.print(findings.headline(), soft_wrap=True)
    console.print(findings.verdict(), style="bold red" if findings.wrong else "bold green", soft_wrap=True)


def _html(findings: Findings, svgs: Sequence[str]) -> str:
    """The whole document, which refers to nothing else: what the terminal shows, the pictures, the method."""
    console = Console(highlight=False, record=True, file=io.StringIO(), width=160)
    _print(findings, console)
    shown = console.export_html(code_format="{code}", inline_styles=True)
    figures = "\n".join(f"<figure>{svg}</figure>" for svg in svgs)
    template = Template(Path(__file__).with_name("report.html").read_text())
    headline = escape(f"{findings.verdict()}. {findings.headline()}")
    return template.substitute(headline=headline, pictures=figures, shown=shown)


def _write_docs(folder: Path, findings: Findings, pictures: dict[str, tuple[str, str]]) -> None:
    """Replace what stands between the marks in `folder/benchmarks.md`. Raises `OperatorError` if they are missing."""
    page, plots = folder / "benchmarks.md", folder / "benchmarks"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise OperatorError(f"{page} has no place for a result: it needs the lines {BEGIN} and {END}")
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    for name, (_, svg) in pictures.items():
        (plots / f"{name}.svg").write_text(svg)
    facts = "\n".join(f"- {name}: {fact}" for name, fact in findings.facts.items())
    blocks = [f"**{findings.verdict()}.** {findings.headline()}", facts]
    blocks += [f"![{title}](benchmarks/{name}.svg)" for name, (title, _) in pictures.items()]
    blocks += [_markdown(title, rows) for title, rows in tables(findings) if len(rows) > 1]
    blocks += ["\n".join(f"- {text}" for text in findings.remarks())]
    page.write_text(before + "\n\n".join([begin, *blocks, end]) + after)


def _markdown(title: str, rows: Rows) -> str:
    heads = [head.replace("\n", " ") for head in rows[0]]
    lines = ["| " + " | ".join(row) + " |" for row in (heads, ["---", *["--:"] * (len(heads) - 1)], *rows[1:])]
    return "\n".join([f"### {title}", "", *lines])
