"""How sales open: prepared ahead, each exactly once, on time, and by the database's clock alone."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import trio

from flash import bridge
from flash.domain import SaleId
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.stores import schedule
from flash.stores.postgres import open_postgres
from flash.testing import stores
from flash.testing.client import Client
from flash.testing.cluster import QUICK, ROOT, running_cluster
from tests.cluster.history import History, verify
from tests.stores.database import Stores, stores_of

DAY_SECONDS = 86_400
SHIFTED_CLOCK = """
import time

_SHIFT_SECONDS = {shift}
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _SHIFT_SECONDS
time.time_ns = lambda: _time_ns() + _SHIFT_SECONDS * 10**9
"""
"""A `sitecustomize` that makes a process believe in a wrong wall clock."""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """An asyncpg connection, to be used through `bridge.call_asyncio`."""

    async def connect() -> Any:
        return await asyncpg.connect(url, ssl=False)

    async with bridge.open_loop():
        connection = await bridge.call_asyncio(connect)
        try:
            yield connection
        finally:
            connection.terminate()


@asynccontextmanager
async def two_pools(url: str) -> AsyncIterator[tuple[Any, list[Stores]]]:
    """A connection for looking, and the stores of two processes."""
    async with connected(url) as connection:
        options: dict[str, Any] = {"connections_max": 10, "timeout_seconds": 10.0}
        async with open_postgres(url, name="one", **options) as one, open_postgres(url, name="two", **options) as two:
            yield connection, [stores_of(one), stores_of(two)]


async def rows(connection: Any, sql: str, *args: object) -> list[Any]:
    found: list[Any] = await bridge.call_asyncio(connection.fetch, sql, *args)
    return found


async def watch_openings(addresses: list[str], database_url: str, history: History, sales: int, size: int) -> SaleId:
    """Try the next `sales` sales until they open. Every answer must agree with the database. Returns the last sale.

    Every web process is asked all the time. Each attempt is a row with its outcome and the database's time.
    """
    async with connected(database_url) as connection:
        ((newest,),) = await rows(connection, "SELECT max(id) FROM sales")
    last = SaleId(newest + sales)  # this one may open before the first attempt

    async def keep_trying(address: str) -> None:
        async with Client(address) as client:
            for sale in range(newest, last + 1):
                while True:
                    if await history.checkout(client, f"{address[-5:]}-{sale}", (sale - 1) * size + 1):
                        break
                    await trio.sleep(0.02)

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for address in addresses:
                nursery.start_soon(keep_trying, address)
    async with connected(database_url) as connection:
        wrong = await rows(
            connection,
            """
            SELECT c.attempted_at, s.starts_at, c.outcome FROM checkouts c JOIN sales s ON s.id = c.sale_id
            WHERE c.outcome <> CASE WHEN s.starts_at <= c.attempted_at THEN 'issued' ELSE 'sale_not_open' END
            """,
        )
        assert not wrong, wrong
        tried_early = await rows(
            connection,
            """
            SELECT sale_id FROM checkouts WHERE sale_id > $1 AND outcome IN ('issued', 'sale_not_open')
            GROUP BY sale_id HAVING count(DISTINCT outcome) = 2 ORDER BY sale_id
            """,
            newest,
        )
        assert [row["sale_id"] for row in tried_early] == list(range(newest + 1, last + 1))
    return last


async def check_calendar(database_url: str, period_seconds: int, size: int, at_least: int) -> None:
    """Sales 1, 2, 3 … begin one period apart, each with the next `size` items."""
    async with connected(database_url) as connection:
        sales = await rows(connection, "SELECT * FROM sales ORDER BY starts_at")
    assert [sale["id"] for sale in sales] == list(range(1, len(sales) + 1))
    assert len(sales) >= at_least
    for n, sale in enumerate(sales):
        assert sale["starts_at"] - sales[0]["starts_at"] == n * timedelta(seconds=period_seconds)
        assert sale["starts_at"].timestamp() % period_seconds == 0
        assert (sale["first_item_id"], sale["stock"]) == (n * size + 1, size)


async def test_two_schedulers_at_once_open_five_sales_on_time_and_the_first_goes_on_selling(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    history = History()
    settings = {"FLASH_SALE_PERIOD": "2", "FLASH_SALE_SIZE": "4", **QUICK}
    # each inventory process has a Redis of its own: only PostgreSQL says which of them schedules
    with stores.running_valkey() as other_valkey:
        async with running_cluster(postgres, valkey.url, web=1, inventory=1, **settings) as (cluster, addresses):
            other = await cluster.start_inventory(REDIS_URL=other_valkey.url)
            assert "leading the sale scheduler" not in other.log
            last = await watch_openings(addresses, postgres, history, 4, 4)
            assert last >= 5
            await check_calendar(postgres, 2, 4, last)
            other.kill()
            async with Client(addresses[0]) as client:
                listed = (await client.get("/sales?limit=1000")).json()["sales"]
                assert {sale["status"] for sale in listed if sale["id"] <= last} == {"open"}
                for sale in (1, last):
                    for item in range(sale * 4 - 3, sale * 4 + 1):
                        await buy(history, client, client, f"buyer-{sale}", item)
                with trio.fail_after(5):  # visitors see it within about a second
                    while True:
                        statuses = [(await client.get(f"/sales/{sale}")).json()["status"] for sale in (1, 2, last)]
                        if statuses == ["sold_out", "open", "sold_out"]:
                            break
                        await trio.sleep(0.05)
            assert len(history.sold) == 8
    await verify(history, postgres, sold_out=True)


async def buy(history: History, one: Client, other: Client, user: str, item: int) -> None:
    """Check out and purchase until both are answered: leadership may be moving, and the key makes repeating safe."""
    with trio.fail_after(20):
        while True:
            if code := await history.checkout(one, user, item):
                break
            await trio.sleep(0.05)
        while True:
            if answer := await history.purchase(other, code, f"{user}-{item}"):
                break
            await trio.sleep(0.05)
    assert answer.status == 200, answer.body


async def test_another_host_schedules_when_the_scheduler_is_killed_and_no_sale_is_missed(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    settings = {"FLASH_SALE_PERIOD": "4", "FLASH_SALE_SIZE": "4", **QUICK}
    history = History()
    async with running_cluster(postgres, valkey.url, web=1, inventory=2, **settings) as (cluster, addresses):
        first = next(process for process in cluster.processes if "leading the sale scheduler" in process.log)
        first.kill()
        second = next(p for p in cluster.processes if p.name.startswith("inventory") and p is not first)
        await second.wait_for("leading the sale scheduler")
        last = await watch_openings(addresses, postgres, history, 1, 4)
        await check_calendar(postgres, 4, 4, last)


async def test_processes_with_wall_clocks_an_hour_off_open_the_same_sales(
    postgres: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    history = History()
    settings = {"FLASH_SALE_PERIOD": "2", "FLASH_SALE_SIZE": "4", **QUICK}
    async with running_cluster(postgres, valkey.url, web=0, inventory=0, **settings) as (cluster, _):
        ahead = _wrong_clock(tmp_path, 3600)
        behind = _wrong_clock(tmp_path, -3600)
        addresses = [(await cluster.start_web(PYTHONPATH=path))[1] for path in (ahead, behind)]
        first = await cluster.start_inventory(PYTHONPATH=ahead)
        await cluster.leader_of()
        for address, shift in zip(addresses, (3600, -3600), strict=True):
            async with Client(address) as client:
                date = (await client.get("/livez")).header(b"date")
            assert date is not None
            told = parsedate_to_datetime(date.decode()).timestamp()
            assert abs(told - time.time() - shift) < 60, "the clock should be wrong"
        second = await cluster.start_inventory(PYTHONPATH=behind)
        first.kill()  # from here on the other one schedules
        await second.wait_for("leading the sale scheduler")
        last = await watch_openings(addresses, postgres, history, 2, 4)
        await check_calendar(postgres, 2, 4, last)
        async with connected(postgres) as connection:
            ((ages,),) = await rows(connection, "SELECT array_agg(now() - attempted_at) FROM checkouts")
            assert all(timedelta(0) <= age < timedelta(minutes=1) for age in ages)
        async with Client(addresses[0]) as one, Client(addresses[1]) as other:
            await buy(history, one, other, "ann", 2)
    await verify(history, postgres, sold_out=False)


def _wrong_clock(folder: Path, shift_seconds: int) -> str:
    """A PYTHONPATH that sets Python's wall clock `shift_seconds` ahead."""
    home = folder / str(shift_seconds)
    home.mkdir()
    (home / "sitecustomize.py").write_text(SHIFTED_CLOCK.format(shift=shift_seconds))
    return f"{home}:{ROOT}"


