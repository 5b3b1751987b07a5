"""Which plots the report shows, and of what. Pure: findings in, (title, explanation, SVG) out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import plots
from benchmarks.plots import Axis, Point, Series
from benchmarks.sale import GENERATOR
from benchmarks.scripts import KINDS

Found = Mapping[str, Any]
Figure = tuple[str, str, str]

_PROCESSES = (("web", 1), ("inventory", 2), ("PostgreSQL", 3), ("Valkey", 4), (GENERATOR, 5))


def of(found: Found) -> Iterator[Figure]:
    """Every plot for which something was measured."""
    closed = [sale for sale in found["sales"] if sale["kind"] == "clients" and sale["sales"]]
    if closed:
        web = closed[-1]["web"]
        of_web = [sale for sale in closed if sale["web"] == web]
        yield _sold_over_time(of_web)
        axis = plots.logarithmic([y for kind in KINDS for _, points in _points(kind, of_web) for _, y in points])
        for kind in KINDS:
            yield _latencies(kind, of_web, axis)
        yield _throughput(closed, found["ceilings"]["constants"])
        if len({sale["web"] for sale in closed}) > 1:
            yield _over_web(closed)
    with_cpu = [sale for sale in found["sales"] if sale["cpu_us_per_sale"]]
    if with_cpu:
        yield _cpu(with_cpu)
    sized = [sale for sale in with_cpu if sale["kind"] == "size"]
    if len(sized) > 1:
        yield _sizes(sized)
    if found["refusals"] and found["refusals"][0]["cpu_us_per_request"]:
        yield _refusals(found["refusals"])
    if found["ceilings"]["postgres"]:
        yield _commits(found["ceilings"]["postgres"])


def _sold_over_time(sales: Sequence[Found]) -> Figure:
    size = max(sale["database"]["stock"] for sale in sales)
    series = [
        Series(f"{sale['clients']:,} clients", sale["sold_over_time"], number, has_dots=False)
        for number, sale in enumerate(sales[:6], 1)
    ]
    longest = [point[0] for line in series for point in line.points]
    svg = plots.lines(
        "items sold over time",
        series,
        plots.linear(longest),
        plots.linear([size * 1.12]),
        x_name="seconds",
        y_name="items sold",
        limit=(size, f"{size:,} items, never crossed"),
    )
    text = (
        "Every purchase when its buyer heard of it. At the end buyers try what is left at random until they are told "
        "that the sale is sold out; the line stays where the stock is."
    )
    return "Items sold over time", text, svg


def _points(kind: str, sales: Sequence[Found]) -> list[tuple[str, list[Point]]]:
    return [
        (share, [(sale["clients"], sale["accepted"][kind][f"{share}_ms"]) for sale in sales])
        for share in ("p50", "p95", "p99", "max")
    ]


def _latencies(kind: str, sales: Sequence[Found], axis: Axis) -> Figure:
    """One of two plots with the same axis."""
    series = [Series(share, points, color) for color, (share, points) in enumerate(_points(kind, sales), 1)]
    svg = plots.lines(
        f"latency of {kind}s over clients",
        series,
        plots.categories([sale["clients"] for sale in sales]),
        axis,
        x_name="clients",
        y_name="milliseconds",
    )
    text = "From sending to the whole answer, over all accepted requests. Both axes are logarithmic."
    return f"Latency of a {kind}", text, svg


def _throughput(sales: Sequence[Found], constants: Sequence[Found]) -> Figure:
    web = sales[-1]["web"]
    lines = [
        (
            "the service",
            [(sale["clients"], sale["requests_per_second"]) for sale in sales if sale["web"] == web],
            1,
            "",
        ),
        *(
            (
                name,
                [
                    (row["clients"], row["requests_per_second"])
                    for row in constants
                    if row["by"] == kind and row["web"] == web
                ],
                color,
                "6 4",
            )
            for kind, name, color in (
                ("handler", "a constant, its handler", 2),
                ("stock", "a constant, stock Hypercorn", 3),
            )
        ),
    ]
    series = [Series(name, points, color, dash) for name, points, color, dash in lines if points]
    svg = plots.lines(
        "requests a second beside the ceilings",
        series,
        plots.categories([sale["clients"] for sale in sales]),
        plots.linear([y for line in series for _, y in line.points]),
        x_name="clients",
        y_name="requests a second",
    )
    text = f"With {web} web process{'es' if web > 1 else ''}. A sale is two requests, each durable before its answer."
    return "Throughput beside the ceilings", text, svg


def _over_web(sales: Sequence[Found]) -> Figure:
    clients = sorted({sale["clients"] for sale in sales})
    series = [
        Series(
            f"{number:,} clients",
            [(sale["web"], sale["sales_per_second"]) for sale in sales if sale["clients"] == number],
            color,
        )
        for color, number in enumerate(clients[:6], 1)
    ]
    svg = plots.lines(
        "sales a second over web processes",
        series,
        plots.categories([sale["web"] for sale in sales]),
        plots.linear([y for line in series for _, y in line.points]),
        x_name="web processes",
        y_name="sales a second",
    )
    return "Throughput over web processes", "More of them help for as long as there are cores for them.", svg


def _cpu(sales: Sequence[Found]) -> Figure:
    rows = [(_name(sale), [_microseconds(sale, kind) for kind, _ in _PROCESSES]) for sale in sales]
    svg = plots.bars("CPU by process", rows, [kind for kind, _ in _PROCESSES], unit="µs")
    text = (
        "CPU time a sale (a checkout and a purchase), by kind of process, from /proc. The load generator runs on the "
        "same machine and takes its share of it."
    )
    return "CPU by process", text, svg


def _microseconds(sale: Found, kind: str) -> float:
    seconds = sum(process["cpu_seconds"] for process in sale["processes"] if process["name"].split(".")[0] == kind)
    return 1e6 * seconds / sale["sales"] if sale["sales"] else 0.0


def _name(sale: Found) -> str:
    if sale["kind"] == "clients":
        return f"{sale['clients']:,} cl., {sale['web']} web"
    return f"{sale['size']:,} items" if sale["kind"] == "size" else f"{sale['rate']:,g} a second"


def _sizes(sales: Sequence[Found]) -> Figure:
    rows = [(f"{sale['size']:,} items", [sale["cpu_us_per_sale"]]) for sale in sales]
    svg = plots.bars("CPU a sale by size", rows, ["CPU"], unit="µs")
    return (
        "Cost of one sale by the sale's size",
        "CPU of the service and its stores, without the load generator's.",
        svg,
    )


def _refusals(rows: Sequence[Found]) -> Figure:
    names = {"issued": "issued", "sold": "sold", "item_sold": "item sold", "sold_out": "sold out"}
    ordered = sorted(rows, key=lambda row: row["kind"])
    bars = [(f"{row['kind']}: {names[row['answer']]}", [row["cpu_us_per_request"] or 0.0]) for row in ordered]
    svg = plots.bars("CPU of a yes and a no", bars, ["CPU"], unit="µs", colors=[2])
    text = "CPU of the service and its stores for one request, by its answer. A refused checkout is persisted too."
    return "A yes and a no", text, svg


def _commits(found: Found) -> Figure:
    names = {"asyncio": "plain asyncio", "bridge": "from Trio, bridged"}
    series = [
        Series(
            f"{part}, {names[through]}",
            [(row["batch"], row[f"{part}_us_per_row"]) for row in rows],
            color,
            "" if through == "bridge" else "6 4",
        )
        for through, rows in found.items()
        for part, color in (("checkout", 1), ("purchase", 2))
    ]
    svg = plots.lines(
        "PostgreSQL group commit",
        series,
        plots.categories([row["batch"] for row in found["bridge"]]),
        plots.logarithmic([y for line in series for _, y in line.points]),
        x_name="rows in one commit",
        y_name="µs a row",
    )
    text = "One connection, the service's own statements, fsync on: what a durable row costs at best."
    return "PostgreSQL: one connection, group commit", text, svg
