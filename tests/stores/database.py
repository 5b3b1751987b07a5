"""The stores over one database, as the processes build them, and a connection to look past them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from flash import bridge
from flash.domain import Approved, Attempt, CheckoutId, Code, Confirmed, ItemId, Purchase, RequestId, Term, UserId
from flash.stores.checkouts import Checkouts
from flash.stores.drivers import connect
from flash.stores.migration import migrate
from flash.stores.pauses import Pauses
from flash.stores.postgres import Postgres, Row, Session, open_postgres
from flash.stores.sales import Sales
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms
from tests.codes import digest

CODE_TTL_SECONDS = 3600.0
LINGER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Stores:
    database: Postgres
    checkouts: Checkouts
    terms: Terms
    sales: Sales
    schedule: SaleSchedule
    pauses: Pauses


def stores_of(database: Postgres, page_rows: int = 2_000) -> Stores:
    return Stores(
        database,
        Checkouts(database, CODE_TTL_SECONDS, digest),
        Terms(database, linger_seconds=LINGER_SECONDS, page_rows=page_rows),
        Sales(database),
        SaleSchedule(database),
        Pauses(database),
    )


def name_of(url: str) -> str:
    """The database that `url` names."""
    return urlsplit(url).path.removeprefix("/")


@asynccontextmanager
async def opened(url: str, page_rows: int = 2_000) -> AsyncIterator[Stores]:
    """The stores of a migrated database with one open sale of ten items, two to a user."""
    async with bridge.open_loop():
        await migrate(url)
        async with open_postgres(url, connections_max=4, timeout_seconds=5, name="test") as database:
            stores = stores_of(database, page_rows)
            await stores.schedule.prepare_sales(3600, 10, 2)
            yield stores


async def run_sql(url: str, sql: str, *args: object) -> list[Row]:
    """Run one statement on a connection of its own; call it within a loop."""

    async def on_connection() -> list[Row]:
        connection = await connect(url)
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    return await bridge.call_asyncio(on_connection)


async def explain(connection: Session, sql: str, *args: object) -> str:
    """The plan of `sql` as text."""
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *args))


def an_attempt(item: int, user: str = "ann") -> Attempt:
    return Attempt(UserId(user), ItemId(item))


async def issue(checkouts: Checkouts, item: int, user: str = "ann") -> Code:
    (recorded,) = await checkouts.record_attempts([an_attempt(item, user)])
    assert recorded.code is not None
    return recorded.code


class ConfirmingTerms(Protocol):
    async def confirm(
        self, term: Term, sold_before: int, approved: Sequence[Approved], redeemed: Sequence[CheckoutId]
    ) -> Confirmed: ...

    def read_purchases(self, term: Term) -> AsyncIterator[list[tuple[CheckoutId, RequestId, ItemId, UserId]]]: ...


async def sell(terms: ConfirmingTerms, term: Term, *approved: Approved, sold_before: int = 0) -> list[Purchase]:
    """The purchases, once they are stored."""
    confirmed = await terms.confirm(term, sold_before, approved, [])
    assert not confirmed.missing
    return confirmed.sold


async def stored(terms: ConfirmingTerms, term: Term) -> list[tuple[CheckoutId, RequestId, ItemId, UserId]]:
    """All that was sold before `term`, from all pages."""
    return [purchase async for page in terms.read_purchases(term) for purchase in page]


def brief(purchase: Purchase) -> tuple[CheckoutId, RequestId, ItemId, UserId]:
    """As `read_purchases` gives it."""
    return purchase.checkout_id, purchase.request_id, purchase.item_id, purchase.user_id
