"""What one PostgreSQL connection can do with the service's own rows: the ceiling of every commit. A program.

The conversations are those of `stores.postgres`, unchanged, on plain asyncio and through the bridge, at several batch
sizes, in a database of its own that is dropped afterwards. asyncio is imported here because it is what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import trio

from flash import bridge
from flash.domain import Attempt, Code, ItemId, MalformedAttempt, Purchase, RecordedAttempt, RequestId, Term, UserId
from flash.stores.checkouts import Checkouts
from flash.stores.migration import migrate
from flash.stores.postgres import Postgres, open_postgres
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms

_DATABASE = "flash_ceiling"
_SALE_SIZE = 1_000_000
_COMMITS_MAX = 500

Record = Callable[[list[Attempt | MalformedAttempt]], Awaitable[list[RecordedAttempt]]]
Sell = Callable[[Term, list[Purchase]], Awaitable[object]]


@dataclass(slots=True)
class Market:
    """The sale that the rows belong to, and the items of it that have not been used yet."""

    term: Term
    starts_at: Any
    items: Iterator[int]

    def attempts(self, count: int) -> list[Attempt]:
        return [Attempt(UserId(f"buyer-{item // 5}"), ItemId(item)) for item in self._take(count)]

    def purchases(self, attempts: list[Attempt], attempted: list[RecordedAttempt]) -> list[Purchase]:
        return [self._purchase(attempt, outcome.code) for attempt, outcome in zip(attempts, attempted, strict=True)]

    def _purchase(self, attempt: Attempt, code: Code | None) -> Purchase:
        assert code is not None
        request = RequestId(f"key:{code.checkout_id}")
        slot = attempt.item_id % 5 + 1
        return Purchase(code.checkout_id, request, attempt.item_id, attempt.user_id, slot, self.starts_at)

    def _take(self, count: int) -> list[int]:
        return [item for item, _ in zip(self.items, range(count), strict=False)]


async def run(market: Market, record: Record, sell: Sell, batch: int, seconds: float) -> dict[str, Any]:
    """Microseconds a row of recording attempts and of selling them, `batch` rows a commit."""
    spent = [0.0, 0.0]
    commits = -1  # the first one, which prepares the statements, is not counted
    while commits < 1 or (sum(spent) < seconds and commits < _COMMITS_MAX):
        attempts = market.attempts(batch)
        started = time.perf_counter()
        attempted = await record([*attempts])
        recorded = time.perf_counter()
        purchases = market.purchases(attempts, attempted)
        prepared = time.perf_counter()
        await sell(market.term, purchases)
        commits += 1
        if commits:
            spent[0] += recorded - started
            spent[1] += time.perf_counter() - prepared
    rows = commits * batch
    checkout, purchase = (1e6 * part / rows for part in spent)
    return {
        "batch": batch,
        "rows": rows,
        "checkout_us_per_row": checkout,
        "purchase_us_per_row": purchase,
        "sales_per_second": 1e6 / (checkout + purchase),
    }


class _Plain:
    """What the stores use of `Postgres`, on one connection."""

    def __init__(self, connection: Any) -> None:
        self.write = connection.fetch


def _stores(database: Postgres) -> tuple[Checkouts, Terms]:
    return Checkouts(database, 3600), Terms(database, 3600, linger_seconds=5)


async def plain(url: str, market: Market, batches: list[int], seconds: float) -> list[dict[str, Any]]:
    """On asyncio, with nothing of ours between."""
    connection: Any = await asyncpg.connect(url, ssl=False)
    database: Any = _Plain(connection)
    checkouts, terms = _stores(database)
    try:
        return [await run(market, checkouts.record_attempts, terms.sell, batch, seconds) for batch in batches]
    finally:
        connection.terminate()


async def bridged(url: str, market: Market, batches: list[int], seconds: float) -> list[dict[str, Any]]:
    """From Trio, as the service does it: a pool of one connection, and a crossing for each commit."""
    async with _opened(url) as database:
        checkouts, terms = _stores(database)
        return [await run(market, checkouts.record_attempts, terms.sell, batch, seconds) for batch in batches]


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Postgres]:
    async with (
        bridge.open_loop(),
        open_postgres(url, connections_max=1, timeout_seconds=30, name="flash bench") as database,
    ):
        yield database


async def _make_market(url: str) -> Market:
    async with bridge.open_loop():
        await migrate(url)
    async with _opened(url) as database:
        made, _ = await SaleSchedule(database).prepare_sales(86_400, _SALE_SIZE, 10)
        term, sale, _ = await _stores(database)[1].begin_term(made[0])
        return Market(term, sale.starts_at, iter(sale.item_ids))


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url, ssl=False)
    try:
        await connection.execute(sql)
    finally:
        connection.terminate()


def measure(url: str, plan: Mapping[str, Any]) -> dict[str, Any]:
    own = urlunsplit(urlsplit(url)._replace(path=f"/{_DATABASE}"))
    asyncio.run(_execute(url, f"CREATE DATABASE {_DATABASE}"))
    try:
        market = trio.run(_make_market, own)
        batches, seconds = plan["batches"], plan["seconds"]
        return {
            "asyncio": asyncio.run(plain(own, market, batches, seconds)),
            "bridge": trio.run(bridged, own, market, batches, seconds),
        }
    finally:
        asyncio.run(_execute(url, f"DROP DATABASE {_DATABASE} WITH (FORCE)"))


if __name__ == "__main__":
    result = measure(sys.argv[1], json.loads(sys.stdin.readline()))
    sys.stdout.write(json.dumps({"result": result}) + "\n")
