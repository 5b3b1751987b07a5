"""The SQL on a real PostgreSQL: the fence, outcomes, constraints, and plans that do not decay as tables grow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash import bridge
from flash.domain import (
    Attempt,
    CheckoutId,
    CheckoutOutcome,
    Code,
    Epoch,
    ItemId,
    MalformedAttempt,
    Purchase,
    RequestId,
    SaleId,
    Term,
    UserId,
)
from flash.errors import OperatorError, TermEnded, Unavailable
from flash.stores import postgres as store
from flash.stores.postgres import Postgres, open_postgres

NOW = datetime.now(UTC)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Postgres]:
    """The database with one open sale of ten items, two to a user."""
    async with bridge.open_loop():
        await store.migrate(url)
        async with open_postgres(
            url, connections_max=4, timeout_seconds=5, code_ttl_seconds=3600, name="test"
        ) as database:
            await database.prepare_sales(3600, 10, 2)
            yield database


async def run_sql(url: str, sql: str, *args: object) -> list[asyncpg.Record]:
    async def conversation() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url, ssl=False)
        try:
            return await connection.fetch(sql, *args)
        finally:
            await connection.close()

    return await bridge.call_asyncio(conversation)


def an_attempt(item: int, user: str = "ann") -> Attempt:
    return Attempt(UserId(user), ItemId(item))


async def issue(database: Postgres, item: int, user: str = "ann") -> Code:
    (recorded,) = await database.record_attempts([an_attempt(item, user)])
    assert recorded.code is not None
    return recorded.code


def a_purchase(code: Code, item: int, user: str = "ann", slot: int = 1) -> Purchase:
    return Purchase(code.checkout_id, RequestId(f"auto:{code.checkout_id}"), ItemId(item), UserId(user), slot, NOW)


async def test_a_batch_of_attempts_is_answered_in_order_and_recorded_as_answered(postgres: str) -> None:
    async with opened(postgres) as database:
        term, _, _ = await database.begin_term(SaleId(1))
        await database.sell(term, [a_purchase(await issue(database, 2), 2)])
        attempts: list[Attempt | MalformedAttempt] = [
            an_attempt(1),
            MalformedAttempt(b"user_id=%FF\x00"),
            an_attempt(2),
            an_attempt(11),
            an_attempt(2**63 - 1),
            an_attempt(1, "b\u00f6b"),
        ]
        recorded = await database.record_attempts(attempts)
        expected = ["issued", "invalid_request", "item_sold", "sale_not_open", "item_not_found", "issued"]
        assert [a.outcome.value for a in recorded] == expected
        assert [a.code is not None for a in recorded] == [outcome == "issued" for outcome in expected]
        assert 0 < recorded[3].opens_in_seconds <= 3600
        rows = await run_sql(
            postgres, "SELECT outcome, user_id, item_id, query FROM checkouts WHERE id > 1 ORDER BY id"
        )
        assert [row["outcome"] for row in rows] == expected
        assert [(row["user_id"], row["item_id"], row["query"]) for row in rows] == [
            (None, None, a.query) if isinstance(a, MalformedAttempt) else (a.user_id, a.item_id, None) for a in attempts
        ]


async def test_a_deposed_leader_commits_nothing(postgres: str) -> None:
    async with opened(postgres) as database:
        code = await issue(database, 1)
        old, _, _ = await database.begin_term(SaleId(1))
        new, sale, purchases = await database.begin_term(SaleId(1))
        assert new.epoch == old.epoch + 1
        with pytest.raises(TermEnded):
            await database.sell(old, [a_purchase(code, 1)])
        assert await run_sql(postgres, "SELECT FROM purchases") == []
        await database.sell(new, [a_purchase(code, 1)])
        _, sale, purchases = await database.begin_term(SaleId(1))
        assert (sale.sold, purchases) == (1, [a_purchase(code, 1)])


async def test_a_leader_deposed_while_it_reads_what_was_sold_is_not_taken_for_damaged_data(postgres: str) -> None:
    async with opened(postgres) as database:
        code, other = await issue(database, 1), await issue(database, 2)
        before, _, _ = await database.begin_term(SaleId(1))
        await database.sell(before, [a_purchase(code, 1)])

        class Slow:
            """A connection on which a later term sells between the new epoch and the purchases."""

            def __init__(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
                self.connection = connection
                self.fetchrow = connection.fetchrow

            async def fetch(self, *args: object) -> list[asyncpg.Record]:
                later = await asyncpg.connect(postgres, ssl=False)
                epoch = await later.fetchval("UPDATE sales SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch")
                if epoch == 3:
                    assert await store._sell(later, Term(SaleId(1), Epoch(3)), [a_purchase(other, 2, slot=2)])
                await later.close()
                return await self.connection.fetch(*args)  # type: ignore[call-overload, no-any-return]

        async def begin() -> tuple[Term, int, list[Purchase]]:
            connection = await asyncpg.connect(postgres, ssl=False)
            term, sale, purchases = await store._begin_term(Slow(connection), SaleId(1))
            await connection.close()
            return term, sale.sold, purchases

        term, sold, purchases = await bridge.call_asyncio(begin)
        assert (term.epoch, sold, purchases) == (2, 1, [a_purchase(code, 1)])
        with pytest.raises(TermEnded):
            await database.sell(term, [a_purchase(other, 2)])


async def test_a_database_that_takes_no_writes_is_unavailable(postgres: str) -> None:
    async with opened(postgres) as database:
        name = postgres.rpartition("/test_")[2].partition("?")[0]
        await run_sql(postgres, f"ALTER DATABASE test_{name} SET default_transaction_read_only = on")
        async with open_postgres(
            postgres, connections_max=1, timeout_seconds=5, code_ttl_seconds=3600, name="test"
        ) as standby:
            with pytest.raises(Unavailable, match="takes no writes"):
                await standby.record_attempts([an_attempt(1)])
            assert await standby.find_sale(SaleId(1)) is not None
        assert await database.find_sale(SaleId(1)) is not None


async def test_whoever_finds_all_connections_busy_is_told_so_in_time(postgres: str) -> None:
    async with (
        bridge.open_loop(),
        open_postgres(postgres, connections_max=1, timeout_seconds=0.3, code_ttl_seconds=3600, name="test") as database,
        trio.open_nursery() as nursery,
    ):

        async def hold() -> None:
            async with database._connections.one():
                await trio.sleep_forever()

        nursery.start_soon(hold)
        await wait_all_tasks_blocked()
        with trio.fail_after(5), pytest.raises(Unavailable, match="busy"):
            await database.ping()
        nursery.cancel_scope.cancel()


async def test_a_commit_is_all_or_nothing_even_against_a_bug(postgres: str) -> None:
    async with opened(postgres) as database:
        term, _, _ = await database.begin_term(SaleId(1))
        first, second = await issue(database, 1), await issue(database, 1, "bob")
        with pytest.raises(asyncpg.UniqueViolationError):
            await database.sell(term, [a_purchase(first, 1), a_purchase(second, 1, "bob")])
        (row,) = await run_sql(postgres, "SELECT sold FROM sales WHERE id = 1")
        assert row["sold"] == 0


async def test_the_last_item_closes_the_sale(postgres: str) -> None:
    async with opened(postgres) as database:
        term, _, _ = await database.begin_term(SaleId(1))
        codes = [await issue(database, item, f"u{item}") for item in range(1, 11)]
        await database.sell(term, [a_purchase(code, item, f"u{item}") for item, code in enumerate(codes, start=1)])
        (recorded,) = await database.record_attempts([an_attempt(1)])
        assert recorded.outcome is CheckoutOutcome.SOLD_OUT
        assert await database.unsold_sales() == (2, frozenset({2}))
        assert [sale.id for sale in await database.list_sales(None, 10, with_sold_out=False)] == [2]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit) SELECT 9, starts_at, 900, 1, 1 FROM sales",
        "INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit) VALUES (9, 'epoch', 5, 1, 1)",
        "UPDATE sales SET sold = stock + 1",
        "UPDATE sales SET sold = stock",
        "INSERT INTO purchases VALUES (1, 2, 1, 'bob', 1, 1, 'auto:2', now())",
        "INSERT INTO purchases VALUES (1, 1, 2, 'bob', 1, 1, 'auto:2', now())",
        "INSERT INTO purchases VALUES (1, 2, 2, 'ann', 1, 1, 'auto:2', now())",
        "INSERT INTO purchases VALUES (1, 2, 2, 'bob', 11, 1, 'auto:2', now())",
        "INSERT INTO checkouts (outcome) VALUES ('perhaps')",
        "INSERT INTO checkouts (outcome) VALUES ('issued')",
    ],
    ids=[
        "two sales of one hour",
        "an item of two sales",
        "more sold than there are",
        "sold out but not closed",
        "a code sold twice",
        "an item sold twice",
        "a slot taken twice",
        "an eleventh item",
        "an unknown outcome",
        "a code without secret and buyer",
    ],
)
async def test_postgres_itself_refuses(postgres: str, sql: str) -> None:
    async with opened(postgres) as database:
        term, _, _ = await database.begin_term(SaleId(1))
        await database.sell(term, [a_purchase(await issue(database, 1), 1)])
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await run_sql(postgres, sql)


async def test_a_code_is_found_only_in_its_own_sale_and_expires_by_the_databases_clock(postgres: str) -> None:
    async with opened(postgres) as database:
        code = await issue(database, 1)
        _, found = await database.find_checkouts(SaleId(1), [code.checkout_id, CheckoutId(999)])
        assert list(found) == [code.checkout_id]
        checkout = found[code.checkout_id]
        assert (checkout.secret, checkout.item_id, checkout.user_id, checkout.is_expired) == (
            code.secret,
            1,
            "ann",
            False,
        )
        assert (await database.find_checkouts(SaleId(2), [code.checkout_id]))[1] == {}
        await run_sql(postgres, "UPDATE checkouts SET attempted_at = now() - interval '1 h 1 s'")
        assert (await database.find_checkouts(SaleId(1), [code.checkout_id]))[1][code.checkout_id].is_expired
        (redemption,) = await database.find_redemptions([code])
        assert redemption.checkout is not None
        assert redemption.checkout.is_expired


async def test_a_term_of_a_sale_that_does_not_exist_does_not_begin(postgres: str) -> None:
    async with opened(postgres) as database:
        with pytest.raises(TermEnded):
            await database.begin_term(SaleId(77))
        with pytest.raises(TermEnded):
            await database.sell(Term(SaleId(77), Epoch(1)), [a_purchase(await issue(database, 1), 1)])


async def test_twenty_migrations_at_once_make_one_schema_and_one_key(postgres: str) -> None:
    await_key = "SELECT value FROM secrets WHERE name = 'code_key'"
    async with bridge.open_loop():
        await run_sql(postgres, "DROP TABLE sales, checkouts, purchases, secrets")
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(_migrate, postgres)
        assert len(await run_sql(postgres, await_key)) == 1


async def _migrate(url: str) -> None:
    await store.migrate(url)


async def test_a_database_that_is_not_there_is_unavailable_and_one_that_may_not_be_changed_says_so(
    postgres: str,
) -> None:
    async with bridge.open_loop():
        with pytest.raises(Unavailable):
            await _migrate("postgresql://flash@/flash?host=/nowhere")
        await run_sql(postgres, "CREATE ROLE reader LOGIN")
        try:
            with pytest.raises(OperatorError, match="permission denied"):
                await _migrate(postgres.replace("flash@", "reader@"))
        finally:
            await run_sql(postgres, "DROP ROLE reader")


@pytest.mark.parametrize(
    ("sql", "args"),
    [
        (store.RECORD_ATTEMPTS, (["u"] * 99, list(range(1, 100)), [None] * 99, [b"s" * 16] * 99)),
        (store.FIND_CHECKOUTS, (list(range(1, 100)), 1, 3600.0)),
        (store.FIND_REDEMPTIONS, (list(range(1, 100)), [1] * 99, 3600.0)),
        (store.PURCHASES_PAGE, (1, 5, 2)),
        (store.FIND_ITEM, (5,)),
    ],
    ids=["record", "find checkouts", "find redemptions", "load a term", "find an item"],
)
@pytest.mark.parametrize("rows", [0, 20_000])
async def test_no_hot_statement_reads_a_whole_table(
    postgres: str, sql: str, args: tuple[object, ...], rows: int
) -> None:
    """With the settings of the service's own connections, on tables that nobody has analyzed yet."""
    options = store._connection_options(postgres, 5, "test")  # what is tested

    async def conversation() -> str:
        connection = await asyncpg.connect(postgres, **options)
        try:
            await connection.execute(_FILL.replace("ROWS", str(rows)))
            return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *args))
        finally:
            await connection.close()

    async with bridge.open_loop():
        plan = await bridge.call_asyncio(conversation)
    for table in ("checkouts", "purchases"):
        assert f"Seq Scan on {table}" not in plan, plan
    assert "Materialize" not in plan, plan
    assert "Hash" not in plan, plan


_FILL = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit) VALUES (1, now(), 1, 100000, 10);
INSERT INTO checkouts (outcome, sale_id, item_id, user_id, secret)
SELECT 'issued', 1, i, 'u' || i, decode(md5(i::text), 'hex') FROM generate_series(1, ROWS) AS i;
INSERT INTO purchases SELECT 1, i, i, 'u' || i, 1, 1, 'auto:' || i, now() FROM generate_series(1, ROWS) AS i;
"""
