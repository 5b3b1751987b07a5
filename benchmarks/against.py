"""The service of another checkout beside this one, on the same stores, by the same load generator, in turn.

Each has a database of its own, because their schemas may differ, and makes its own sales: what is asked is public HTTP
alone. So any release can be compared that serves it.
"""

from __future__ import annotations

import secrets
import statistics
import sys
from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import trio

from benchmarks.findings import Measured, Table
from benchmarks.load import Buyers, Plan, checkouts, read
from benchmarks.machine import ROOT
from benchmarks.options import Options
from benchmarks.oracle import ExternalTarget, OpenSale, open_database
from benchmarks.processes import Cluster, Stores, running
from benchmarks.progress import Progress

_ROUNDS, _PERIOD_SECONDS, _OPEN_SECONDS = 3, 5, 30.0
_PROGRAMS = {"inventory.1": ("flash", "inventory"), "web.1": ("flash", "web")}
_FIGURES = ("livez/s", "sales/s", "CPU µs per sale", "checkout p50 ms", "purchase p50 ms", "purchase p99 ms")
Key = tuple[int, str]


async def compare(options: Options, stores: Stores, tree: Path, progress: Progress) -> Table:
    """Medians of three rounds at each number of clients, and this ÷ other."""
    found: dict[str, dict[Key, list[float]]] = {"this": defaultdict(list), "other": defaultdict(list)}
    pythons = {"this": (sys.executable, ROOT), "other": (str(tree / ".venv/bin/python"), tree)}
    async with AsyncExitStack() as stack:
        clusters: dict[str, Cluster] = {}
        for number, (name, (python, directory)) in enumerate(pythons.items(), 1):
            settings = await _settings(stores, f"flash_{name}", number, options.size)
            started = await stack.enter_async_context(running(_PROGRAMS, python, directory, **settings))
            clusters[name] = Cluster(started.addresses, [*started.processes, *stores])
            await _sell(clusters[name], min(32, *options.clients))
        for number in range(_ROUNDS):
            for clients in options.clients:
                for name, cluster in clusters.items():
                    progress.begin(f"{name} service, {clients:,} clients, round {number + 1}")
                    livez = Plan(Buyers([read("/livez")], repeats=True), cluster.addresses, clients, seconds=0.5)
                    rate = (await cluster.measure("livez", livez)).requests_per_second
                    sale = await _sell(cluster, clients)
                    for figure, value in zip(_FIGURES, (rate, *_figures(sale)), strict=True):
                        found[name][clients, figure].append(value)
                    progress.done(f"{sale.sales_per_second:,.0f} sales/s")
    rows: list[tuple[str | float | None, ...]] = []
    for clients, figure in found["this"]:
        this, other = (statistics.median(found[name][clients, figure]) for name in ("this", "other"))
        rows.append((figure, clients, this, other, this / other if other else None))
    return Table(
        "This service and the other one, in turn", ("figure", "clients", "this", "other", "this ÷ other"), rows
    )


def _figures(sale: Measured) -> tuple[float, ...]:
    checkout, purchase = (sale.load.accepted[kind] for kind in ("checkout", "purchase"))
    times = checkout.p50_ms or 0.0, purchase.p50_ms or 0.0, purchase.p99_ms or 0.0
    return sale.sales_per_second, sale.cpu_us_per_sale or 0.0, *times


async def _settings(stores: Stores, database: str, number: int, size: int) -> dict[str, str]:
    """A new database, and a Redis database of its own. Sales of `size` begin every few seconds."""
    async with open_database(stores[0].url) as connection:
        await connection.run(lambda session: session.execute(f"CREATE DATABASE {database}"))
    return {
        "DATABASE_URL": urlunsplit(urlsplit(stores[0].url)._replace(path=f"/{database}")),
        "REDIS_URL": f"{stores[1].url}?db={number}",
        "FLASH_HOST": "127.0.0.1",
        "PORT": "0",
        "WEB_CONCURRENCY": "1",
        "FLASH_SALE_PERIOD": str(_PERIOD_SECONDS),
        "FLASH_SALE_SIZE": str(size),
    }


async def _sell(cluster: Cluster, clients: int) -> Measured:
    """All of a sale that nobody has bought from yet."""
    host, port = cluster.addresses[0]
    sale, run = await _whole_sale(ExternalTarget(f"http://{host}:{port}")), secrets.token_hex(4)
    buyers = Buyers(checkouts(sale.items, run), run)
    return await cluster.measure("sale", Plan(buyers, cluster.addresses, clients))


async def _whole_sale(target: ExternalTarget) -> OpenSale:
    """Waits for the next one if need be."""
    with trio.fail_after(_OPEN_SECONDS):
        while True:
            sale = await target.open_sale(0)
            if sale is not None and not sale.sold_before:
                return sale
            await trio.sleep(0.1)
