"""The findings as tables, and as text for a terminal. Pure: it judges nothing and hides nothing that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]
Rows = Sequence[Sequence[str]]
Block = tuple[str, Sequence[str], Rows]

_FIGURES = ("p50", "p95", "p99", "max")
_KINDS = ("checkout", "purchase")
_WHICH = ("sale", "web", "clients")


def render(found: Found) -> str:
    """Blocks of aligned lines."""
    tables = [aligned(title, head, rows) for title, head, rows in blocks(found)]
    return "\n".join("\n".join(block) + "\n" for block in [_machine(found), *tables, _verdict(found)])


def blocks(found: Found) -> list[Block]:
    """Title, heads and cells of every table that has a row."""
    every = (_sales, _latencies, _usage, _constants, _commits, _trips, _refusals)
    return [block for block in (make(found) for make in every) if block[2]]


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """For people; a dash for what was not measured."""
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def _sales(found: Found) -> Block:
    head = (
        *_WHICH,
        "seconds",
        "sales/s",
        "sold",
        "refused",
        "shed",
        "µs CPU/sale",
        "of handler",
        "of stock",
        "rows/commit",
    )
    rows = [
        (
            *_which(sale),
            *(number(sale["sale_seconds"], 2), number(sale["sales_per_second"]), number(sale["sales"])),
            *(number(sale["refusals"]), number(sale["sheds"]), number(sale["cpu_us_per_sale"])),
            *(number(sale["ratios"].get(kind), 2) for kind in ("handler", "stock")),
            _groups(sale),
        )
        for sale in found["sales"]
    ]
    return "Sales", head, rows


def _which(sale: Found) -> tuple[str, str, str]:
    size = f"{sale['size']:,}" + (f" at {sale['rate']:,g}/s" if sale["rate"] else "")
    return size, str(sale["web"]), f"{sale['clients']:,}"


def _groups(sale: Found) -> str:
    """How many checkouts and purchases one commit carried on average: what a durable row costs depends on it most."""
    if not sale["commits"]:
        return "-"
    rows = {"checkouts": sum(sale["database"]["attempts"].values()), "purchases": sale["database"]["purchases"]}
    return " + ".join(number(count / max(1, sale["commits"][name]), 1) for name, count in rows.items())


def _latencies(found: Found) -> Block:
    shares = [(kind, name) for kind in _KINDS for name in _FIGURES]
    rows = [
        (*_which(sale), *(number(sale["accepted"][kind].get(f"{name}_ms"), 1) for kind, name in shares))
        for sale in found["sales"]
    ]
    return "Latency of what was accepted, ms", (*_WHICH, *(f"{kind} {name}" for kind, name in shares)), rows


def _usage(found: Found) -> Block:
    rows = [
        (
            *_which(sale),
            *(process["name"], number(process["cpu_seconds"], 2)),
            number(1e6 * process["cpu_seconds"] / sale["sales"] if sale["sales"] else None),
            number(process["memory_peak_bytes"] and process["memory_peak_bytes"] / 1e6),
        )
        for sale in found["sales"]
        for process in sale["processes"]
    ]
    return "CPU and peak memory of each process", (*_WHICH, "process", "CPU s", "µs/sale", "peak MB"), rows


def _constants(found: Found) -> Block:
    rows = [
        (
            *(row["by"], str(row["web"]), f"{row['clients']:,}", number(row["requests_per_second"])),
            number(row["cpu_us_per_request"]),
            *(number(row["latency"].get(f"{name}_ms"), 1) for name in _FIGURES),
        )
        for row in found["ceilings"]["constants"]
    ]
    heads = (f"{name} ms" for name in _FIGURES)
    return "Ceiling: a constant, answered by", ("by", "web", "clients", "requests/s", "µs CPU", *heads), rows


def _commits(found: Found) -> Block:
    rows = [
        (
            *(name, f"{row['batch']:,}", number(row["checkout_us_per_row"], 1)),
            *(number(row["purchase_us_per_row"], 1), number(row["sales_per_second"])),
        )
        for name, measured in (found["ceilings"]["postgres"] or {}).items()
        for row in measured
    ]
    head = ("through", "rows/commit", "µs/checkout", "µs/purchase", "sales/s")
    return "Ceiling: one PostgreSQL connection, group commit", head, rows


def _trips(found: Found) -> Block:
    trips = found["ceilings"]["valkey"] or {}
    names = {
        "ping": "Valkey PING, bare socket",
        "xadd_through_bridge": "Valkey XADD, bridged",
        "fdatasync": "disk, 8 KB synced",
    }
    rows = [
        [name, *(number(1000 * trips[key][f"{share}_ms"]) for share in _FIGURES)]
        for key, name in names.items()
        if key in trips
    ]
    return "Ceiling: round trips", ("what", *(f"{name} µs" for name in _FIGURES)), rows


def _refusals(found: Found) -> Block:
    rows = [
        (
            *(row["title"], number(row["requests_per_second"]), number(row["cpu_us_per_request"])),
            *(number(row["latency"].get(f"{name}_ms"), 1) for name in _FIGURES),
        )
        for row in found["refusals"]
    ]
    return "A yes and a no", ("request", "requests/s", "µs CPU", *(f"{name} ms" for name in _FIGURES)), rows


def _machine(found: Found) -> list[str]:
    machine, versions = found["machine"], found["versions"]
    stores = [f"{name} {versions[name]}" for name in ("PostgreSQL", "Valkey") if name in versions]
    return [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        ", ".join([versions["Python"], f"trio {versions.get('trio', '?')}", *stores]),
        f"{found['date']}, commit {found['commit'] or 'unknown'}, load before: {machine['load_before']:g}",
    ]


def _verdict(found: Found) -> Iterator[str]:
    yield from (f"note: {text}" for text in found["notes"])
    yield from (f"not measured: {text}" for text in found["not_measured"])
    yield from (f"WRONG: {text}" for text in found["wrong"])
    yield verdict(found)


def verdict(found: Found) -> str:
    """One sentence on whether everything was true."""
    if found["wrong"]:
        return f"wrong: {len(found['wrong'])} counts or promises do not hold"
    counts = f"all counts are right ({sum(sale['sales'] for sale in found['sales']):,} sold in the measured sales)"
    audit = found["audit"]
    if audit is None:
        return f"{counts}; no audit was made"
    return f"{counts}; audit clean: {audit['promises']} promises, {audit['sales']} sales"


def aligned(title: str, head: Sequence[str], rows: Rows) -> list[str]:
    """The title, then the table, indented; its first column to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        title,
        *(
            "  " + "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
            for line in (head, *rows)
        ),
    ]
