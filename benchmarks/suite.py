"""What is measured, in which order. Every step adds to the findings, which are what is reported."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from benchmarks.ceilings import measure_ceilings
from benchmarks.findings import HANDLER, STOCK, Findings
from benchmarks.load import Buyers, Plan, checkout, checkouts, purchase
from benchmarks.options import Options
from benchmarks.oracle import ExternalTarget, Oracle, broken, unexpected, wrong_with
from benchmarks.processes import Cluster, Stores, call_in_child, running, running_stores
from benchmarks.progress import Progress
from benchmarks.sections import Sections
from flash.audit.reading import read

_WARMUP_ITEMS, _WARMUP_CLIENTS, _COSTED_REQUESTS_MAX, _COSTED_CLIENTS = 1_000, 32, 10_000, 64
_ITEM_SOLD, _SOLD_OUT = frozenset({"item_sold"}), frozenset({"item_sold", "sold_out"})
"""A web process may learn a little later that a sale is sold out; until then, "item sold" is true as well."""


class Suite:
    """One run. `findings.wrong` names everything that is not true."""

    def __init__(self, options: Options, http: str, findings: Findings) -> None:
        self._options, self._http, self._findings = options, http, findings
        self._progress = Progress(findings)

    async def run(self, database_url: str | None) -> None:
        """On stores and processes of our own, or at `--url`, where `database_url` is needed for the audit alone."""
        if not self._options.rate:
            self._progress.lack("an open loop, whose latencies count from when a visit was due: ask with --rate")
        self._progress.lack("more than one host, a network, and a disk other than this machine's")
        with self._progress.status:
            await (self._run_external(self._options.url, database_url) if self._options.url else self._run_own())

    async def _run_own(self) -> None:
        with running_stores() as stores:
            oracle = Oracle(stores[0].url)
            self._findings.facts["PostgreSQL"] = await oracle.prepare()
            for web in self._options.web if "sales" in self._options.sections else ():
                await self._measure_baselines(web)
                async with self._serving(stores, web) as cluster:
                    await self._measure_sales(cluster, oracle, is_last=web == self._options.web[-1])
            sections = Sections(self._options, stores, oracle, partial(self._serving, stores), self._progress)
            await sections.run()
            await self._audit(oracle.url)
            if "sales" in self._options.sections:
                await self._measure_ceilings(stores)  # last, and with nothing else running
            else:
                self._progress.lack("whole sales, baselines and ceilings: add sales to --sections")

    async def _measure_ceilings(self, stores: Stores) -> None:
        self._progress.begin("ceilings of the stores")
        found, plan = self._findings, (stores[0].url, stores[1].url, self._options.ceiling_seconds)
        found.commits, found.round_trips, found.facts["Valkey"] = await call_in_child(measure_ceilings, plan)
        self._progress.done(f"{max(row.sales_per_second for row in found.commits):,.0f} sales/s on one connection")

    async def _run_external(self, url: str, database_url: str | None) -> None:
        self._progress.lack(
            f"what speaks HTTP there: the baseline is that of FLASH_HTTP={self._http} (say which with --http)"
        )
        self._progress.lack("CPU and memory of the service: its processes are not ours (--url)")
        self._progress.lack(
            "the stores' ceilings, cost of refusals, sizes, sections: they need stores of our own (leave --url out)"
        )
        target, parts = ExternalTarget(url), urlsplit(url)
        await target.get("/health")
        await self._measure_baselines(1)
        for kind, clients, size in self._sales(is_last=True):
            if kind != "size":
                await self._sell(Cluster([(parts.hostname or "", parts.port or 80)]), target, kind, clients, size)
        if database_url:
            await self._audit(database_url)
        else:
            self._progress.lack("the audit: set DATABASE_URL to the service's database (only read)")

    @asynccontextmanager
    async def _serving(self, stores: Stores, web: int, *before: str) -> AsyncIterator[Cluster]:
        """The service with `web` web processes. `before`: the module that starts them, and its first arguments."""
        programs = {
            name: (*before, kind) if before else (module, kind) for name, (module, kind) in self._programs(web).items()
        }
        async with running(programs, **self._settings(stores)) as started:
            yield Cluster(started.addresses, [*started.processes, *stores])

    def _programs(self, web: int) -> dict[str, tuple[str, str]]:
        kinds = ["inventory"] * self._options.inventory + ["web"] * web
        return {f"{kind}.{kinds[:place].count(kind) + 1}": ("flash", kind) for place, kind in enumerate(kinds)}

    def _settings(self, stores: Stores) -> dict[str, str]:
        """As `flash up` would run it. The oracle opens the sales; the scheduler stays out of the way."""
        urls = {"DATABASE_URL": stores[0].url, "REDIS_URL": stores[1].url, "FLASH_HOST": "127.0.0.1", "PORT": "0"}
        http = "hypercorn" if self._http == "hypercorn" else ""  # empty: the default, which is our own
        return {**urls, "WEB_CONCURRENCY": "1", "FLASH_SALE_PERIOD": "86400", "FLASH_HTTP": http}

    async def _measure_baselines(self, web: int) -> None:
        """As many processes as the service has for the web, asked by the same generator for a constant."""
        for server, program in ((HANDLER, self._http), (STOCK, STOCK)):
            async with running({f"{server}.{n}": ("benchmarks.baseline", program) for n in range(web)}) as servers:
                for clients in self._options.clients:
                    self._progress.begin(f"baseline server ({server}), {clients:,} clients, {web} web")
                    buyers = Buyers([checkout("buyer-1234", 123456)], repeats=True)
                    plan = Plan(buyers, servers.addresses, clients, seconds=self._options.ceiling_seconds)
                    await servers.measure("warm-up", replace(plan, seconds=plan.seconds / 4))
                    row = await servers.measure(server, plan)
                    self._findings.baselines.append(row)
                    self._progress.done(f"{row.requests_per_second:,.0f} requests/s")

    def _sales(self, *, is_last: bool) -> list[tuple[str, int, int]]:
        """What they are compared by, clients, size. What needs no comparison over web processes comes last."""
        options = self._options
        found = [("clients", clients, options.size) for clients in options.clients]
        found += [("rate", max(options.clients), options.size)] if options.rate and is_last else []
        return found + [("size", options.middle_clients(_COSTED_CLIENTS), s) for s in options.sizes if is_last]

    async def _measure_sales(self, cluster: Cluster, oracle: Oracle, *, is_last: bool) -> None:
        # a small sale that does not count warms up connections, prepared statements and caches
        warmup = ("", min(_WARMUP_CLIENTS, *self._options.clients), min(_WARMUP_ITEMS, self._options.size))
        for kind, clients, size in [warmup, *self._sales(is_last=is_last)]:
            await self._sell(cluster, oracle, kind, clients, size)
        if is_last:
            await self._cost_requests(cluster, oracle)

    async def _sell(
        self, cluster: Cluster, target: Oracle | ExternalTarget, kind: str, clients: int, size: int
    ) -> None:
        """One whole sale, measured, counted and compared with the baselines. Without a `kind` it is a warm-up."""
        opened = await target.open_sale(size)
        if opened is None:
            text = "no open sale is left: start the service with a short FLASH_SALE_PERIOD, e.g. 5"
            return self._progress.lack(f"a sale with {clients:,} clients: {text}")
        rate, run = self._options.rate if kind == "rate" else None, secrets.token_hex(4)
        title = f"a sale of {len(opened.items):,}, {clients:,} clients, {len(cluster.addresses)} web"
        self._progress.begin(title + (f", {rate:,g} per second" if rate else "") if kind else "warm-up")
        buyers = Buyers(checkouts(opened.items, run), run, repeats=not rate)
        sale = await cluster.measure(title, Plan(buyers, cluster.addresses, clients, rate=rate))
        sale.kind, sale.size = kind, len(opened.items)
        sale.counts, untrue = await target.count(opened)
        self._progress.note_wrong(untrue)
        self._progress.note_wrong(wrong_with(sale.load, sale.counts, opened.sold_before, target.is_alone))
        if kind:
            self._findings.add_sale(sale)
        return self._progress.done(f"{sale.seconds:.2f} s, {sale.sales_per_second:,.0f} sales/s")

    async def _cost_requests(self, cluster: Cluster, oracle: Oracle) -> None:
        """On one sale: half is sold and asked for again; then the rest is sold, and the half is asked for again."""
        sale = await oracle.open_sale(2 * min(self._options.size, _COSTED_REQUESTS_MAX))
        half, rest = sale.items[: len(sale.items) // 2], sale.items[len(sale.items) // 2 :]

        async def cost(title: str, codes: list[bytes] | None, allowed: frozenset[str] = frozenset()) -> list[bytes]:
            """A purchase for each of `codes`, or a checkout for each item of the half. Returns what was issued."""
            self._progress.begin(title)
            run, clients = secrets.token_hex(4), self._options.middle_clients(_COSTED_CLIENTS)
            requests = [purchase(code, f"{run}-{n}") for n, code in enumerate(codes or ())] or checkouts(half, run)
            row = await cluster.measure(title, Plan(Buyers(requests), cluster.addresses, clients))
            self._findings.request_costs.append(row)
            self._progress.note_wrong(unexpected(row.load.refusals, allowed))
            if row.latency.count != len(half):
                self._progress.note_wrong([f"{row.latency.count} of {len(half)} were answered as expected"])
            self._progress.done(f"{row.requests_per_second:,.0f} requests/s")
            issued, row.load.codes = row.load.codes, []  # none of the report's business
            return issued

        codes = await cost("a checkout", None)
        spare = await cost("a second checkout of the item", None)
        await cost("a purchase", codes)
        await cost("a checkout of a sold item", None, _ITEM_SOLD)
        await cost("a purchase of a sold item", spare, _ITEM_SOLD)
        run = secrets.token_hex(4)
        await cluster.measure("the rest", Plan(Buyers(checkouts(rest, run), run), cluster.addresses, 16))
        await cost("a checkout when sold out", None, _SOLD_OUT)
        await cost("a purchase when sold out", spare, _SOLD_OUT)
        counts, untrue = await oracle.count(sale)
        missing = [f"{counts.purchases} of {len(sale.items)} items were sold"]
        self._progress.note_wrong(untrue + (missing if counts.purchases != len(sale.items) else []))

    async def _audit(self, url: str) -> None:
        self._progress.begin("audit of everything that was sold")
        report = await read(url, None)
        self._progress.note_wrong(broken(report))
        state = "clean" if report.is_clean else "BROKEN"
        self._findings.audit = f"audit {state}: {len(report.checks)} promises, {len(report.sales)} sales"
        self._progress.done(state)
