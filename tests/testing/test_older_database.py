"""A database that comes back as an older version of itself: a real PostgreSQL from a copy, and the twin, alike.

What is checked is all that the rest relies on after a fail-over to a standby that lacks the last seconds, or after a
backup was restored: what came later is gone, numbers are given out again, and no term that began later has any say.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from flash import bridge
from flash.domain import CheckoutOutcome, ItemId, Redemption, SaleId, UserId
from flash.errors import TermEnded
from flash.local.embedded import EmbeddedPostgres
from flash.stores.checkouts import Checkouts
from flash.stores.pauses import Pauses
from flash.stores.postgres import open_postgres
from flash.stores.sales import Sales
from flash.stores.schedule import SaleSchedule
from flash.stores.terms import Terms
from flash.testing.stores import psql
from flash.testing.twins.database import DatabaseTwin
from tests.codes import approve, digest
from tests.stores.database import brief, name_of, sell, stored
from tests.testing.conftest import Database
from tests.testing.test_database_contract import HOUR, ONE, an_attempt, issue

COPY = "older"


@dataclass(frozen=True)
class Store:
    """`keep` what it is now, and later `come_back` as that. Neither while it is open."""

    open: Callable[[], AbstractAsyncContextManager[Database]]
    keep: Callable[[], None]
    come_back: Callable[[], None]


@pytest.fixture(params=["twin", "real"])
def store(request: pytest.FixtureRequest) -> Store:
    return _twin() if request.param == "twin" else _real(request)


def _twin() -> Store:
    twin = DatabaseTwin(code_ttl_seconds=HOUR)
    kept: list[Any] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Database]:
        yield Database(twin, twin, twin, twin, twin)

    return Store(opened, lambda: kept.append(twin.state()), lambda: twin.restore(kept[-1]))


def _real(request: pytest.FixtureRequest) -> Store:
    server: EmbeddedPostgres = request.getfixturevalue("postgres_server")
    url: str = request.getfixturevalue("postgres")
    name = name_of(url)
    request.addfinalizer(lambda: psql(server, f"DROP DATABASE IF EXISTS {name}_{COPY} WITH (FORCE)"))

    @asynccontextmanager
    async def opened() -> AsyncIterator[Database]:
        async with (
            bridge.open_loop(),
            open_postgres(url, connections_max=4, timeout_seconds=5, name="test") as database,
        ):
            terms = Terms(database, linger_seconds=5.0)
            checkouts = Checkouts(database, HOUR, digest)
            yield Database(checkouts, terms, SaleSchedule(database), Sales(database), Pauses(database))

    def keep() -> None:
        psql(server, f"CREATE DATABASE {name}_{COPY} TEMPLATE {name}")

    def come_back() -> None:
        psql(server, f"DROP DATABASE {name} WITH (FORCE)")
        psql(server, f"CREATE DATABASE {name} TEMPLATE {name}_{COPY}")

    return Store(opened, keep, come_back)


async def test_what_came_later_is_gone_and_what_came_before_is_there(store: Store) -> None:
    async with store.open() as database:
        await database.schedule.prepare_sales(HOUR, 3, 3)
        early = await issue(database, 1)
        term, _, _ = await database.terms.begin_term(ONE)
        (kept,) = await sell(database.terms, term, approve(early))
    store.keep()
    async with store.open() as database:
        late = await issue(database, 2)
        await sell(database.terms, term, approve(late, slot=2), sold_before=1)
        last = await issue(database, 3)
        await sell(database.terms, term, approve(last, slot=3), sold_before=2)
        assert await database.sales.unsold_sales() == (SaleId(2), frozenset({SaleId(2)}))
    store.come_back()
    async with store.open() as database:
        assert await database.sales.unsold_sales() == (SaleId(2), frozenset({ONE, SaleId(2)})), "it is unsold again"
        assert await database.checkouts.find_redemptions([early, late]) == [
            Redemption(True, kept),
            Redemption(False, None),
        ]
        term, sale, _ = await database.terms.begin_term(ONE)
        assert sale.sold == 1
        assert await stored(database.terms, term) == [brief(kept)]
        (recorded,) = await database.checkouts.record_attempts([an_attempt(2, "bob")])
        assert recorded.outcome is CheckoutOutcome.ISSUED, "its item is for sale again"
        assert recorded.code is not None
        assert recorded.code.checkout_id == late.checkout_id, "the number is given out again"
        assert (await database.checkouts.find_redemptions([late]))[0] == Redemption(False, None)
        confirmed = await database.terms.confirm(term, 1, [approve(late, slot=2)], [])
        assert [a.code for a in confirmed.missing] == [late], "it was another's checkout"
        assert (await sell(database.terms, term, approve(recorded.code), sold_before=1))[0].user_id == UserId("bob")


async def test_no_term_that_began_later_has_any_say_although_its_epoch_counts_again(store: Store) -> None:
    async with store.open() as database:
        await database.schedule.prepare_sales(HOUR, 3, 3)
        code = await issue(database, 1)
        earlier, _, _ = await database.terms.begin_term(ONE)
    store.keep()
    async with store.open() as database:
        later, _, _ = await database.terms.begin_term(ONE)
    store.come_back()
    async with store.open() as database:
        for approved in ([], [approve(code)]):
            with pytest.raises(TermEnded):
                await database.terms.confirm(later, 0, approved, [])
        assert (await database.terms.confirm(earlier, 0, [], [])).now is not None, "it leads again, as it did then"
        again, _, _ = await database.terms.begin_term(ONE)
        assert again.epoch == later.epoch
        with pytest.raises(TermEnded):
            await database.terms.confirm(later, 0, [approve(code)], [])
        assert len(await sell(database.terms, again, approve(code))) == 1


async def test_a_leader_that_remembers_more_than_the_database_sells_nothing(store: Store) -> None:
    async with store.open() as database:
        await database.schedule.prepare_sales(HOUR, 3, 3)
        codes = [await issue(database, item) for item in (1, 2)]
        term, _, _ = await database.terms.begin_term(ONE)
    store.keep()
    async with store.open() as database:
        await sell(database.terms, term, approve(codes[0]))
    store.come_back()
    async with store.open() as database:
        for approved in ([], [approve(codes[1], slot=2)]):
            with pytest.raises(TermEnded):
                await database.terms.confirm(term, 1, approved, [])
        assert [r.purchase for r in await database.checkouts.find_redemptions(codes)] == [None, None]


async def test_a_pause_comes_back_as_it_was(store: Store) -> None:
    async with store.open() as database:
        await database.schedule.prepare_sales(HOUR, 3, 3)
        assert await database.pauses.pause(ONE, "ann", "a question") is not None
    store.keep()
    async with store.open() as database:
        assert await database.pauses.resume(ONE, "ann", "answered")
    store.come_back()
    async with store.open() as database:
        term, _, _ = await database.terms.begin_term(ONE)
        code = await issue(database, ItemId(1))
        assert (await database.terms.confirm(term, 0, [approve(code)], [])).is_paused
        assert await database.pauses.resume(ONE, "ann", "answered again")
        assert len(await sell(database.terms, term, approve(code))) == 1
