"""The one module that knows `flash.stores`: its public methods, called as the service calls them.

The oracle opens its sales through it, and the ceilings time it.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from flash.domain import Attempt, ItemId, Purchase, RecordedAttempt, RequestId, Sale, SaleId, Term, UserId
from flash.stores.checkouts import Checkouts
from flash.stores.migration import migrate
from flash.stores.postgres import Postgres, open_postgres
from flash.stores.redis_link import RedisLink
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms

__all__ = ["RedisLink", "Seller", "migrate", "open_seller", "prepare_sale"]

USER_LIMIT = 10
_CODE_TTL_SECONDS = 3600.0


async def prepare_sale(url: str, *, period_seconds: int, size: int) -> SaleId:
    """A new sale that begins now. Waits for a period that has none yet."""
    async with _open(url) as database:
        while True:
            made, _ = await SaleSchedule(database).prepare_sales(period_seconds, size, USER_LIMIT)
            if made:
                return made[0]
            await trio.sleep(0.1)


@dataclass(slots=True)
class Seller:
    """One connection that leads one sale and commits its rows in groups, as web and inventory processes do."""

    database: Postgres
    checkouts: Checkouts
    terms: Terms
    term: Term
    sale: Sale
    items: itertools.count[int]

    def attempts(self, count: int) -> list[Attempt]:
        return [Attempt(UserId(f"buyer-{item // 5}"), ItemId(item)) for item in itertools.islice(self.items, count)]

    async def record(self, attempts: Sequence[Attempt]) -> list[RecordedAttempt]:
        """One commit of checkouts."""
        return await self.checkouts.record_attempts(list(attempts))

    def purchase(self, attempt: Attempt, recorded: RecordedAttempt) -> Purchase:
        assert recorded.code is not None
        checkout, item, user = recorded.code.checkout_id, attempt.item_id, attempt.user_id
        return Purchase(checkout, RequestId(f"key:{checkout}"), item, user, item % 5 + 1, self.sale.starts_at)

    async def sell(self, purchases: list[Purchase]) -> None:
        """One commit of purchases."""
        await self.terms.sell(self.term, purchases)

    async def ping(self) -> None:
        """The shortest conversation there is."""
        await self.database.ping()


@asynccontextmanager
async def open_seller(url: str, size: int) -> AsyncIterator[Seller]:
    """In an empty database with the schema applied."""
    sale_id = await prepare_sale(url, period_seconds=86_400, size=size)
    async with _open(url) as database:
        terms = Terms(database, _CODE_TTL_SECONDS, linger_seconds=0)
        term, sale, _ = await terms.begin_term(sale_id)
        checkouts = Checkouts(database, _CODE_TTL_SECONDS)
        yield Seller(database, checkouts, terms, term, sale, itertools.count(sale.first_item_id))


@asynccontextmanager
async def _open(url: str) -> AsyncIterator[Postgres]:
    async with open_postgres(url, name="flash benchmark", connections_max=1, timeout_seconds=30) as database:
        yield database
