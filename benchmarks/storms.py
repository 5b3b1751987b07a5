"""Storms: what ordinary buyers notice of somebody who asks for far too much, and how soon it is over.

Ordinary buyers come at a steady rate to a sale of their own: before, during and after the storm. Every storm ends by
itself. Afterwards the database is asked whether it holds what was heard, and each refusal must be one that is true.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from benchmarks.crowds import Cells, Crowd
from benchmarks.findings import Measured, Table
from benchmarks.load import Buyers, Plan, Request, checkout, checkouts, purchase, read
from benchmarks.machine import memory_bytes
from benchmarks.oracle import TRUTHFUL, OpenSale, unexpected
from flash.local.embedded import EmbeddedPostgres

_CLIENTS, _BUYERS, _RATE = 256, 16, 100.0
"""Of a storm, of the ordinary buyers, and their sales per second."""
_CALM_SECONDS_MAX, _BEFORE_OUTAGE_SECONDS, _SAMPLE_SECONDS = 2.0, 1.0, 0.25
_VISITS_PER_SECOND_MAX, _ITEMS_MAX, _SPARE = 8_000, 200_000, 20
_JUNK = 5_000
_CODE_CHARACTERS = 72


@dataclass(frozen=True, slots=True)
class Storm:
    """`requests` are asked by `clients` for `seconds`, all of them within `gather_seconds` at first, and what follows.

    `allowed`: the refusals that are true. `outage_seconds`: for so long PostgreSQL is frozen when it begins.
    """

    name: str
    requests: Callable[[OpenSale], Sequence[Request]]
    allowed: frozenset[str]
    clients: int = _CLIENTS
    buys: bool = True
    gather_seconds: float = 0.0
    outage_seconds: float = 0.0
    repeats_rejected: bool = False


def storms(herd: int, outage_seconds: float) -> list[Storm]:
    """All of them. `herd` clients come within one second, when a sale opens or PostgreSQL is frozen."""
    limited = TRUTHFUL | {"user_limit_reached"}
    come = partial(Storm, requests=_visits, allowed=TRUTHFUL, clients=herd, gather_seconds=1.0, repeats_rejected=True)
    return [
        Storm("hot-user", lambda sale: [checkout("hot", item) for item in sale.items], limited),
        Storm("hot-sale", _visits, TRUTHFUL),
        Storm("junk-codes", lambda _: [_junk_code() for _ in range(_JUNK)], frozenset({"invalid_code"}), buys=False),
        Storm("junk-paths", lambda _: [_junk_path() for _ in range(_JUNK)], frozenset({"not_found"}), buys=False),
        come("herd"),
        come("outage", outage_seconds=outage_seconds),
    ]


def _visits(sale: OpenSale) -> Sequence[Request]:
    return checkouts(sale.items, secrets.token_hex(4))


def _junk_code() -> Request:
    return purchase(secrets.token_urlsafe(_CODE_CHARACTERS)[:_CODE_CHARACTERS].encode(), secrets.token_hex(8))


def _junk_path() -> Request:
    return read(f"/{secrets.token_hex(8)}")


async def storms_table(crowd: Crowd, chosen: Sequence[Storm], seconds: float) -> Table:
    """One row for each storm, which lasts for `seconds`, and for as long as its outage."""
    rows = [await _Weather(crowd, storm, seconds).row() for storm in chosen]
    heads = ("storm", "clients", "its\nrequests/s", "share\nof 503", "lost", "p99 ms\nbefore", "during", "after")
    more = ("max ms\nafter", "their\n503", "longest\ngap s", "memory MB\nbefore", "most", "after")
    return Table(
        f"Storms, and {_RATE:g} ordinary sales/s beside them, whose latency, 503 and gaps these are",
        (*heads, *more),
        rows,
    )


class _Weather:
    """One storm over one service, and the ordinary buyers before, during and after it."""

    def __init__(self, crowd: Crowd, storm: Storm, seconds: float) -> None:
        self._crowd, self._storm, self._seconds = crowd, storm, seconds + storm.outage_seconds
        self._calm_seconds = min(seconds, _CALM_SECONDS_MAX)
        self._visits: Iterator[Request] = iter(())
        self._memory: list[int] = []

    async def row(self) -> Cells:
        storm, crowd = self._storm, self._crowd
        crowd.progress.begin(f"storm: {storm.name}, {storm.clients:,} clients")
        ordinary = await crowd.oracle.open_sale(int(_RATE * (2 * self._calm_seconds + self._seconds)) + _SPARE)
        self._visits = iter(checkouts(ordinary.items, secrets.token_hex(4)))
        before = await self._buy(self._calm_seconds)
        calm = self._memory_now()
        target = await crowd.oracle.open_sale(min(_ITEMS_MAX, int(_VISITS_PER_SECOND_MAX * self._seconds) + _SPARE))
        during, found = await self._rage(target)
        after = await self._buy(self._calm_seconds)
        await self._judge(found, (before, during, after), ordinary, target)
        crowd.progress.done(f"{found.requests_per_second:,.0f} requests/s")
        p99s = [one.load.accepted["purchase"].p99_ms for one in (before, during, after)]
        share = found.load.rejected / max(1, found.load.responses)
        noticed = after.load.accepted["purchase"].max_ms, during.load.rejected, longest_gap(during)
        megabytes = [size / 1e6 for size in (calm, max(self._memory), self._memory_now())]
        return (
            *(storm.name, storm.clients, found.requests_per_second, share, found.load.lost),
            *(*p99s, *noticed, *megabytes),
        )

    async def _buy(self, seconds: float) -> Measured:
        """Ordinary buyers, who take the next items of their sale at a steady rate, and repeat what was rejected."""
        asked = list(itertools.islice(self._visits, int(_RATE * seconds)))
        plan = Plan(Buyers(asked, secrets.token_hex(4)), self._crowd.cluster.addresses, _BUYERS, rate=_RATE)
        return await self._crowd.cluster.measure("ordinary buyers", plan)

    async def _rage(self, target: OpenSale) -> tuple[Measured, Measured]:
        """The ordinary buyers, and the storm."""
        storm, found, during = self._storm, list[Measured](), list[Measured]()
        buyers = Buyers(storm.requests(target), secrets.token_hex(4) if storm.buys else "", repeats=True)
        plan = Plan(
            buyers,
            self._crowd.cluster.addresses,
            storm.clients,
            self._seconds,
            repeats_rejected=storm.repeats_rejected,
            gather_seconds=storm.gather_seconds,
        )

        async def storm_over() -> None:
            found.append(await self._crowd.cluster.measure(storm.name, plan))

        async def buy() -> None:
            during.append(await self._buy(self._seconds))

        async with trio.open_nursery() as watching:
            watching.start_soon(self._watch)
            async with trio.open_nursery() as nursery:
                for task in (storm_over, buy, self._break):
                    nursery.start_soon(task)
            watching.cancel_scope.cancel()
        return during[0], found[0]

    async def _break(self) -> None:
        if self._storm.outage_seconds:
            (postgres,) = [one for one in self._crowd.cluster.processes if isinstance(one, EmbeddedPostgres)]
            await trio.sleep(_BEFORE_OUTAGE_SECONDS)
            postgres.pause()
            try:
                await trio.sleep(self._storm.outage_seconds)
            finally:
                postgres.resume()

    async def _watch(self) -> None:
        while True:
            self._memory.append(self._memory_now())
            await trio.sleep(_SAMPLE_SECONDS)

    def _memory_now(self) -> int:
        ours = [one for one in self._crowd.cluster.processes if one.name.startswith(("web", "inventory"))]
        return sum(memory_bytes(process.pid) for process in ours)

    async def _judge(self, found: Measured, calm: Sequence[Measured], ordinary: OpenSale, target: OpenSale) -> None:
        """Whatever is not true is noted: a refusal, a purchase that the database does not have, a broken promise."""
        note = self._crowd.progress.note_wrong
        note(unexpected(found.load.refusals, self._storm.allowed))
        if not found.load.is_finished:
            note([f"{self._storm.name}: the load gave up after {found.load.lost} lost connections"])
        for one in calm:
            note(unexpected(one.load.refusals, frozenset()))
        for sale, loads in ((target, [found]), (ordinary, calm)):
            counts, untrue = await self._crowd.oracle.count(sale)
            note(untrue)
            heard = sum(one.sales for one in loads)
            in_doubt = sum(one.load.rejected + one.load.lost for one in loads)
            if not heard <= counts.purchases <= heard + in_doubt:
                note([f"{self._storm.name}: buyers heard of {heard} purchases, the database has {counts.purchases}"])


def longest_gap(found: Measured) -> float:
    """The longest time in seconds in which nobody heard of a sale, as far as the curve tells."""
    times = [time for time, _ in found.load.sold_over_time]
    return max((b - a for a, b in itertools.pairwise(times)), default=0.0)
