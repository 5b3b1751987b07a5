"""The report as one HTML file that refers to nothing else, and as a section of `docs/benchmarks.md`.

Light or dark as the reader's system is; readable on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from benchmarks.findings import HANDLER, Findings
from benchmarks.plots import COLOURS, Picture
from benchmarks.report import Table, markdown, number, remarks, tables
from flash.errors import OperatorError

BEGIN, END = "<!-- result: written by scripts/bench --docs -->", "<!-- end of the result -->"

METHOD = """
<p>Buyers are a closed loop: each checks out the next item that nobody has asked for yet, buys it with the code, and
goes on. When none is left they try items at random until they hear that the sale is sold out. A 503 is repeated after
its <code>Retry-After</code>, a purchase under the same <code>Idempotency-Key</code>; the wait counts as latency. A sale
lasts from the first request to the last purchase that a buyer heard of. In an open loop (<code>--rate</code>), a visit
begins on schedule whatever became of the others, and its latency counts from when it was due.</p>
<p>The load generator is one process on the same machine, on raw sockets. The baselines and ceilings were measured in
the same run. Percentiles are nearest ranks of all samples. CPU is user and system time, in ticks of 10 ms; memory is
the peak of the largest process of its kind, which for PostgreSQL includes shared buffers. Counts were re-read from the
database after each sale and judged by <code>flash audit</code>. No figure is a pass or a fail.</p>
"""


def render(findings: Findings, pictures: Sequence[Picture]) -> str:
    """The whole document."""
    facts = "<br>".join(escape(f"{name}: {fact}") for name, fact in findings.machine.facts.items())
    verdict = f'<p class="{"bad" if findings.wrong else "good"}"><b>{escape(findings.verdict())}.</b></p>'
    parts = [
        f"<h1>flash benchmark</h1>{verdict}",
        _list(text for kind, text in remarks(findings) if kind != "not measured"),
        f'<p class="facts">{facts}</p>{_tiles(findings)}',
        *(f"<figure>{picture.svg}</figure>" for picture in pictures),
        *map(_table, tables(findings)),
        f"<h2>How it was measured</h2>{METHOD}",
        f"<h2>What was not measured</h2>{_list(findings.not_measured)}",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>flash benchmark</title>\n<style>\n{_style()}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(parts)}\n</main>\n</body>\n</html>\n"
    )


def _style() -> str:
    light, dark = (";".join(f"--{name}:{pair[n]}" for name, pair in COLOURS.items()) for n in (0, 1))
    themes = (
        f":root{{--paper:#faf8f4;{light}}}\n@media (prefers-color-scheme: dark){{:root{{--paper:#141310;{dark}}}}}\n"
    )
    return themes + Path(__file__).with_name("report.css").read_text()


def _tiles(findings: Findings) -> str:
    """The figures that one looks for first, of the fastest sale."""
    closed = [sale for sale in findings.sales if sale.kind == "clients"]
    if not closed:
        return "<p>No sale was measured.</p>"
    best = max(closed, key=lambda sale: sale.sales_per_second)
    tiles = [
        (number(best.sales_per_second), "sales per second, each two durable requests"),
        (f"{best.seconds:.2f} s", f"for a sale of {best.size:,} with {best.measured.clients:,} clients"),
        (number(best.load.accepted["purchase"].p99_ms) + " ms", "p99 of a purchase in that sale"),
        (number(best.cpu_us_per_sale) + " µs", "of CPU per sale, all processes and stores"),
        (number(100 * best.ratios.get(HANDLER, 0)) + " %", "of what its HTTP handler does with a constant"),
    ]
    return '<div class="tiles">' + "".join(f"<p><b>{big}</b>{small}</p>" for big, small in tiles) + "</div>"


def _table(table: Table) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in table.heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    shown = f"<table><thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<section><h2>{escape(table.title)}</h2><div class="scroll">{shown}</div></section>'


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(text[:1].upper() + text[1:])}.</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def write_docs(folder: Path, findings: Findings, pictures: Sequence[Picture]) -> None:
    """Replace what stands between the marks in `folder/benchmarks.md`. Raises `OperatorError` if they are missing."""
    page, plots = folder / "benchmarks.md", folder / "benchmarks"
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise OperatorError(f"{page} has no place for a result: it needs the lines {BEGIN} and {END}")
    plots.mkdir(exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    for picture in pictures:
        (plots / f"{picture.name}.svg").write_text(picture.svg)
    links = [f"![{picture.title}]({plots.name}/{picture.name}.svg)" for picture in pictures]
    page.write_text(f"{before}{BEGIN}\n\n{markdown(findings, links)}\n\n{END}{after}")
