"""The report as one HTML file that refers to nothing else: plots, tables, the machine, and what was not measured.

Light or dark as the reader's system is; readable on a phone. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks import figures
from benchmarks.method import METHOD
from benchmarks.style import STYLE
from benchmarks.table import blocks, number, verdict

Found = Mapping[str, Any]


def render(found: Found) -> str:
    """The whole document."""
    sections = [
        _header(found),
        _section("Whole sales", _tiles(found), is_wide=True),
        _plots(found),
        *(_section(title, _table(head, rows)) for title, head, rows in blocks(found)),
        _section("How it was measured", _method(found)),
        _section("What was not measured", _list(found["not_measured"])),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>flash bench, {escape(found['date'])}</title>\n<style>\n{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{chr(10).join(sections)}\n</main>\n</body>\n</html>\n"
    )


def _header(found: Found) -> str:
    machine, versions = found["machine"], found["versions"]
    facts = [
        ("Machine", f"{machine['cpu']}, {machine['cores']} cores, {number(_gigabytes(machine), 0)} GB"),
        ("System", machine["system"]),
        (
            "Stores",
            ", ".join(f"{name} {versions[name]}" for name in ("PostgreSQL", "Valkey") if name in versions) or "-",
        ),
        (
            "Python",
            ", ".join(f"{name} {text}" for name, text in versions.items() if name not in ("PostgreSQL", "Valkey")),
        ),
        ("Commit", found["commit"] or "unknown"),
        ("Date", found["date"].replace("T", " ").replace("Z", " UTC")),
        ("Load before", f"{machine['load_before']:g}"),
        ("Command", found["command"]),
        ("Settings", ", ".join(f"{name}={value}" for name, value in found["settings"].items()) or "defaults"),
    ]
    rows = "".join(f"<div><dt>{name}</dt><dd>{escape(text)}</dd></div>" for name, text in facts)
    kind = "bad" if found["wrong"] else "good"
    notes = [*found["wrong"], *found["notes"]]
    return (
        f"<header><h1>flash bench</h1>\n<p class='verdict {kind}'>{escape(_sentence(verdict(found)))}</p>\n"
        f"{_list(notes, 'notes') if notes else ''}\n<dl class='facts'>{rows}</dl></header>"
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _gigabytes(machine: Found) -> float | None:
    return machine["memory_bytes"] / 2**30 if machine["memory_bytes"] else None


def _tiles(found: Found) -> str:
    """The figures that one looks for first, of the fastest sale."""
    closed = [sale for sale in found["sales"] if sale["kind"] == "clients"]
    if not closed:
        return "<p>No sale was measured.</p>"
    best = max(closed, key=lambda sale: float(sale["sales_per_second"]))
    share = best["ratios"].get("handler")
    tiles = [
        (f"{best['sale_seconds']:.2f} s", f"for a sale of {best['size']:,}, {best['clients']:,} clients"),
        (number(best["sales_per_second"]), "sales a second, each two durable requests"),
        (number(best["accepted"]["purchase"].get("p99_ms"), 0, " ms"), "p99 of a purchase in that sale"),
        (number(best["cpu_us_per_sale"], 0, " µs"), "of CPU a sale, all processes and stores"),
        (number(share and share * 100, 0, " %"), "of what its HTTP handler does with a constant"),
    ]
    return "<div class='tiles'>" + "".join(f"<p><b>{big}</b> {small}</p>" for big, small in tiles) + "</div>"


def _plots(found: Found) -> str:
    cards = "\n".join(
        f"<figure><h2>{escape(title)}</h2>\n<p>{escape(text)}</p>\n{svg}</figure>"
        for title, text, svg in figures.of(found)
    )
    return f"<div class='figures'>\n{cards}\n</div>"


def _section(title: str, body: str, *, is_wide: bool = False) -> str:
    return f"<section{' class=wide' if is_wide else ''}><h2>{escape(title)}</h2>\n{body}\n</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def _list(texts: Sequence[str], kind: str = "") -> str:
    items = "".join(f"<li>{escape(_sentence(text).replace('..', '.'))}</li>" for text in texts)
    return f"<ul{f' class={kind}' if kind else ''}>{items}</ul>" if items else "<p>Nothing is missing.</p>"


def _method(found: Found) -> str:
    texts = METHOD if any(sale["rate"] for sale in found["sales"]) else [METHOD[0], *METHOD[2:]]
    return "\n".join(f"<p>{text}</p>" for text in texts)
