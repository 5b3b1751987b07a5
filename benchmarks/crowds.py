"""Many clients on a running service: cost per sale, two web processes against one, reads, overload.

Each function measures one of these and returns its table. After each sale the database is asked whether it holds what
the buyers have heard; the suite audits everything at the end.
"""

from __future__ import annotations

import itertools
import secrets
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

import trio

from benchmarks.findings import GENERATOR, Measured, Table
from benchmarks.load import Buyers, Plan, checkouts, read
from benchmarks.machine import memory_bytes
from benchmarks.oracle import USER_LIMIT, OpenSale, Oracle, open_database
from benchmarks.processes import Cluster
from benchmarks.progress import Progress

BOUGHT_MAX, _WEB_ROUNDS, _CLIENTS, _SAMPLE_SECONDS, _RECOVERY_SECONDS = 20_000, 3, 256, 0.5, 2.0
_READ_CLIENTS, _VISITS_PER_SECOND_MAX, _OVERLOAD_FACTOR, _LEADER_SECONDS = 32, 12_000, 10, 30.0
_OPENING_SECONDS = 2.0
"""A sale beside reads takes up to a second to open."""
_SETTLE_SECONDS = 8.0
"""After that nothing is left of a thousand take-overs: their inboxes have long gone quiet."""
Cells = tuple[str | float | None, ...]
# Sales of the distant past: unsold, so that each keeps a leader. Their ids and items follow the latest ones.
_OPEN_BESIDE = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit)
SELECT last.id + n, coalesce(last.first_at, now()) - interval '1 day' - n * interval '1 ms',
       last.item + 20 * n, 20, $2
FROM generate_series(1, $1) AS n,
     (SELECT coalesce(max(id), 0) AS id, coalesce(max(first_item_id + stock), 1) AS item,
             least(min(starts_at), now()) AS first_at FROM sales) AS last
"""
_LED = "SELECT count(*) FILTER (WHERE epoch = 0) FROM sales WHERE sold_out_at IS NULL AND starts_at <= now()"


@dataclass(frozen=True, slots=True)
class Crowd:
    """One service, the database it sells from, and where steps are told."""

    cluster: Cluster
    oracle: Oracle
    progress: Progress

    async def sell(self, clients: int, size: int, *, web: int | None = None) -> Measured:
        """One sale of `size` items, bought by the first `web` web processes' clients."""
        only = replace(self, cluster=replace(self.cluster, addresses=self.cluster.addresses[:web]))
        return await only.buy(await self.oracle.open_sale(max(20, size)), clients)

    async def buy(self, opened: OpenSale, clients: int) -> Measured:
        """At most 20,000 items of a sale, each asked for once."""
        run = secrets.token_hex(4)
        buyers = Buyers(checkouts(opened.items[:BOUGHT_MAX], run), run)
        title = f"{len(opened.items):,} items, {clients:,} clients"
        found = await self.cluster.measure(title, Plan(buyers, self.cluster.addresses, clients))
        counts, untrue = await self.oracle.count(opened)
        if counts.purchases != found.sales or not found.load.is_finished:
            untrue.append(f"buyers heard of {found.sales} purchases, the database has {counts.purchases}")
        self.progress.note_wrong(untrue)
        return found

    async def ask(self, path: str, clients: int, seconds: float, rate: float | None = None) -> Measured:
        plan = Plan(Buyers([read(path)], repeats=True), self.cluster.addresses, clients, seconds, rate)
        return await self.cluster.measure(path, plan)


def cpu_us(found: Measured, kind: str) -> float | None:
    """CPU per sale of all processes of one kind, in µs."""
    used = sum(one.cpu_seconds for one in found.processes if one.name.partition(".")[0] == kind)
    return 1e6 * used / found.sales if found.sales else None


