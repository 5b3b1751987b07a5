"""What is measured, in which order. Every step adds to the findings, which are what is reported."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from rich.console import Console

from benchmarks.ceilings import CeilingPlan, measure_ceilings
from benchmarks.child import call_in_child
from benchmarks.cluster import Cluster, Stores, running_baseline, running_cluster, running_stores
from benchmarks.external import ExternalTarget
from benchmarks.findings import (
    GENERATOR,
    HANDLER,
    STOCK,
    AuditResult,
    BaselineFigures,
    Findings,
    Measured,
    RequestCost,
    SaleFigures,
)
from benchmarks.load.buyers import Requests, WholeSale, checkout, purchase
from benchmarks.load.generator import generate_load
from benchmarks.load.messages import Plan
from benchmarks.options import Options
from benchmarks.oracle import Oracle, broken, unexpected, wrong_with
from benchmarks.usage import Usage, machine_cpu_seconds

_WARMUP_ITEMS = 1_000
_WARMUP_CLIENTS = 32
_COSTED_REQUESTS_MAX = 10_000
NO_SALE = "no open sale is left: start the service with a short FLASH_SALE_PERIOD, e.g. 5"


class Suite:
    """One run. `findings.wrong` names everything that is not true."""

    def __init__(self, options: Options, http: str, findings: Findings, console: Console) -> None:
        self._options = options
        self._http = http
        self._findings = findings
        self._console = console
        self._began = time.monotonic()

    async def run(self) -> None:
        """On stores and processes of our own."""
        with ExitStack() as stack:
            with self._step("stores") as done:
                stores = stack.enter_context(running_stores())
                oracle = Oracle(stores[0].url)
                self._findings.machine.versions["PostgreSQL"] = await oracle.prepare()
                done("ready")
            for web in self._options.web:
                await self._measure_with(stores, oracle, web)
            await self._audit(oracle)
            await self._measure_ceilings(stores)

    async def run_external(self, url: str, database_url: str | None) -> None:
        """On a service that runs already. The audit is made if its database is named."""
        self._findings.not_measured += [
            f"what speaks HTTP there: the baseline is that of FLASH_HTTP={self._http} (say which with --http)",
            "CPU and memory of the service: its processes are not ours (--url)",
            "the stores' ceilings, the cost of refusals, sale sizes: they need stores of our own (leave --url out)",
        ]
        target = ExternalTarget(url)
        await target.check()
        await self._measure_baselines(1)
        await self._sell_to_clients(Cluster([target.address]), target)
        if self._options.rate:
            await self._sell(Cluster([target.address]), target, "rate", max(self._options.clients), self._options.rate)
        if database_url is None:
            self._findings.not_measured.append("the audit: set DATABASE_URL to the service's database (only read)")
        else:
            await self._audit(Oracle(database_url))

    async def _measure_with(self, stores: Stores, oracle: Oracle, web: int) -> None:
        """Everything with `web` processes. What needs no comparison over them is measured at the last number."""
        await self._measure_baselines(web)
        options = self._options
        async with running_cluster(stores, web=web, inventory=options.inventory, http=self._http) as cluster:
            await self._warm_up(cluster, oracle)
            await self._sell_to_clients(cluster, oracle)
            if web != options.web[-1]:
                return
            for size in options.sizes:
                await self._sell(cluster, oracle, "size", options.middle_clients, size=size)
            if options.rate:
                await self._sell(cluster, oracle, "rate", max(options.clients), options.rate)
            await self._measure_requests(cluster, oracle)

    async def _measure_baselines(self, web: int) -> None:
        """As many processes as the service has for the web, asked by the same generator for a constant."""
        seconds = self._options.ceiling_seconds
        for server, program in ((HANDLER, self._http), (STOCK, STOCK)):
            async with running_baseline(program, web) as servers:
                for clients in self._options.clients:
                    with self._step(f"baseline server ({server}), {clients:,} clients, {web} web") as done:
                        buyers = Requests([checkout("buyer-1234", 123456)], is_endless=True)
                        plan = Plan(buyers, servers.addresses, clients, seconds=seconds / 4)
                        await measure(servers, plan)  # warms up
                        figures = BaselineFigures(
                            server, web, clients, await measure(servers, replace(plan, seconds=seconds))
                        )
                        self._findings.baselines.append(figures)
                        done(f"{figures.requests_per_second:,.0f} requests/s")

    async def _warm_up(self, cluster: Cluster, oracle: Oracle) -> None:
        """A small sale before the first that counts: connections, prepared statements, caches."""
        with self._step("warm-up") as done:
            sale = await oracle.open_sale(min(_WARMUP_ITEMS, self._options.size))
            clients = min(_WARMUP_CLIENTS, *self._options.clients)
            buyers = WholeSale(sale.items, secrets.token_hex(4), until_sold_out=True)
            measured = await measure(cluster, Plan(buyers, cluster.addresses, clients))
            counts, untrue = await oracle.count(sale)
            self._note_wrong("the warm-up", [*wrong_with(measured.load, counts), *untrue])
            done("done")

    async def _sell_to_clients(self, cluster: Cluster, oracle: Oracle | ExternalTarget) -> None:
        for clients in self._options.clients:
            await self._sell(cluster, oracle, "clients", clients)

    async def _sell(
        self,
        cluster: Cluster,
        oracle: Oracle | ExternalTarget,
        kind: str,
        clients: int,
        rate: float | None = None,
        size: int | None = None,
    ) -> None:
        """One whole sale, measured, counted and compared with the baselines."""
        sale = await oracle.open_sale(size or self._options.size)
        if sale is None:
            self._findings.not_measured.append(f"a sale with {clients:,} clients: {NO_SALE}")
            return
        items, web = len(sale.items), len(cluster.addresses)
        title = f"a sale of {items:,}, {clients:,} clients, {web} web" + (f", {rate:,g} per second" if rate else "")
        with self._step(title) as done:
            buyers = WholeSale(sale.items, secrets.token_hex(4), until_sold_out=not rate)
            measured = await measure(cluster, Plan(buyers, cluster.addresses, clients, rate=rate, visits=items))
            counts, untrue = await oracle.count(sale)
            wrong = wrong_with(measured.load, counts, is_alone=oracle.is_alone, sold_before=sale.sold_before)
            self._note_wrong(title, [*wrong, *untrue])
            ratios = self._findings.ratios(measured.load.responses_per_second, web, clients)
            figures = SaleFigures(kind, title, web, clients, items, rate, counts, measured, ratios)
            self._findings.sales.append(figures)
            done(f"{figures.seconds:.2f} s, {figures.sales_per_second:,.0f} sales/s")

    async def _measure_requests(self, cluster: Cluster, oracle: Oracle) -> None:
        """On one sale: half is sold and asked for again; then the rest is sold, and the half is asked for again."""
        sale = await oracle.open_sale(2 * min(self._options.size, _COSTED_REQUESTS_MAX))
        half = sale.items[: len(sale.items) // 2]
        sold, sold_out = frozenset({"item_sold"}), frozenset({"item_sold", "sold_out"})

        async def check_out(title: str, outcome: str, allowed: frozenset[str] | None = None) -> list[bytes]:
            buyers = WholeSale(half, secrets.token_hex(4), buys=False)
            return await self._measure_request(cluster, title, outcome, buyers, len(half), allowed)

        async def buy(title: str, outcome: str, codes: list[bytes], allowed: frozenset[str] | None = None) -> None:
            run = secrets.token_hex(4)
            buyers = Requests([purchase(code, f"{run}-{number}") for number, code in enumerate(codes)])
            await self._measure_request(cluster, title, outcome, buyers, len(codes), allowed)

        codes = await check_out("a checkout", "issued")
        spare = await check_out("the same once more", "")
        await buy("a purchase", "sold", codes)
        await check_out("a checkout of a sold item", "item_sold", sold)
        await buy("a purchase of a sold item", "item_sold", spare, sold)
        rest = WholeSale(sale.items[len(half) :], secrets.token_hex(4))
        await measure(cluster, Plan(rest, cluster.addresses, self._options.middle_clients))
        # a web process may learn a little later that the sale is sold out; until then, "item sold" is true as well
        await check_out("a checkout when sold out", "sold_out", sold_out)
        await buy("a purchase when sold out", "sold_out", spare, sold_out)
        counts, untrue = await oracle.count(sale)
        if counts.purchases != len(sale.items):
            untrue.append(f"{counts.purchases} of {len(sale.items)} items were sold")
        self._note_wrong("refusals", untrue)

    async def _measure_request(
        self,
        cluster: Cluster,
        title: str,
        outcome: str,
        buyers: WholeSale | Requests,
        count: int,
        allowed: frozenset[str] | None,
    ) -> list[bytes]:
        """`count` requests of one sort: accepted, or refused with one of the codes `allowed`. The codes they got."""
        kind = "checkout" if isinstance(buyers, WholeSale) else "purchase"
        with self._step(title) as done:
            measured = await measure(cluster, Plan(buyers, cluster.addresses, self._options.middle_clients))
            load = measured.load
            latency = (load.refused if allowed else load.accepted)[kind]
            if latency.count != count:
                self._note_wrong(title, [f"{latency.count} of {count} were answered as expected"])
            self._note_wrong(title, list(unexpected(load.refusals, allowed or frozenset())))
            cost = RequestCost(title, outcome, load.responses_per_second, latency, measured.cpu_us_each(count))
            if outcome:
                self._findings.request_costs.append(cost)
            done(f"{cost.requests_per_second:,.0f} requests/s")
            return load.codes

    async def _audit(self, oracle: Oracle) -> None:
        with self._step("audit of everything that was sold") as done:
            report = await oracle.audit()
            self._findings.audit = AuditResult(report.is_clean, len(report.checks), len(report.sales))
            self._note_wrong("audit", list(broken(report)))
            done("clean" if report.is_clean else "BROKEN")

    async def _measure_ceilings(self, stores: Stores) -> None:
        """Last, and with nothing else running. The database of the sales is not touched."""
        with self._step("ceilings of the stores") as done:
            plan = CeilingPlan(stores[0].url, stores[1].url, self._options.ceiling_seconds)
            self._findings.ceilings = found = await call_in_child(measure_ceilings, plan)
            self._findings.machine.versions["Valkey"] = found.valkey_version
            done(f"{max(row.sales_per_second for row in found.commits):,.0f} sales/s on one connection")

    def _note_wrong(self, title: str, wrong: list[str]) -> None:
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


async def measure(cluster: Cluster, plan: Plan) -> Measured:
    """Run the load generator on a cluster, with the CPU and the peak memory of every process."""
    began, before, busy_before = time.monotonic(), cluster.usage(), machine_cpu_seconds()
    load = await call_in_child(generate_load, plan)
    processes = [now.since(earlier) for now, earlier in zip(cluster.usage(), before, strict=True)]
    processes.append(Usage(GENERATOR, load.cpu_seconds, load.memory_peak_bytes))
    ours = sum(process.cpu_seconds for process in processes)
    others = max(0.0, machine_cpu_seconds() - busy_before - ours)
    return Measured(load, processes, time.monotonic() - began, others)
