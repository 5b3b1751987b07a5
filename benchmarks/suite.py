"""What is measured, in which order. Every step adds to the findings, which are what is reported."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from rich.console import Console

from benchmarks.buyers import Buyers, checkout, checkouts, purchase
from benchmarks.ceilings import measure_ceilings
from benchmarks.findings import HANDLER, STOCK, Findings
from benchmarks.generator import Plan
from benchmarks.options import Options
from benchmarks.oracle import ExternalTarget, Oracle, broken, unexpected, wrong_with
from benchmarks.processes import Cluster, Stores, call_in_child, running, running_stores
from flash.audit.reading import read
from flash.config import Config

_WARMUP_ITEMS, _WARMUP_CLIENTS = 1_000, 32
_COSTED_REQUESTS_MAX, _COSTED_CLIENTS = 10_000, 64
_ITEM_SOLD, _SOLD_OUT = frozenset({"item_sold"}), frozenset({"item_sold", "sold_out"})
"""A web process may learn a little later that a sale is sold out; until then, "item sold" is true as well."""
NO_SALE = "no open sale is left: start the service with a short FLASH_SALE_PERIOD, e.g. 5"


class Suite:
    """One run. `findings.wrong` names everything that is not true."""

    def __init__(self, options: Options, config: Config, findings: Findings) -> None:
        self._options, self._findings, self._database_url = options, findings, config.database_url
        self._http = options.http or ("hypercorn" if config.http == "hypercorn" else "builtin")
        self._console, self._began = Console(stderr=True, highlight=False), time.monotonic()

    async def run(self) -> None:
        missing = self._findings.not_measured
        if not self._options.rate:
            missing.append("an open loop, whose latencies count from when a visit was due: ask with --rate")
        missing.append("more than one host, a network, and a disk other than this machine's")
        await (self._run_external(self._options.url) if self._options.url else self._run_own())

    async def _run_own(self) -> None:
        """On stores and processes of our own."""
        with running_stores() as stores:
            oracle = Oracle(stores[0].url)
            with self._step("stores") as done:
                self._findings.facts["PostgreSQL"] = await oracle.prepare()
                done("ready")
            for web in self._options.web:
                await self._measure_baselines(web)
                async with running(self._programs(web), **self._settings(stores)) as processes:
                    cluster = Cluster(processes.addresses, [*processes.processes, *stores])
                    await self._measure_sales(cluster, oracle, is_last=web == self._options.web[-1])
            await self._audit(oracle)
            await self._measure_ceilings(stores)

    async def _run_external(self, url: str) -> None:
        """On a service that runs already. The audit is made if its database is named."""
        self._findings.not_measured += [
            f"what speaks HTTP there: the baseline is that of FLASH_HTTP={self._http} (say which with --http)",
            "CPU and memory of the service: its processes are not ours (--url)",
            "the stores' ceilings, the cost of refusals, sale sizes: they need stores of our own (leave --url out)",
        ]
        target, parts = ExternalTarget(url), urlsplit(url)
        await target.get("/health")
        await self._measure_baselines(1)
        await self._sell_all(Cluster([(parts.hostname or "", parts.port or 80)]), target)
        if self._database_url is None:
            self._findings.not_measured.append("the audit: set DATABASE_URL to the service's database (only read)")
        else:
            await self._audit(Oracle(self._database_url))

    def _programs(self, web: int) -> dict[str, tuple[str, str]]:
        counts = {"inventory": self._options.inventory, "web": web}
        return {f"{kind}.{n}": ("flash", kind) for kind, count in counts.items() for n in range(1, count + 1)}

    def _settings(self, stores: Stores) -> dict[str, str]:
        """As `flash up` would run it. The oracle opens the sales; the scheduler stays out of the way."""
        urls = {"DATABASE_URL": stores[0].url, "REDIS_URL": stores[1].url, "FLASH_HOST": "127.0.0.1", "PORT": "0"}
        http = "hypercorn" if self._http == "hypercorn" else ""  # empty: the default, which is our own
        return {**urls, "WEB_CONCURRENCY": "1", "FLASH_SALE_PERIOD": "86400", "FLASH_HTTP": http}

    async def _measure_baselines(self, web: int) -> None:
        """As many processes as the service has for the web, asked by the same generator for a constant."""
        seconds = self._options.ceiling_seconds
        for server, program in ((HANDLER, self._http), (STOCK, STOCK)):
            async with running({f"{server}.{n}": ("benchmarks.baseline", program) for n in range(web)}) as servers:
                for clients in self._options.clients:
                    with self._step(f"baseline server ({server}), {clients:,} clients, {web} web") as done:
                        buyers = Buyers([checkout("buyer-1234", 123456)], repeats=True)
                        plan = Plan(buyers, servers.addresses, clients, seconds=seconds / 4)
                        await servers.measure("warm-up", plan)
                        row = await servers.measure(server, replace(plan, seconds=seconds))
                        self._findings.baselines.append(row)
                        done(f"{row.requests_per_second:,.0f} requests/s")

    async def _measure_sales(self, cluster: Cluster, oracle: Oracle, *, is_last: bool) -> None:
        """What needs no comparison over web processes is measured at the last number of them."""
        options = self._options
        # a small sale that does not count warms up connections, prepared statements and caches
        await self._sell(cluster, oracle, "", min(_WARMUP_CLIENTS, *options.clients), min(_WARMUP_ITEMS, options.size))
        await self._sell_all(cluster, oracle, with_rate=is_last)
        if is_last:
            for size in options.sizes:
                await self._sell(cluster, oracle, "size", self._middle_clients(), size)
            await self._cost_requests(cluster, oracle)

    def _middle_clients(self) -> int:
        """For what is measured with one number of them only."""
        return min(self._options.clients, key=lambda clients: abs(clients - _COSTED_CLIENTS))

    async def _sell_all(self, cluster: Cluster, target: Oracle | ExternalTarget, *, with_rate: bool = True) -> None:
        options = self._options
        for clients in options.clients:
            await self._sell(cluster, target, "clients", clients, options.size)
        if options.rate and with_rate:
            await self._sell(cluster, target, "rate", max(options.clients), options.size)

    async def _sell(
        self, cluster: Cluster, target: Oracle | ExternalTarget, kind: str, clients: int, size: int
    ) -> None:
        """One whole sale, measured, counted and compared with the baselines. Without a `kind` it is a warm-up."""
        opened = await target.open_sale(size)
        if opened is None:
            self._findings.not_measured.append(f"a sale with {clients:,} clients: {NO_SALE}")
            return
        rate, run = self._options.rate if kind == "rate" else None, secrets.token_hex(4)
        title = f"a sale of {len(opened.items):,}, {clients:,} clients, {len(cluster.addresses)} web"
        title += f", {rate:,g} per second" if rate else ""
        with self._step(title if kind else "warm-up") as done:
            buyers = Buyers(checkouts(opened.items, run), run, repeats=not rate)
            sale = await cluster.measure(title, Plan(buyers, cluster.addresses, clients, rate=rate))
            sale.counts, untrue = await target.count(opened)
            self._note_wrong(title, untrue)
            self._note_wrong(title, wrong_with(sale.load, sale.counts, opened.sold_before, target.is_alone))
            if kind:
                self._findings.add_sale(replace(sale, kind=kind, size=len(opened.items)))
            done(f"{sale.seconds:.2f} s, {sale.sales_per_second:,.0f} sales/s")

    async def _cost_requests(self, cluster: Cluster, oracle: Oracle) -> None:
        """On one sale: half is sold and asked for again; then the rest is sold, and the half is asked for again."""
        sale = await oracle.open_sale(2 * min(self._options.size, _COSTED_REQUESTS_MAX))
        half, rest = sale.items[: len(sale.items) // 2], sale.items[len(sale.items) // 2 :]

        async def cost(title: str, codes: list[bytes] | None, allowed: frozenset[str] = frozenset()) -> list[bytes]:
            """A purchase for each of `codes`, or a checkout for each item of the half. Returns what was issued."""
            run = secrets.token_hex(4)
            requests = [purchase(code, f"{run}-{n}") for n, code in enumerate(codes or ())] or checkouts(half, run)
            with self._step(title) as done:
                plan = Plan(Buyers(requests), cluster.addresses, self._middle_clients())
                row = await cluster.measure(title, plan)
                self._findings.request_costs.append(row)
                self._note_wrong(title, unexpected(row.load.refusals, allowed))
                if row.latency.count != len(half):
                    self._note_wrong(title, [f"{row.latency.count} of {len(half)} were answered as expected"])
                done(f"{row.requests_per_second:,.0f} requests/s")
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
        self._note_wrong("refusals", untrue)
        if counts.purchases != len(sale.items):
            self._note_wrong("refusals", [f"{counts.purchases} of {len(sale.items)} items were sold"])

    async def _audit(self, oracle: Oracle) -> None:
        with self._step("audit of everything that was sold") as done:
            report = await read(oracle.url, None)
            self._note_wrong("audit", broken(report))
            state = "clean" if report.is_clean else "BROKEN"
            self._findings.audit = f"audit {state}: {len(report.checks)} promises, {len(report.sales)} sales"
            done(state)

    async def _measure_ceilings(self, stores: Stores) -> None:
        """Last, and with nothing else running. The database of the sales is not touched."""
        with self._step("ceilings of the stores") as done:
            found, plan = self._findings, (stores[0].url, stores[1].url, self._options.ceiling_seconds)
            found.commits, found.round_trips, found.facts["Valkey"] = await call_in_child(measure_ceilings, plan)
            done(f"{max(row.sales_per_second for row in found.commits):,.0f} sales/s on one connection")

    def _note_wrong(self, title: str, wrong: Iterable[str]) -> None:
        self._findings.wrong += [f"{title}: {text}" for text in wrong]

    @contextmanager
    def _step(self, title: str) -> Iterator[Callable[[str], None]]:
        """What a waiting person sees: a spinner, then a line with the result."""

        def done(result: str) -> None:
            status.stop()
            elapsed = time.monotonic() - self._began
            self._console.print(f"{elapsed:6.1f} s  {title}: {result}", soft_wrap=True, markup=False)

        with self._console.status(title, refresh_per_second=4) as status:
            yield done