async def cost_table(crowd: Crowd, clients: Sequence[int], sizes: Sequence[int], beside: Sequence[int]) -> Table:
    """By clients, by size, and by other open sales, which stay: measure this last."""
    rows: list[Cells] = []
    middle, size = min(clients, key=lambda number: abs(number - _CLIENTS)), sizes[0]

    async def add(clients: int, size: int, others: int) -> None:
        crowd.progress.begin(f"cost of a sale: {clients:,} clients, {size:,} items, {others:,} other sales")
        sale = await crowd.sell(clients, size)
        kinds = [cpu_us(sale, kind) for kind in ("web", "inventory", "PostgreSQL", "Valkey", GENERATOR)]
        p99 = sale.load.accepted["purchase"].p99_ms
        rows.append((f"{size:,}", clients, others, sale.sales_per_second, p99, sale.cpu_us_per_sale, *kinds))
        crowd.progress.done(f"{sale.cpu_us_per_sale or 0:,.0f} µs a sale")

    for number in clients:
        await add(number, size, 0)
    for other_size in sizes[1:]:
        await add(middle, other_size, 0)
    opened = 0
    for others in sorted(beside):
        if not await _open_beside(crowd.oracle.url, others - opened):
            crowd.progress.lack(f"{others:,} other sales that are all led: not within {_LEADER_SECONDS:.0f} s")
        opened = others
        await add(middle, size, others)
    kinds_heads = ("web", "inventory", "PostgreSQL", "Valkey", "(generator)")
    heads = ("sale", "clients", "others open", "sales/s", "p99 ms", "CPU µs\nper sale", *kinds_heads)
    return Table("Cost per sale, in µs of CPU by process", heads, rows)


async def _open_beside(url: str, count: int) -> bool:
    """Open `count` more sales that nobody buys from, and let them settle. False if some have no leader by then."""
    async with open_database(url) as database:
        await database.write(_OPEN_BESIDE, count, USER_LIMIT)
        with trio.move_on_after(_LEADER_SECONDS) as waiting:
            while (await database.fetch(_LED))[0][0]:  # noqa: ASYNC110 the event is another process's
                await trio.sleep(0.1)
    await trio.sleep(_SETTLE_SECONDS)
    return not waiting.cancelled_caught


async def web_table(crowd: Crowd, size: int, clients: int, seconds: float) -> Table:
    """One cluster of two web processes, of which the second one is left idle in turn."""
    found: dict[int, list[tuple[float, ...]]] = {1: [], 2: []}
    for _ in range(_WEB_ROUNDS):
        for web, rounds in found.items():
            crowd.progress.begin(f"{web} of 2 web processes, {clients:,} clients")
            only = replace(crowd, cluster=replace(crowd.cluster, addresses=crowd.cluster.addresses[:web]))
            livez = await only.ask("/livez", clients, seconds / 4)
            sale = await only.sell(clients, size)
            share, p99 = sale.requests_per_second / livez.requests_per_second, sale.load.accepted["purchase"].p99_ms
            figures = sale.seconds, sale.sales_per_second, p99 or 0.0, sale.cpu_us_per_sale or 0.0
            rounds.append((*figures, livez.requests_per_second, share))
            crowd.progress.done(f"{sale.seconds:.2f} s")
    medians = {web: [statistics.median(column) for column in zip(*rows, strict=True)] for web, rows in found.items()}
    heads = (
        "web processes",
        "seconds",
        "sales/s",
        "purchase\np99 ms",
        "CPU µs\nper sale",
        "livez/s",
        "requests/s\n÷ livez/s",
    )
    rows: list[Cells] = [(str(web), *figures) for web, figures in medians.items()]
    rows.append(("2 ÷ 1", *(two / one for one, two in zip(medians[1], medians[2], strict=True))))
    return Table(f"Two web processes against one: {size:,} items, {clients:,} clients, medians of 3", heads, rows)


