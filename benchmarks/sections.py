"""The sections of a run beside its whole sales. Each starts what it needs, measures, and adds its tables."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from benchmarks.against import compare
from benchmarks.budget import CHECKOUT_HOPS, PURCHASE_HOPS, ask_one_by_one, budget_table, read_stamps
from benchmarks.crowds import Crowd, cost_table, overload_table, reads_table, web_table
from benchmarks.findings import Table
from benchmarks.idle import CHECKOUT, GOALS, LIVEZ, PURCHASE, IdlePlan, measure_idle
from benchmarks.leading import leading_table
from benchmarks.options import Options
from benchmarks.oracle import Oracle
from benchmarks.processes import Cluster, Stores, call_in_child
from benchmarks.progress import Progress
from benchmarks.storms import Storm, storms, storms_table
from benchmarks.viewers import viewers_tables
from flash.processes.child import Child
from flash.testing.stores import private_directory

_IDLE_ROUNDS, _IDLE_EACH = 10, 100
_STAMPS_SECONDS = 10.0
_CLIENTS, _WARMUP_CLIENTS, _WARMUP_ITEMS, _BUDGET_ITEMS = 256, 32, 1_000, 500


class Serve(Protocol):
    """Starts the service with `web` web processes, by the module and the arguments `before`, or as it is."""

    def __call__(self, web: int, *before: str) -> AbstractAsyncContextManager[Cluster]: ...


class Sections:
    """`serve` starts the service on `stores`, which `oracle` asks."""

    def __init__(self, options: Options, stores: Stores, oracle: Oracle, serve: Serve, progress: Progress) -> None:
        self._options, self._stores, self._oracle = options, stores, oracle
        self._serve, self._progress = serve, progress

    async def run(self) -> None:
        """Those that were asked for, in this order."""
        options, tables = self._options, self._progress.findings.tables
        if "idle" in options.sections:
            await self._idle()
        if "budget" in options.sections:
            await self._budget()
        clients, seconds = options.middle_clients(_CLIENTS), options.section_seconds
        if "web" in options.sections:
            async with self._crowd(web=2) as crowd:
                tables.append(await web_table(crowd, options.size, clients, seconds))
        if "reads" in options.sections:
            async with self._crowd() as crowd:
                tables.append(await reads_table(crowd, options.size, clients, seconds))
        if "overload" in options.sections:
            async with self._crowd() as crowd:
                tables.append(await overload_table(crowd, clients, seconds))
        if "storms" in options.sections:
            async with self._crowd() as crowd:
                tables.append(await storms_table(crowd, self._storms(), seconds))
        if "viewers" in options.sections:
            async with self._crowd() as crowd:
                tables += await viewers_tables(crowd, options.viewers, options.size, clients)
        if options.against:
            tables.append(await compare(options, self._stores, options.against, self._progress))
        if "leading" in options.sections:
            sales, sold = options.open_sales, options.sold_each
            tables.append(await leading_table(self._stores, sales, sold, seconds, self._progress))
        if "cost" in options.sections:  # last, because the sales that it opens stay open
            async with self._crowd() as crowd:
                sizes = (options.size, *options.sizes)
                tables.append(await cost_table(crowd, options.clients, sizes, options.beside))

    def _storms(self) -> list[Storm]:
        found = storms(self._options.herd, self._options.outage)
        return [storm for storm in found if storm.name in self._options.storms]

    @asynccontextmanager
    async def _crowd(self, web: int = 1) -> AsyncIterator[Crowd]:
        """A service that has warmed up."""
        async with self._serve(web) as cluster:
            crowd = Crowd(cluster, self._oracle, self._progress)
            self._progress.begin("warm-up")
            await crowd.sell(_WARMUP_CLIENTS, min(_WARMUP_ITEMS, self._options.size))
            yield crowd

    async def _idle(self) -> None:
        self._progress.begin("one client on an idle service, and the floor")
        each = max(2, min(_IDLE_EACH, self._options.size // _IDLE_ROUNDS))
        async with self._serve(1) as cluster:
            sale = await self._oracle.open_sale(max(20, each * (_IDLE_ROUNDS + 1)))
            items = sale.items[: each * (_IDLE_ROUNDS + 1)]
            urls = self._stores[0].url, self._stores[1].url
            found = await call_in_child(measure_idle, IdlePlan(cluster.addresses[0], items, *urls, _IDLE_ROUNDS, each))
        rows: list[tuple[str | float | None, ...]] = []
        for name, latency in found.latencies.items():
            times = [1000 * ms if ms is not None else None for ms in (latency.p50_ms, latency.p99_ms)]
            rows.append((name, *times, found.floors_us.get(name), found.ratios.get(name), GOALS.get(name)))
        heads = ("one client, idle service", "p50 µs", "p99 µs", "floor µs", "÷ floor", "goal")
        self._progress.findings.tables.append(Table("Idle: one client, beside the floor", heads, rows))
        counts, untrue = await self._oracle.count(sale)
        missing = [f"{counts.purchases} purchases, {len(items)} heard of"] if counts.purchases != len(items) else []
        self._progress.note_wrong(untrue + missing)
        ratios = ", ".join(f"{name} {found.ratios[name]:.2f} x floor" for name in (CHECKOUT, PURCHASE))
        self._progress.done(f"{LIVEZ} {1000 * (found.latencies[LIVEZ].p50_ms or 0):,.0f} µs, {ratios}")

    async def _budget(self) -> None:
        """In a service of its own, whose processes write their stamps when they are told to."""
        self._progress.begin("one checkout and one purchase, hop by hop")
        with private_directory() as folder:
            async with self._serve(1, "benchmarks.traced", str(folder)) as cluster:
                sale = await self._oracle.open_sale(max(20, min(_BUDGET_ITEMS, self._options.size)))
                asked = await call_in_child(ask_one_by_one, (cluster.addresses[0], sale.items))
                traced = [process for process in cluster.processes if isinstance(process, Child)]
                for process in traced:
                    process.signal(signal.SIGUSR1)
                files = [folder / f"{process.pid}.stamps" for process in traced]
                with trio.fail_after(_STAMPS_SECONDS):
                    while not all(file.exists() for file in files):  # noqa: ASYNC110 another process writes them
                        await trio.sleep(0.05)
            stamps = read_stamps(files)
        for name, hops, times in (
            ("checkout", CHECKOUT_HOPS, asked.checkouts),
            ("purchase", PURCHASE_HOPS, asked.purchases),
        ):
            title = f"Budget of one {name} on an idle service"
            self._progress.findings.tables.append(budget_table(title, hops, times[len(times) // 10 :], stamps))
        self._progress.done(f"{len(stamps):,} stamps")
