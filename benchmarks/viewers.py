"""What thousands of viewers of `GET /events` cost the sale that they watch, and how late they hear of it.

Sales with and without viewers are measured in turn. Buying should lose no more than the CPU that the viewers take: to
serve them, and to be them, since they share the machine. All that is used beyond what a sale without viewers takes is
counted as theirs.
"""

from __future__ import annotations

import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from benchmarks.crowds import BOUGHT_MAX, Cells, Crowd, cpu_us
from benchmarks.findings import Measured, Table
from benchmarks.machine import memory_bytes
from benchmarks.oracle import OpenSale, open_database
from benchmarks.processes import call_in_child
from benchmarks.stats import summary
from benchmarks.watchers import CONNECT_SECONDS, Watched, WatchPlan, watch
from flash.testing.stores import private_directory

_ROUNDS, _FEW_ITEMS = 3, 1_000
"""A sale of few items says nothing about speed: one round will do."""
_SECONDS_MAX = 12.0
_OTHER_FILES = 256
"""Descriptors of a process that are not viewers."""
_SOLD_AT = "SELECT item_id, extract(epoch FROM purchased_at)::float8 AS at FROM purchases WHERE sale_id = $1"


@dataclass(frozen=True, slots=True)
class Round:
    """A sale without viewers, and then one with them. `memory` is what the web process took for all of them."""

    without: Measured
    beside: Measured
    watched: Watched
    late_seconds: list[float]
    memory_bytes: int

    @property
    def kept(self) -> float:
        """The sales/s that were left, as a share."""
        return self.beside.sales_per_second / self.without.sales_per_second

    @property
    def serving_seconds(self) -> float:
        """CPU of the web process beyond what the sale takes without viewers."""
        each = _cpu_seconds(self.without, "web") / self.without.sales
        return max(0.0, _cpu_seconds(self.beside, "web") - self.beside.sales * each)

    @property
    def cpu_share(self) -> float:
        """The viewers' part of all CPU that was used, their own process included."""
        used = _cpu_seconds(self.beside) + self.watched.cpu_seconds
        each = _cpu_seconds(self.without) / self.without.sales
        return max(0.0, 1 - self.beside.sales * each / used)


def _cpu_seconds(found: Measured, kind: str = "") -> float:
    """Of all processes of one kind, or of all."""
    return sum(one.cpu_seconds for one in found.processes if one.name.startswith(kind))


async def viewers_tables(crowd: Crowd, viewers: int, size: int, clients: int) -> list[Table]:
    """`crowd` has one web process. At most `viewers` watch, as many as this process may have files open."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - _OTHER_FILES  # the service wants two for each
    if allowed < viewers:
        crowd.progress.lack(
            f"{viewers:,} viewers: ulimit -n allows {max(1, allowed):,} (2 for each and {_OTHER_FILES})"
        )
    size, rounds = min(size, BOUGHT_MAX), list[Round]()  # a sale that is not sold out has no end to wait for
    for _ in range(_ROUNDS if size >= _FEW_ITEMS else 1):
        crowd.progress.begin(f"a sale without viewers, {clients:,} clients")
        without = await crowd.sell(clients, size)
        crowd.progress.done(f"{without.sales_per_second:,.0f} sales/s")
        crowd.progress.begin(f"a sale with {min(viewers, allowed):,} viewers")
        rounds.append(await _sell_watched(crowd, without, max(1, min(viewers, allowed)), size, clients))
        crowd.progress.done(f"{rounds[-1].beside.sales_per_second:,.0f} sales/s")
    return [_buying_table(rounds, clients), _watching_table(rounds)]


async def _sell_watched(crowd: Crowd, without: Measured, viewers: int, size: int, clients: int) -> Round:
    (web,) = [process for process in crowd.cluster.processes if process.name.startswith("web")]
    sale, watched = await crowd.oracle.open_sale(max(20, size)), list[Watched]()
    before = memory_bytes(web.pid)
    with private_directory() as folder:
        plan = WatchPlan(crowd.cluster.addresses[0], sale.id, viewers, folder / "ready", _SECONDS_MAX)

        async def follow() -> None:
            watched.append(await call_in_child(watch, plan))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await _made(plan.ready)
            memory = memory_bytes(web.pid) - before
            beside = await crowd.buy(sale, clients)
    late, untrue = await _lateness(crowd.oracle.url, sale, watched[0])
    refused = [f"{watched[0].refused} of {viewers} viewers were refused"] if watched[0].refused else []
    crowd.progress.note_wrong(untrue + refused)
    return Round(without, beside, watched[0], late, memory)


async def _made(file: Path) -> None:
    with trio.fail_after(2 * CONNECT_SECONDS):
        while not await trio.Path(file).exists():  # noqa: ASYNC110 another process makes it
            await trio.sleep(0.02)


async def _lateness(url: str, sale: OpenSale, watched: Watched) -> tuple[list[float], list[str]]:
    """From the beginning of the statement that sold an item until a viewer was told, of each item and viewer.

    And what viewers were told that is not true, or not all that they should have been told.
    """
    async with open_database(url) as database:
        sold_at = {row["item_id"]: row["at"] for row in await database.fetch(_SOLD_AT, sale.id)}
    late, wrong = list[float](), 0
    for heard in watched.heard:
        items = [item for _, told in heard for item in told]
        if len(items) != len(sold_at) or set(items) != set(sold_at):
            wrong += 1
            continue
        late += [at - sold_at[item] for at, told in heard for item in told]
    return late, [f"{wrong} of {len(watched.heard)} viewers were told something else than was sold"] if wrong else []


def _buying_table(rounds: Sequence[Round], clients: int) -> Table:
    def row(name: str, sales: Sequence[Measured]) -> Cells:
        bought = [sale.load.accepted["purchase"] for sale in sales]
        columns = (
            [sale.sales_per_second for sale in sales],
            [latency.p50_ms or 0 for latency in bought],
            [latency.p99_ms or 0 for latency in bought],
            [cpu_us(sale, "web") or 0 for sale in sales],
            [sale.cpu_us_per_sale or 0 for sale in sales],
        )
        return (name, *map(statistics.median, columns))

    heads = ("buyers", "sales/s", "purchase\np50 ms", "p99 ms", "web CPU µs\nper sale", "CPU µs\nper sale")
    rows = [row("alone", [one.without for one in rounds]), row("with viewers", [one.beside for one in rounds])]
    return Table(f"Viewers: what {clients:,} buyers notice of them, medians of {len(rounds)}", heads, rows)


def _watching_table(rounds: Sequence[Round]) -> Table:
    heads = ("round", "viewers", "sales/s\nkept", "CPU share\nof viewers", "cores to\nserve them", "cores to\nbe them")
    more = ("MB/s", "web memory\nKB each", "item_sold\np50 ms", "p99 ms", "max ms", "cut\nloose")
    rows: list[Cells] = []
    for number, one in enumerate(rounds, start=1):
        watched, late, seconds = one.watched, summary(one.late_seconds), one.beside.seconds
        viewers = watched.finished + watched.lost
        cores = one.serving_seconds / seconds, watched.cpu_seconds / seconds
        sizes = watched.received_bytes / 1e6 / seconds, one.memory_bytes / 1e3 / max(1, viewers)
        times = late.p50_ms, late.p99_ms, late.max_ms
        rows.append((str(number), viewers, one.kept, one.cpu_share, *cores, *sizes, *times, watched.lost))
    return Table("Viewers: what they take and when they hear", (*heads, *more), rows)
