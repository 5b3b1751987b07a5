"""A pause against whoever sells at the same moment, against an earlier release, and in the record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import trio

from flash.domain import Approved, Confirmed, SaleId, Term
from flash.errors import OutcomeUnknown, TermEnded
from flash.stores.pauses import LOCK_SALE, PAUSE
from flash.stores.postgres import Session
from tests.codes import approve
from tests.stores.database import Stores, issue, opened, run_sql, sell

ONE = SaleId(1)
# what the leader of release 0.1 and every one before pauses did, as far as the sale's row is concerned
SELL_OF_BEFORE = "UPDATE sales SET sold = sold + 1 WHERE id = 1 AND epoch = $1"
WAITING = """
SELECT count(*) AS sessions FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def in_transaction(stores: Stores, *statements: tuple[object, ...]) -> AsyncIterator[None]:
    """Perform `statements`, and commit them when the block ends."""
    performed, may_commit = trio.Event(), trio.Event()

    async def perform(session: Session) -> None:
        async with session.transaction():
            for sql, *args in statements:
                await session.execute(str(sql), *args)
            performed.set()
            await may_commit.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stores.database.run, perform)
        await performed.wait()
        yield
        may_commit.set()


async def somebody_waits(stores: Stores) -> None:
    with trio.fail_after(5):
        while not (await stores.database.fetch(WAITING))[0]["sessions"]:
            await trio.lowlevel.checkpoint()


async def confirm(stores: Stores, term: Term, approved: Approved, answers: list[Confirmed | TermEnded]) -> None:
    try:
        answers.append(await stores.terms.confirm(term, 0, [approved], []))
    except TermEnded as error:
        answers.append(error)


async def test_every_pause_and_its_end_are_recorded_with_who_why_when_and_what_was_sold(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(ONE)
        await sell(stores.terms, term, approve(await issue(stores.checkouts, 1)))
        pause = await stores.pauses.pause(ONE, "ann", "a wrong picture")
        assert pause is not None
        (sale,) = await run_sql(postgres, "SELECT paused_at, paused_by, paused_sold FROM sales WHERE id = 1")
        assert tuple(sale) == (pause.at, "ann", 1)
        await stores.pauses.pause(ONE, "bob", "again")
        await stores.pauses.resume(ONE, "eve", "mended")
        await stores.pauses.resume(ONE, "eve", "again")
        rows = await run_sql(postgres, "SELECT sale_id, action, by, reason, sold FROM sale_pauses ORDER BY id")
        assert [tuple(row) for row in rows] == [
            (1, "pause", "ann", "a wrong picture", 1),
            (1, "resume", "eve", "mended", 1),
        ]
        assert [tuple(row) for row in rows[::-1]] == [
            (r.sale_id, r.action, r.by, r.reason, r.sold) for r in await stores.pauses.recorded(10)
        ]
        assert [record.by for record in await stores.pauses.recorded(1)] == ["eve"]
        (times,) = await run_sql(postgres, "SELECT array_agg(at ORDER BY id) FROM sale_pauses")
        assert times[0][0] == pause.at < times[0][1]
        (sale,) = await run_sql(postgres, "SELECT paused_at, paused_by, paused_sold FROM sales WHERE id = 1")
        assert tuple(sale) == (None, None, None)


async def test_a_purchase_that_waits_for_a_pause_is_not_made(postgres: str) -> None:
    """The statement has begun, and looked at the sale, before the pause is committed."""
    async with opened(postgres) as stores:
        code = await issue(stores.checkouts, 1)
        term, _, _ = await stores.terms.begin_term(ONE)
        answers: list[Confirmed | TermEnded] = []
        async with trio.open_nursery() as nursery, in_transaction(stores, (LOCK_SALE, ONE), (PAUSE, ONE, "ann")):
            nursery.start_soon(confirm, stores, term, approve(code), answers)
            await somebody_waits(stores)
        (answer,) = answers
        assert isinstance(answer, Confirmed)
        assert (answer.is_paused, answer.sold) == (True, [])
        assert await run_sql(postgres, "SELECT FROM purchases") == []
        await stores.pauses.resume(ONE, "ann", "mended")
        assert len(await sell(stores.terms, term, approve(code))) == 1


async def test_a_pause_waits_for_a_purchase_that_came_first_and_counts_it(postgres: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(ONE)
        async with trio.open_nursery() as nursery, in_transaction(stores, (SELL_OF_BEFORE, term.epoch)):
            nursery.start_soon(stores.pauses.pause, ONE, "ann", "a wrong picture")
            await somebody_waits(stores)
        (row,) = await run_sql(postgres, "SELECT sold FROM sale_pauses")
        assert row["sold"] == 1
        with pytest.raises(TermEnded):
            await stores.terms.confirm(term, 0, [approve(await issue(stores.checkouts, 1))], [])


async def test_a_process_of_an_earlier_release_sells_nothing_of_a_paused_sale_and_goes_on_with_others(
    postgres: str,
) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(ONE)
        await stores.pauses.pause(ONE, "ann", "a wrong picture")
        with pytest.raises(asyncpg.CheckViolationError, match="sales_nothing_sold_while_paused"):
            await run_sql(postgres, SELL_OF_BEFORE, term.epoch)
        await stores.pauses.resume(ONE, "ann", "mended")
        await run_sql(postgres, SELL_OF_BEFORE, term.epoch)
        (row,) = await run_sql(postgres, "SELECT sold FROM sales WHERE id = 1")
        assert row["sold"] == 1


async def test_a_pause_that_nobody_could_record_did_not_happen(postgres: str) -> None:
    async with opened(postgres) as stores:
        with pytest.raises(OutcomeUnknown, match="check constraint"):
            await stores.pauses.pause(ONE, "a" * 65, "too long a name")
        (row,) = await run_sql(postgres, "SELECT paused_at FROM sales WHERE id = 1")
        assert row["paused_at"] is None
        assert await run_sql(postgres, "SELECT FROM sale_pauses") == []


async def test_what_is_paused_is_listed(postgres: str) -> None:
    async with opened(postgres) as stores:
        assert await stores.pauses.list_paused([ONE]) == {}
        pause = await stores.pauses.pause(ONE, "ann", "a wrong picture")
        assert await stores.pauses.list_paused([ONE, SaleId(77)]) == {ONE: pause}
        assert await stores.pauses.list_paused([]) == {}
