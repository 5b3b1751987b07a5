"""The findings as tables: for a terminal with `rich`, and as Markdown. Pure: it judges nothing and hides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.findings import HANDLER, STOCK, Findings, Requests, Sale
from benchmarks.load.buyers import KINDS
from benchmarks.stats import Latency
from benchmarks.usage import Usage

_LATENCY = ("p50 ms", "p95 ms", "p99 ms", "max ms")


class Table(NamedTuple):
    """Cells are ready to be shown. A head may have two lines."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(findings: Findings) -> list[Table]:
    """Every table that has a row."""
    sales, ceilings = findings.sales, findings.ceilings
    heads = ("seconds", "sales/s", "sold", "refused", "rejected", "CPU µs\nper sale", "of its\nhandler")
    kinds = [f"{kind}\n{name}" for kind in KINDS for name in _LATENCY]
    names = max(([used.name for used in sale.measured.processes] for sale in sales), key=len, default=[])

    def by_process(cell: Callable[[Usage], str]) -> Callable[[Sale], Sequence[str]]:
        return lambda sale: [{used.name: cell(used) for used in sale.measured.processes}.get(n, "-") for n in names]

    found = [
        _of_sales("Whole sales", [*heads, "of stock\nHypercorn", "rows per\ncommit"], sales, _sale),
        _of_sales("Latency of accepted requests", kinds, sales, _latencies),
        _of_sales("CPU of each process, seconds", names, sales, by_process(lambda used: number(used.cpu_seconds, 2))),
        _of_sales("Peak memory of each process, MB", names, sales, by_process(_megabytes)),
        _of_requests("Baseline servers, which answer a constant", findings.baselines),
        _of_requests("Cost of refusals compared with sales", findings.request_costs),
        Table(
            "Ceiling: one PostgreSQL connection, group commit",
            ("rows per commit", "µs per checkout", "µs per purchase", "sales/s"),
            [
                tuple(map(number, (row.batch, row.checkout_us_per_row, row.purchase_us_per_row, row.sales_per_second)))
                for row in ceilings.commits
            ],
        ),
        Table(
            "Ceiling: round trips",
            ("what", *_LATENCY),
            [(name, *_milliseconds(latency, 3)) for name, latency in ceilings.round_trips.items()],
        ),
    ]
    return [table for table in found if table.rows]


def number(value: float | None, digits: int = 0) -> str:
    """For people; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _of_sales(title: str, heads: Sequence[str], sales: Sequence[Sale], cells: Callable[[Sale], Sequence[str]]) -> Table:
    rows = []
    for sale in sales:
        name = f"{sale.size:,}" + (f" at {sale.rate:,g}/s" if sale.rate else "")
        rows.append((name, str(sale.measured.web), f"{sale.measured.clients:,}", *cells(sale)))
    return Table(title, ("sale", "web", "clients", *heads), rows)


def _sale(sale: Sale) -> Sequence[str]:
    refused = sum(refusal.count for refusal in sale.load.refusals)
    figures = (sale.sales_per_second, sale.sales, refused, sale.load.rejected, sale.cpu_us_per_sale)
    ratios = (number(sale.ratios.get(server), 2) for server in (HANDLER, STOCK))
    return number(sale.seconds, 2), *map(number, figures), *ratios, _rows_per_commit(sale)


def _rows_per_commit(sale: Sale) -> str:
    """Checkouts + purchases that one commit carried on average: what a durable row costs depends on it most."""
    counts = sale.counts
    if not counts.checkout_commits:
        return "-"
    checkouts = sum(counts.attempts.values()) / counts.checkout_commits
    return f"{checkouts:,.1f} + {counts.purchases / max(1, counts.purchase_commits):,.1f}"


def _latencies(sale: Sale) -> Sequence[str]:
    return [text for kind in KINDS for text in _milliseconds(sale.load.accepted[kind])]


def _megabytes(used: Usage) -> str:
    return number(used.memory_peak_bytes and used.memory_peak_bytes / 1e6)


def _of_requests(title: str, rows: Sequence[Requests]) -> Table:
    heads = ("request", "web", "clients", "requests/s", "CPU µs\nper request", *_LATENCY)
    cells = [
        (
            row.title,
            *map(number, (row.measured.web, row.measured.clients, row.requests_per_second)),
            number(row.cpu_us_per_request),
            *_milliseconds(row.latency),
        )
        for row in rows
    ]
    return Table(title, heads, cells)


def _milliseconds(latency: Latency, digits: int = 1) -> tuple[str, ...]:
    figures = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
    return tuple(number(value, digits) for value in figures)


def remarks(findings: Findings) -> Iterator[tuple[str, str]]:
    """What is wrong, what casts doubt and what is missing, most important first."""
    yield from (("WRONG", text) for text in findings.wrong)
    yield from (("note", text) for text in findings.notes)
    yield from (("not measured", text) for text in findings.not_measured)


def print_report(findings: Findings, console: Console) -> None:
    """All tables, then the verdict, last because it stays in view."""
    for table in tables(findings):
        shown = RichTable(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
        for place, head in enumerate(table.heads):
            shown.add_column(head, justify="right" if place else "left", no_wrap=True)
        for row in table.rows:
            shown.add_row(*row)
        console.print(shown, crop=False, no_wrap=True)
    for name, fact in findings.machine.facts.items():
        console.print(f"{name}: {fact}", style="dim", soft_wrap=True, markup=False)
    for kind, text in remarks(findings):
        console.print(f"{kind}: {text}", style="bold red" if kind == "WRONG" else "", soft_wrap=True, markup=False)
    console.print(findings.verdict(), style="bold red" if findings.wrong else "bold green", soft_wrap=True)


def markdown(findings: Findings, pictures: Sequence[str]) -> str:
    """The same for `docs/`, with `pictures` between the verdict and the tables."""
    facts = [f"- {name}: {fact}" for name, fact in findings.machine.facts.items()]
    doubts = [f"- {kind}: {text}" for kind, text in remarks(findings)]
    blocks = [f"**{findings.verdict()}.**", "\n".join(facts), *pictures, *map(_markdown, tables(findings))]
    return "\n\n".join([*blocks, "\n".join(doubts)])


def _markdown(table: Table) -> str:
    heads = [head.replace("\n", " ") for head in table.heads]
    rows = [heads, ["---", *["--:"] * (len(heads) - 1)], *table.rows]
    return "\n".join([f"### {table.title}", "", *("| " + " | ".join(row) + " |" for row in rows)])