async def test_twenty_callers_at_once_make_each_sale_once(postgres: str) -> None:
    async with two_pools(postgres) as (connection, pools):
        for _ in range(20):
            await rows(connection, "TRUNCATE sales")
            made: list[SaleId] = []

            async def prepare(store: Stores, made: list[SaleId] = made) -> None:
                mine, _ = await store.schedule.prepare_sales(DAY_SECONDS, 5, 10)
                made.extend(mine)

            async with trio.open_nursery() as nursery:
                for n in range(20):
                    nursery.start_soon(prepare, pools[n % 2])
            sales = await rows(connection, "SELECT id, first_item_id FROM sales ORDER BY id")
            assert [tuple(sale) for sale in sales] in ([(1, 1), (2, 6)], [(1, 1), (2, 6), (3, 11)])  # midnight
            assert sorted(made) == [sale["id"] for sale in sales]


async def test_callers_racing_across_boundaries_leave_no_gap_and_make_no_sale_twice(postgres: str) -> None:
    async with two_pools(postgres) as (_, pools):
        made: list[SaleId] = []

        async def prepare(store: Stores) -> None:
            for _ in range(60):
                mine, seconds = await store.schedule.prepare_sales(1, 3, 10)
                assert seconds <= 3, "the boundary, or the end of the other process's right"
                made.extend(mine)
                await trio.sleep(max(0.0, min(seconds, 0.05)))

        with trio.move_on_after(4):
            async with trio.open_nursery() as nursery:
                for n in range(20):
                    nursery.start_soon(prepare, pools[n % 2])
        await check_calendar(postgres, 1, 3, 2)
        assert len(set(made)) == len(made)