async def reads_table(crowd: Crowd, size: int, clients: int, seconds: float) -> Table:
    """Each read alone; then at a quarter of that rate while a sale is on, compared with a sale that has no readers."""
    sale = await crowd.oracle.open_sale(1_000)
    first = sale.items[0]
    paths = ["/sales/current", f"/items/{first}", *(f"/sales/{sale.id}/items?limit={n}" for n in (100, 1_000))]
    rows: list[Cells] = []
    for path in paths:
        crowd.progress.begin(f"reads of {path}")
        alone = await crowd.ask(path, _READ_CLIENTS, seconds)
        before = await crowd.sell(clients, size)
        beside, during = await _sell_beside(crowd, alone, clients, size, seconds + _OPENING_SECONDS)
        web = sum(one.cpu_seconds for one in alone.processes if one.name.startswith("web"))
        reads_cpu = (alone.cpu_us_per_request or 0) * beside.requests_per_second / 1e6
        lost = 1 - during.sales_per_second / before.sales_per_second if before.sales else None
        refused = sum(refusal.count for refusal in alone.load.refusals) + alone.load.rejected
        per_core = (alone.load.responses - refused) / web if web else None
        figures = (alone.requests_per_second, per_core, alone.cpu_us_per_request, alone.latency.p99_ms)
        name = path.replace(f"/items/{first}", "/items/{id}").replace(f"/sales/{sale.id}", "/sales/{id}")
        rows.append((name, *figures, beside.requests_per_second, lost, reads_cpu))
        crowd.progress.done(f"{alone.requests_per_second:,.0f} requests/s")
    heads = ("read", "requests/s", "per core\nof web CPU", "CPU µs\nper request", "p99 ms")
    beside_heads = ("reads/s\nbeside a sale", "share of\nsales/s lost", "cores that\nthe reads take")
    return Table("Reads, alone and beside a sale", (*heads, *beside_heads), rows)


async def _sell_beside(
    crowd: Crowd, alone: Measured, clients: int, size: int, seconds: float
) -> tuple[Measured, Measured]:
    """The same reads at a quarter of their rate, for `seconds`, and a sale meanwhile."""
    reads: list[Measured] = []

    async def ask() -> None:
        reads.append(await crowd.ask(alone.title, _READ_CLIENTS, seconds, alone.requests_per_second / 4))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        sale = await crowd.sell(clients, size)
    return reads[0], sale


async def overload_table(crowd: Crowd, clients: int, seconds: float) -> Table:
    """Two seconds as usual; ten times the clients, who never wait and never give way; two seconds as usual again.

    What is usual is measured for no longer than the overload of `seconds`.
    """
    usual = min(_RECOVERY_SECONDS, seconds)
    phases = ("before", 1, usual), ("overload", _OVERLOAD_FACTOR, seconds), ("after", 1, usual)
    visits = [int(_VISITS_PER_SECOND_MAX * length) for _, _, length in phases]
    opened, run = await crowd.oracle.open_sale(min(1_000_000, sum(visits))), secrets.token_hex(4)
    left, memory, rows = iter(checkouts(opened.items, run)), list[int](), list[Cells]()
    watched = [process for process in crowd.cluster.processes if process.name.startswith(("web", "inventory"))]

    async def watch() -> None:
        while True:
            memory.append(sum(memory_bytes(process.pid) for process in watched))
            await trio.sleep(_SAMPLE_SECONDS)

    for (name, factor, length), count in zip(phases, visits, strict=True):
        crowd.progress.begin(f"{name}: {factor * clients:,} clients")
        asked = Buyers(list(itertools.islice(left, count)), f"{run}-{name}")
        plan = Plan(asked, crowd.cluster.addresses, factor * clients, length, repeats_rejected=False)
        memory.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            found = await crowd.cluster.measure(name, plan)
            nursery.cancel_scope.cancel()
        load = found.load
        p99s = [load.accepted[kind].p99_ms for kind in ("checkout", "purchase")]
        megabytes = [memory[0] / 1e6, max(memory) / 1e6, memory[-1] / 1e6]
        shares = load.rejected / max(1, load.responses), load.cpu_seconds / (load.seconds or 1)
        rates = found.requests_per_second, found.sales_per_second
        rows.append((name, factor * clients, *rates, *p99s, *shares, *megabytes, load.lost))
        crowd.progress.done(f"{found.sales_per_second:,.0f} sales/s, {shares[0]:.0%} rejected")
    _, untrue = await crowd.oracle.count(opened)
    crowd.progress.note_wrong(untrue)
    heads = ("phase", "clients", "requests/s", "sales/s", "checkout\np99 ms", "purchase\np99 ms", "share\nof 503")
    memory_heads = ("generator's\ncores", "memory MB\nfirst", "most", "last", "lost")
    return Table("Overload: a 503 ends a visit and the next begins at once", (*heads, *memory_heads), rows)
