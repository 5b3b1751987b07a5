"""What PostgreSQL itself refuses, plans that do not decay as tables grow, and updates of `sales` that stay cheap."""

from __future__ import annotations

import json

import asyncpg
import pytest

from flash import bridge
from flash.domain import SaleId
from flash.stores import checkouts, sales, terms
from flash.stores.migration import migrate
from flash.stores.postgres import Session, open_postgres
from tests.codes import approve
from tests.stores.database import explain, issue, opened, run_sql, sell, stores_of


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
        "UPDATE sales SET paused_at = now() WHERE id = 1",
        "UPDATE sales SET paused_at = now(), paused_by = 'ann', paused_sold = 0 WHERE id = 1",
        "INSERT INTO sale_pauses (sale_id, action, at, by, reason, sold) VALUES (1, 'stop', now(), 'ann', '', 1)",
        "INSERT INTO checkouts (outcome) VALUES ('perhaps')",
        "INSERT INTO checkouts (outcome, sale_id, item_id) VALUES ('issued', 1, 1)",
        "INSERT INTO checkouts (outcome, user_id, user_digest) VALUES ('issued', 'ann', decode(md5('1'), 'hex'))",
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
        "a pause by nobody",
        "a pause with something sold in it",
        "something else than a pause or its end",
        "an unknown outcome",
        "a code without a buyer",
        "a code without an item",
    ],
)
async def test_postgres_itself_refuses(postgres: str, sql: str) -> None:
    async with opened(postgres) as stores:
        term, _, _ = await stores.terms.begin_term(SaleId(1))
        await sell(stores.terms, term, approve(await issue(stores.checkouts, 1)))
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            await run_sql(postgres, sql)


_MANY = [list(range(1, 100))]


@pytest.mark.parametrize(
    ("sql", "args"),
    [
        (checkouts.RECORD_ATTEMPTS, (["u"] * 99, list(range(1, 100)), [None] * 99, [b"s" * 16] * 99)),
        (terms.SELL, (1, 2, b"t" * 16, 0, 99, *_MANY, ["auto"] * 99, *_MANY, [b"s" * 16] * 99, [1] * 99, *_MANY)),
        (terms.CONFIRM, (1, 2, b"t" * 16, 0, *_MANY)),
        (checkouts.FIND_REDEMPTIONS, (*_MANY, [1] * 99, *_MANY, [b"s" * 16] * 99, 3600.0)),
        (checkouts.FIND_LEGACY, (5, 1)),
        (terms.PURCHASES_PAGE, (1, 5, 2, 50_000)),
        (sales.FIND_SALE_OF, (5,)),
        (sales.SOLD_ITEMS, (1, 0, 10_000)),
    ],
    ids=[
        "record",
        "sell",
        "confirm",
        "find redemptions",
        "find a code of the first release",
        "load a term",
        "find an item",
        "sold items",
    ],
)
@pytest.mark.parametrize("rows", [0, 20_000])
async def test_no_hot_statement_reads_a_whole_table(
    postgres: str, sql: str, args: tuple[object, ...], rows: int
) -> None:
    """With the settings of the service's own connections, on tables that nobody has analyzed yet."""

    async def plan_on(connection: Session) -> str:
        await connection.execute(_FILL.replace("ROWS", str(rows)))
        return await explain(connection, sql, *args)

    async with (
        bridge.open_loop(),
        open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database,
    ):
        plan = await database.run(plan_on)
    for table in ("checkouts", "purchases"):
        assert f"Seq Scan on {table}" not in plan, plan
    assert "Materialize" not in plan, plan
    assert "Hash" not in plan, plan


_FILL = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit) VALUES (1, now(), 1, 100000, 10);
INSERT INTO checkouts (outcome, sale_id, item_id, user_id, user_digest)
SELECT 'issued', 1, i, 'u' || i, decode(md5(i::text), 'hex') FROM generate_series(1, ROWS) AS i;
INSERT INTO purchases SELECT 1, i, i, 'u' || i, 1, 1, 'auto:' || i, now() FROM generate_series(1, ROWS) AS i;
"""


@pytest.mark.parametrize(
    ("sql", "args"),
    [
        (terms.LEADABLE, (5.0, 5.0)),
        (sales.UNSOLD_SALES, ()),
        (sales.LOOK, ()),
        (sales.FIND_SALE_OF, (45_005,)),
        (sales.LIST_SALES, (None, 20)),
        (sales.CURRENT_SALE, ()),
    ],
    ids=["leadable", "unsold", "look", "find an item", "list", "current"],
)
async def test_the_sales_of_the_past_are_not_read(postgres: str, sql: str, args: tuple[object, ...]) -> None:
    """A year of sales, of which ten are unsold and two sold out just now: a page for each of those, and the indexes."""

    async def pages_read(connection: Session) -> int:
        await connection.execute(_FILL_SALES)
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {sql}", *args)
        plan = json.loads(text)[0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    async with (
        bridge.open_loop(),
        open_postgres(postgres, connections_max=1, timeout_seconds=20, name="test") as database,
    ):
        assert await database.run(pages_read) <= 30


async def test_selling_does_not_touch_an_index_of_sales_until_the_last_item_goes(postgres: str) -> None:
    """Every commit of purchases updates the sale's row. Only a HOT update leaves the indexes alone."""

    async def updates(connection: Session) -> tuple[int, int]:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        row = await connection.fetchrow(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sales'"
        )
        assert row is not None
        return row["n_tup_upd"], row["n_tup_hot_upd"]

    async with bridge.open_loop():
        await migrate(postgres)
        # one connection: a backend reports only its own updates when told to
        async with open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database:
            stores = stores_of(database)
            await stores.schedule.prepare_sales(3600, 10, 10)
            term, _, _ = await stores.terms.begin_term(SaleId(1))
            for item in range(1, 10):
                code = await issue(stores.checkouts, item)
                await sell(stores.terms, term, approve(code, slot=item), sold_before=item - 1)
            assert await database.run(updates) == (10, 10)
            code = await issue(stores.checkouts, 10)
            await sell(stores.terms, term, approve(code, slot=10), sold_before=9)
            assert await database.run(updates) == (11, 10)


_FILL_SALES = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, sold_out_at)
SELECT i, now() - (9000 - i) * interval '1 h', i * 10, 10, 10,
       CASE WHEN i % 900 = 0 THEN 0 ELSE 10 END,
       CASE WHEN i % 900 = 0 THEN NULL WHEN i > 8997 THEN now() ELSE now() - (9000 - i) * interval '1 h' END
FROM generate_series(1, 9000) AS i;
"""