async def test_the_current_sale_and_the_next_exist_after_any_start_and_any_stop(postgres: str) -> None:
    period = _quiet_period()
    async with two_pools(postgres) as (connection, (store, _)):
        assert (await store.schedule.prepare_sales(period, 5, 10))[0] == [1, 2]
        ((began, since, ahead),) = await rows(
            connection,
            """
            SELECT (SELECT starts_at FROM sales WHERE id = 1) <= now(),
                   extract(epoch FROM now() - (SELECT starts_at FROM sales WHERE id = 1))::float8,
                   extract(epoch FROM (SELECT starts_at FROM sales WHERE id = 2) - now())::float8
            """,
        )
        assert began
        assert 0 <= since < period
        assert since + ahead == pytest.approx(period, abs=0.001)
        made, seconds = await store.schedule.prepare_sales(period, 5, 10)
        assert not made
        assert seconds == pytest.approx(ahead, abs=5)

        # the service was down for ten periods: it skips those it missed and makes the present one at once
        await rows(connection, "UPDATE sales SET starts_at = starts_at - $1 * interval '10 s'", period)
        assert (await store.schedule.prepare_sales(period, 5, 10))[0] == [3, 4]
        current = await store.sales.current_sale()
        assert current is not None
        assert (current.id, current.first_item_id, current.is_open) == (3, 11, True)
        assert await rows(connection, "SELECT count(*) FROM sales WHERE starts_at > now()") == [(1,)]

        # it was down just until its next sale began
        await rows(connection, "UPDATE sales SET starts_at = starts_at - $1 * interval '1 s'", period)
        assert (await store.schedule.prepare_sales(period, 5, 10))[0] == [5]


@pytest.mark.parametrize(("size", "user_limit"), [(7, 10), (5, 3)])
async def test_new_settings_change_only_sales_that_have_not_begun(postgres: str, size: int, user_limit: int) -> None:
    period = _quiet_period()
    async with two_pools(postgres) as (connection, (store, _)):
        await store.schedule.prepare_sales(period, 5, 10)
        assert (await store.schedule.prepare_sales(period, size, user_limit))[0] == [2]
        wanted = [(1, 1, 5, 10), (2, 6, size, user_limit)]
        shown = "SELECT id, first_item_id, stock, user_limit FROM sales ORDER BY id"
        assert [tuple(row) for row in await rows(connection, shown)] == wanted
        assert (await store.schedule.prepare_sales(period, size, user_limit))[0] == []

        # a leader has begun a term already: too late
        await store.terms.begin_term(SaleId(2))
        assert (await store.schedule.prepare_sales(period, 9, 9))[0] == []
        assert [tuple(row) for row in await rows(connection, shown)] == wanted


async def test_a_new_period_replaces_the_prepared_sale_and_opens_its_own_current_one(postgres: str) -> None:
    period = _quiet_period()
    async with two_pools(postgres) as (connection, (store, _)):
        await store.schedule.prepare_sales(period, 5, 10)
        assert (await store.schedule.prepare_sales(period - 1, 5, 10))[0] == [2, 3]
        sales = await rows(connection, "SELECT id, first_item_id, starts_at <= now(), starts_at FROM sales ORDER BY id")
        assert [tuple(sale)[:3] for sale in sales] == [(1, 1, True), (2, 6, True), (3, 11, False)]
        assert sales[2]["starts_at"] - sales[1]["starts_at"] == timedelta(seconds=period - 1)


def _quiet_period() -> int:
    """A period that has no boundary within half an hour; nor has the period one second shorter."""
    now = time.time()
    return next(p for p in range(7200, DAY_SECONDS) if all(q - now % q > 1800 for q in (p, p - 1)))


async def test_a_sale_about_to_begin_is_not_replaced(own_postgres: EmbeddedPostgres) -> None:
    url = own_postgres.url
    async with two_pools(url) as (connection, (store, _)):
        await store.schedule.prepare_sales(_quiet_period(), 5, 10)
        await rows(connection, "UPDATE sales SET starts_at = now() + interval '9 s' WHERE id = 2")
        await store.schedule.prepare_sales(_quiet_period(), 6, 10)
        assert [row[0] for row in await rows(connection, "SELECT stock FROM sales WHERE id = 2")] == [5]


