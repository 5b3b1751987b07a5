"""What is measured, in which order. Every step adds to the findings, which are what is reported."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console

from benchmarks.ceilings import CeilingPlan, measure_ceilings
from benchmarks.child import call_in_child
from benchmarks.cluster import Cluster, Stores, running_baseline, running_cluster, running_stores
from benchmarks.external import ExternalTarget
from benchmarks.findings import GENERATOR, HANDLER, STOCK, Findings, Measured, Requests, Sale
from benchmarks.load.buyers import SingleRequests, WholeSale, checkout, purchase
from benchmarks.load.generator import generate_load
from benchmarks.load.messages import Plan
from benchmarks.options import Options
from benchmarks.oracle import Oracle, broken, unexpected, wrong_with
from benchmarks.usage import Usage, machine_cpu_seconds

_WARMUP_ITEMS, _WARMUP_CLIENTS = 1_000, 32
_COSTED_REQUESTS_MAX = 10_000
_ITEM_SOLD, _SOLD_OUT = frozenset({"item_sold"}), frozenset({"item_sold", "sold_out"})
"""A web process may learn a little later that a sale is sold out; until then, "item sold" is true as well."""
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
        with running_stores() as stores:
            oracle = Oracle(stores[0].url)
            with self._step("stores") as done:
                self._findings.machine.facts["PostgreSQL"] = await oracle.prepare()
                done("ready")
            for web in self._options.web:
                await self._measure_baselines(web)
                inventory = self._options.inventory
                async with running_cluster(stores, web=web, inventory=inventory, http=self._http) as cluster:
                    await self._measure_sales(cluster, oracle, is_last=web == self._options.web[-1])
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
        await self._sell_all(Cluster([target.address]), target)
        if database_url is None:
            self._findings.not_measured.append("the audit: set DATABASE_URL to the service's database (only read)")
        else:
            await self._audit(Oracle(database_url))

    async def _measure_baselines(self, web: int) -> None:
        """As many processes as the service has for the web, asked by the same generator for a constant."""
        seconds = self._options.ceiling_seconds
        for server, program in ((HANDLER, self._http), (STOCK, STOCK)):
            async with running_baseline(program, web) as servers:
                for clients in self._options.clients:
                    with self._step(f"baseline server ({server}), {clients:,} clients, {web} web") as done:
                        buyers = SingleRequests([checkout("buyer-1234", 123456)], is_endless=True)
                        plan = Plan(buyers, servers.addresses, clients, seconds=seconds / 4)
                        await measure(servers, plan)  # warms up
                        row = Requests.of(server, await measure(servers, replace(plan, seconds=seconds)))
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
                await self._sell(cluster, oracle, "size", options.middle_clients, size)
            await self._cost_requests(cluster, oracle)

    async def _sell_all(self, cluster: Cluster, oracle: Oracle | ExternalTarget, *, with_rate: bool = True) -> None:
        options = self._options
        for clients in options.clients:
            await self._sell(cluster, oracle, "clients", clients, options.size)
        if options.rate and with_rate:
            await self._sell(cluster, oracle, "rate", max(options.clients), options.size, options.rate)

    async def _sell(
        self,
        cluster: Cluster,
        oracle: Oracle | ExternalTarget,
        kind: str,
        clients: int,
        size: int,
        rate: float | None = None,
    ) -> None:
        """One whole sale, measured, counted and compared with the baselines. Without a `kind` it is a warm-up."""
        opened = await oracle.open_sale(size)
        if opened is None:
            self._findings.not_measured.append(f"a sale with {clients:,} clients: {NO_SALE}")
            return
        items = len(opened.items)
        title = f"a sale of {items:,}, {clients:,} clients, {len(cluster.addresses)} web"
        title += f", {rate:,g} per second" if rate else ""
        with self._step(title if kind else "warm-up") as done:
            buyers = WholeSale(opened.items, secrets.token_hex(4), until_sold_out=not rate)
            measured = await measure(cluster, Plan(buyers, cluster.addresses, clients, rate=rate, visits=items))
            counts, untrue = await oracle.count(opened)
            untrue += wrong_with(measured.load, counts, is_alone=oracle.is_alone, sold_before=opened.sold_before)
            self._note_wrong(title, untrue)
            sale = Sale(kind, items, rate, counts, measured, self._findings.ratios(measured))
            if kind:
                self._findings.sales.append(sale)
            done(f"{sale.seconds:.2f} s, {sale.sales_per_second:,.0f} sales/s")

    async def _cost_requests(self, cluster: Cluster, oracle: Oracle) -> None:
        """On one sale: half is sold and asked for again; then the rest is sold, and the half is asked for again."""
        sale = await oracle.open_sale(2 * min(self._options.size, _COSTED_REQUESTS_MAX))
        half, rest = sale.items[: len(sale.items) // 2], sale.items[len(sale.items) // 2 :]

        async def cost(title: str, buyers: WholeSale | SingleRequests, *allowed: frozenset[str]) -> list[bytes]:
            with self._step(title) as done:
                measured = await measure(cluster, Plan(buyers, cluster.addresses, self._options.middle_clients))
                row = Requests.of(title, measured)
                self._findings.request_costs.append(row)
                self._note_wrong(title, unexpected(measured.load.refusals, frozenset().union(*allowed)))
                if allowed and row.latency.count != len(half):
                    self._note_wrong(title, [f"{row.latency.count} of {len(half)} were answered as expected"])
                done(f"{row.requests_per_second:,.0f} requests/s")
                return measured.load.codes

        def checkouts() -> WholeSale:
            return WholeSale(half, secrets.token_hex(4), buys=False)

        def purchases(codes: list[bytes]) -> SingleRequests:
            run = secrets.token_hex(4)
            return SingleRequests([purchase(code, f"{run}-{number}") for number, code in enumerate(codes)])

        codes = await cost("a checkout", checkouts())
        spare = await cost("a second checkout of the item", checkouts())
        await cost("a purchase", purchases(codes))
        await cost("a checkout of a sold item", checkouts(), _ITEM_SOLD)
        await cost("a purchase of a sold item", purchases(spare), _ITEM_SOLD)
        await measure(cluster, Plan(WholeSale(rest, secrets.token_hex(4)), cluster.addresses, 16))
        await cost("a checkout when sold out", checkouts(), _SOLD_OUT)
        await cost("a purchase when sold out", purchases(spare), _SOLD_OUT)
        counts, untrue = await oracle.count(sale)
        if counts.purchases != len(sale.items):
            untrue.append(f"{counts.purchases} of {len(sale.items)} items were sold")
        self._note_wrong("refusals", untrue)

    async def _audit(self, oracle: Oracle) -> None:
        with self._step("audit of everything that was sold") as done:
            report = await oracle.audit()
            self._note_wrong("audit", broken(report))
            state = "clean" if report.is_clean else "BROKEN"
            self._findings.audit = f"audit {state}: {len(report.checks)} promises, {len(report.sales)} sales"
            done(state)

    async def _measure_ceilings(self, stores: Stores) -> None:
        """Last, and with nothing else running. The database of the sales is not touched."""
        with self._step("ceilings of the stores") as done:
            plan = CeilingPlan(stores[0].url, stores[1].url, self._options.ceiling_seconds)
            self._findings.ceilings = found = await call_in_child(measure_ceilings, plan)
            self._findings.machine.facts["Valkey"] = found.valkey_version
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


async def measure(cluster: Cluster, plan: Plan) -> Measured:
    """Run the load generator on a cluster, with the CPU and the peak memory of every process."""
    began, before, busy_before = time.monotonic(), cluster.usage(), machine_cpu_seconds()
    load = await call_in_child(generate_load, plan)
    processes = [now.since(earlier) for now, earlier in zip(cluster.usage(), before, strict=True)]
    processes.append(Usage(GENERATOR, load.cpu_seconds, load.memory_peak_bytes))
    others = machine_cpu_seconds() - busy_before - sum(process.cpu_seconds for process in processes)
    seconds = time.monotonic() - began
    return Measured(len(cluster.addresses), plan.clients, load, processes, seconds, max(0.0, others))
