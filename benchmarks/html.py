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

STYLE = (
    f":root{{--paper:#faf8f4;{';'.join(f'--{name}:{pair[0]}' for name, pair in COLOURS.items())}}}"
    "@media (prefers-color-scheme: dark){:root{--paper:#141310;"
    f"{';'.join(f'--{name}:{pair[1]}' for name, pair in COLOURS.items())}}}}}"
    """
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;
font-variant-numeric:tabular-nums}
main{max-width:1120px;margin:0 auto;padding:44px 20px 72px}
h1{font-size:28px;font-weight:650;margin:0 0 4px}
h2{font-size:20px;font-weight:650;margin:56px 0 12px}
p{max-width:68ch;margin:0 0 12px}
ul{max-width:80ch;padding-left:20px}
.good{color:var(--green)}.bad{color:var(--accent)}
.facts{color:var(--soft);font-size:14px;max-width:none;overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:28px;margin:40px 0 0}
.tiles p{margin:0;color:var(--soft);font-size:14px;line-height:1.4}
.tiles b{display:block;color:var(--ink);font-size:44px;font-weight:650;line-height:1.15}
figure{margin:52px 0 0}
figure svg{width:100%;height:auto;max-width:980px;display:block}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:14px;white-space:nowrap}
th,td{padding:5px 0 5px 24px;text-align:right;border-bottom:1px solid var(--rule)}
th{color:var(--soft);font-weight:400;vertical-align:bottom;white-space:pre-line}
th:first-child,td:first-child{padding-left:0;text-align:left}
@media (max-width:640px){main{padding:24px 14px}.tiles{grid-template-columns:1fr 1fr;gap:20px}.tiles b{font-size:28px}
figure{overflow-x:auto}figure svg{min-width:560px}}
"""
)


def render(findings: Findings, pictures: Sequence[Picture]) -> str:
    """The whole document."""
    verdict = findings.verdict()
    kind = "bad" if findings.wrong else "good"
    doubts = [text for kind, text in remarks(findings) if kind != "not measured"]
    facts = [*findings.machine.lines(), f"$ {findings.machine.command}"]
    facts += [f"{name}={value}" for name, value in findings.machine.settings.items()]
    versions = ", ".join(f"{name} {text}" for name, text in findings.machine.versions.items())
    parts = [
        f'<h1>flash benchmark</h1>\n<p class="{kind}"><b>{escape(_sentence(verdict))}</b></p>',
        _list(doubts),
        f'<p class="facts">{"<br>".join(map(escape, facts))}</p>',
        _tiles(findings),
        *(f"<figure>{picture.svg}</figure>" for picture in pictures),
        *map(_table, tables(findings)),
        f"<h2>How it was measured</h2>{METHOD}",
        f"<h2>What was not measured</h2>{_list(findings.not_measured)}",
        f'<p class="facts">{escape(versions)}</p>',
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>flash benchmark, {findings.machine.date}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(parts)}\n</main>\n</body>\n</html>\n"
    )


def _tiles(findings: Findings) -> str:
    """The figures that one looks for first, of the fastest sale."""
    closed = findings.closed_loops()
    if not closed:
        return "<p>No sale was measured.</p>"
    best = max(closed, key=lambda sale: sale.sales_per_second)
    share = best.ratios.get(HANDLER)
    tiles = [
        (number(best.sales_per_second), "sales per second, each two durable requests"),
        (f"{best.seconds:.2f} s", f"for a sale of {best.size:,} with {best.clients:,} clients"),
        (number(best.load.accepted["purchase"].p99_ms) + " ms", "p99 of a purchase in that sale"),
        (number(best.cpu_us_per_sale) + " µs", "of CPU per sale, all processes and stores"),
        (number(share and share * 100) + " %", "of what its HTTP handler does with a constant"),
    ]
    return '<div class="tiles">' + "".join(f"<p><b>{big}</b>{small}</p>" for big, small in tiles) + "</div>"


def _table(table: Table) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in table.heads)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    shown = f"<table><thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<section><h2>{escape(table.title)}</h2><div class="scroll">{shown}</div></section>'


def _list(texts: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(_sentence(text))}</li>" for text in texts)
    return f"<ul>{items}</ul>" if items else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def write_docs(folder: Path, findings: Findings, pictures: Sequence[Picture]) -> None:
    """Replace what stands between the marks in `folder/benchmarks.md`. Raises `OperatorError` if they are missing."""
    page = folder / "benchmarks.md"
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise OperatorError(f"{page} has no place for a result: it needs the lines {BEGIN} and {END}")
    (folder / "benchmarks").mkdir(exist_ok=True)
    for old in (folder / "benchmarks").glob("*.svg"):
        old.unlink()
    for picture in pictures:
        (folder / "benchmarks" / f"{picture.name}.svg").write_text(picture.svg)
    links = [f"![{picture.title}](benchmarks/{picture.name}.svg)" for picture in pictures]
    page.write_text(
        f"{text.partition(BEGIN)[0]}{BEGIN}\n\n{markdown(findings, links)}\n\n{END}{text.partition(END)[2]}"
    )
