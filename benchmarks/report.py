"""The findings as tables: for a terminal with `rich`, and as Markdown. Pure: it judges nothing and hides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from benchmarks.findings import HANDLER, STOCK, Findings, SaleFigures
from benchmarks.load.buyers import KINDS
from benchmarks.stats import Latency


class Table(NamedTuple):
    """Heads may have several lines; rows are as long as `heads`."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


_SALE = ("sale", "web", "clients")
_LATENCY = ("p50", "p95", "p99", "max")


def tables(findings: Findings) -> Iterator[Table]:
    """Every table that has a row."""
    for make in (_sales, _latencies, _usage, _baselines, _commits, _round_trips, _request_costs):
        table = make(findings)
        if table.rows:
            yield table


def number(value: float | None, digits: int = 0) -> str:
    """For people; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.{digits}f}"


def _sale(sale: SaleFigures) -> tuple[str, str, str]:
    return f"{sale.size:,}" + (f" at {sale.rate:,g}/s" if sale.rate else ""), str(sale.web), f"{sale.clients:,}"


def _milliseconds(latency: Latency, digits: int = 1) -> tuple[str, ...]:
    figures = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
    return tuple(number(value, digits) for value in figures)


def _sales(findings: Findings) -> Table:
    heads = [*_SALE, "seconds", "sales/s", "sold", "refused", "rejected", "CPU µs\nper sale"]
    heads += ["of its\nhandler", "of stock\nHypercorn", "rows per\ncommit"]
    rows = []
    for sale in findings.sales:
        figures = (number(sale.seconds, 2), number(sale.sales_per_second), number(sale.sales), number(sale.refused))
        ratios = (number(sale.ratios.get(server), 2) for server in (HANDLER, STOCK))
        costs = (number(sale.load.rejected), number(sale.cpu_us_per_sale), *ratios, _rows_per_commit(sale))
        rows.append((*_sale(sale), *figures, *costs))
    return Table("Whole sales: a durable checkout and a durable purchase each", heads, rows)


def _rows_per_commit(sale: SaleFigures) -> str:
    """Checkouts + purchases that one commit carried on average: what a durable row costs depends on it most."""
    counts = sale.counts
    if not counts.checkout_commits:
        return "-"
    checkouts = sum(counts.attempts.values()) / counts.checkout_commits
    return f"{checkouts:,.1f} + {counts.purchases / max(1, counts.purchase_commits):,.1f}"


def _latencies(findings: Findings) -> Table:
    heads = tuple(f"{kind}\n{name}" for kind in KINDS for name in _LATENCY)
    rows = [
        (*_sale(sale), *(text for kind in KINDS for text in _milliseconds(sale.load.accepted[kind])))
        for sale in findings.sales
    ]
    return Table("Latency of accepted requests, ms", (*_SALE, *heads), rows)


def _usage(findings: Findings) -> Table:
    rows = []
    for sale in findings.sales:
        for process in sale.measured.processes:
            each = 1e6 * process.cpu_seconds / sale.sales if sale.sales else None
            peak = process.memory_peak_bytes and process.memory_peak_bytes / 1e6
            rows.append((*_sale(sale), process.name, number(process.cpu_seconds, 2), number(each), number(peak)))
    return Table(
        "CPU and peak memory of each process", (*_SALE, "process", "CPU s", "CPU µs\nper sale", "peak MB"), rows
    )


def _baselines(findings: Findings) -> Table:
    heads = ("baseline", "web", "clients", "requests/s", "CPU µs\nper request", *(f"{name} ms" for name in _LATENCY))
    rows = [
        (
            *(row.server, str(row.web), f"{row.clients:,}"),
            *(number(row.requests_per_second), number(row.cpu_us_per_request)),
            *_milliseconds(row.measured.load.accepted["checkout"]),
        )
        for row in findings.baselines
    ]
    return Table("Baseline servers, which answer a constant", heads, rows)


def _commits(findings: Findings) -> Table:
    heads = ("rows per commit", "µs per checkout", "µs per purchase", "sales/s")
    rows = [
        (
            *(f"{row.batch:,}", number(row.checkout_us_per_row, 1)),
            *(number(row.purchase_us_per_row, 1), number(row.sales_per_second)),
        )
        for row in (findings.ceilings.commits if findings.ceilings else ())
    ]
    return Table("Ceiling: one PostgreSQL connection, group commit", heads, rows)


def _round_trips(findings: Findings) -> Table:
    trips = findings.ceilings.round_trips if findings.ceilings else {}
    rows = [(name, *_milliseconds(latency, 3)) for name, latency in trips.items()]
    return Table("Ceiling: round trips", ("what", *(f"{name} ms" for name in _LATENCY)), rows)


def _request_costs(findings: Findings) -> Table:
    heads = ("request", "requests/s", "CPU µs\nper request", *(f"{name} ms" for name in _LATENCY))
    rows = [
        (row.title, number(row.requests_per_second), number(row.cpu_us_per_request), *_milliseconds(row.latency))
        for row in findings.request_costs
    ]
    return Table("Cost of refusals compared with sales", heads, rows)


def remarks(findings: Findings) -> Iterator[tuple[str, str]]:
    """What is wrong, what casts doubt and what is missing, most important first."""
    yield from (("WRONG", text) for text in findings.wrong)
    yield from (("note", text) for text in findings.notes)
    yield from (("not measured", text) for text in findings.not_measured)


def print_report(findings: Findings, console: Console) -> None:
    """All tables, then the verdict, last because it stays in view."""
    for line in findings.machine.lines():
        console.print(line, style="dim", soft_wrap=True, markup=False)
    for table in tables(findings):
        console.print(_rich(table), crop=False, no_wrap=True)
    for kind, text in remarks(findings):
        console.print(f"{kind}: {text}", style="bold red" if kind == "WRONG" else "", soft_wrap=True, markup=False)
    console.print(findings.verdict(), style="bold red" if findings.wrong else "bold green", soft_wrap=True)


def _rich(table: Table) -> RichTable:
    shown = RichTable(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(table.heads):
        shown.add_column(head, justify="right" if place else "left", no_wrap=True)
    for row in table.rows:
        shown.add_row(*row)
    return shown


def markdown(findings: Findings, pictures: Sequence[str]) -> str:
    """The same for `docs/`, with `pictures` between verdict and tables."""
    blocks = ["\n".join(f"- {line}" for line in (*findings.machine.lines(), f"`{findings.machine.command}`"))]
    blocks.append(f"**{findings.verdict().capitalize()}.**")
    blocks += [*pictures, *(_markdown(table) for table in tables(findings))]
    blocks.append("\n".join(f"- {kind}: {text}" for kind, text in remarks(findings)))
    return "\n\n".join(block for block in blocks if block)


def _markdown(table: Table) -> str:
    lines = [f"### {table.title}", ""]
    cells = [tuple(head.replace("\n", " ") for head in table.heads), ("---", *["--:"] * (len(table.heads) - 1))]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in (*cells, *table.rows))])