async def test_sales_are_made_on_time_by_processes_that_have_no_redis(postgres: str, tmp_path: Path) -> None:
    """FAULTS 42: a Redis that was away for longer than a period used to leave sales out."""
    nowhere = f"unix://{tmp_path}/none"
    settings = {"FLASH_SALE_PERIOD": "1", "FLASH_SALE_SIZE": "4", **QUICK}
    async with running_cluster(postgres, nowhere, web=0, inventory=0, **settings) as (cluster, _):
        processes = [await cluster.start("inventory") for _ in range(2)]
        _, address = await cluster.start_web()
        last = await watch_openings([address], postgres, History(), 5, 4)
        await check_calendar(postgres, 1, 4, last)
        for process in processes:
            await process.wait_for("waiting for Redis")
        assert sum("leading the sale scheduler" in process.log for process in processes) == 1


async def test_a_process_that_started_earlier_follows_the_settings_of_a_later_one(postgres: str) -> None:
    """FAULTS 48: it used to remake the prepared sale with its own, older settings."""
    period = _quiet_period()
    async with two_pools(postgres) as (connection, (earlier, later)):
        await earlier.schedule.prepare_sales(period, 5, 10)
        assert (await later.schedule.prepare_sales(period, 7, 3))[0] == [], "the earlier one makes the sales"
        assert (await earlier.schedule.prepare_sales(period, 5, 10))[0] == [2], "with the settings of the later one"
        prepared = "SELECT stock, user_limit FROM sales WHERE id = 2"
        assert [tuple(row) for row in await rows(connection, prepared)] == [(7, 3)]
        for _ in range(3):
            assert (await earlier.schedule.prepare_sales(period, 5, 10))[0] == []
            assert (await later.schedule.prepare_sales(period, 7, 3))[0] == []
        assert [tuple(row) for row in await rows(connection, prepared)] == [(7, 3)]


async def test_a_scheduler_that_was_deposed_makes_nothing_and_one_that_released_is_followed_at_once(
    postgres: str,
) -> None:
    period = _quiet_period()
    async with two_pools(postgres) as (connection, (one, two)):
        await one.schedule.prepare_sales(period, 5, 10)
        await rows(connection, "UPDATE scheduler SET expires_at = now() - interval '1 s'")
        await two.schedule.prepare_sales(period, 5, 10)
        await rows(connection, "DELETE FROM sales WHERE id = 2")
        made, seconds = await one.schedule.prepare_sales(period, 5, 10)
        assert made == []
        assert 0 < seconds <= 3
        await two.schedule.release()
        assert (await one.schedule.prepare_sales(period, 5, 10))[0] == [2]
        # the database's clock is set back by an hour
        await rows(connection, "UPDATE scheduler SET expires_at = now() + interval '1 h'")
        await rows(connection, "DELETE FROM sales WHERE id = 2")
        assert (await two.schedule.prepare_sales(period, 5, 10))[0] == [2]


@pytest.mark.parametrize(
    "forget",
    ["DELETE FROM scheduler", "UPDATE scheduler SET configured_at = '2020-01-01', size = 3, expires_at = '-infinity'"],
)
async def test_a_database_that_has_forgotten_the_settings_is_told_again(postgres: str, forget: str) -> None:
    """It was replaced by one from before the last start. No restart is needed."""
    period = _quiet_period()
    async with two_pools(postgres) as (connection, (one, _)):
        await one.schedule.prepare_sales(period, 5, 10)
        await rows(connection, "DELETE FROM sales")
        await rows(connection, forget)
        assert len((await one.schedule.prepare_sales(period, 5, 10))[0]) == 2
        assert [row[0] for row in await rows(connection, "SELECT stock FROM sales")] == [5, 5]


async def test_making_sales_costs_the_same_after_a_hundred_thousand_of_them(postgres: str) -> None:
    fill = """
    INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, sold_out_at)
    SELECT i, to_timestamp(i), i * 10, 10, 10, 10, now() FROM generate_series(1, 100000) AS i
    """
    async with two_pools(postgres) as (connection, _):
        await rows(connection, fill)
        await rows(connection, "SET enable_seqscan = off")
        for sql, args in (
            (schedule.PREPARE_SALE, (3600, 10, 10, 1)),
            (schedule.DISCARD_OUTDATED, (3600, 10, 10, 10.0)),
        ):
            plan = await rows(connection, f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {sql}", *args)
            found = json.loads(plan[0][0])[0]["Plan"]
            assert found["Shared Hit Blocks"] + found["Shared Read Blocks"] < 60, plan
