"""Connections to a real PostgreSQL: bounds on every wait, and errors that say what the caller may assume."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash import bridge
from flash.domain import SaleId
from flash.errors import OutcomeUnknown, Unavailable
from flash.local.embedded import EmbeddedPostgres
from flash.stores import trio_asyncpg
from flash.stores.keys import read_secrets
from flash.stores.migration import migrate
from flash.stores.postgres import Session, open_postgres, ssl_options
from tests.stores.database import an_attempt, name_of, opened, run_sql, stores_of


async def test_a_database_that_takes_no_writes_is_unavailable(postgres: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(postgres, f"ALTER DATABASE {name_of(postgres)} SET default_transaction_read_only = on")
        async with open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database:
            standby = stores_of(database)
            with pytest.raises(Unavailable, match="takes no writes"):
                await standby.checkouts.record_attempts([an_attempt(1)])
            assert await standby.sales.find_sale(SaleId(1)) is not None
        assert await stores.sales.find_sale(SaleId(1)) is not None


async def test_whoever_finds_all_connections_busy_is_told_so_in_time(postgres: str) -> None:
    async with (
        bridge.open_loop(),
        open_postgres(postgres, connections_max=1, timeout_seconds=0.3, name="test") as database,
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


async def test_a_lost_answer_is_unknown_for_a_write_and_harmless_for_a_read(own_postgres: EmbeddedPostgres) -> None:
    async with (
        bridge.open_loop(),
        open_postgres(own_postgres.url, connections_max=1, timeout_seconds=0.5, name="test") as database,
    ):
        for lost, ask in ((OutcomeUnknown, database.write), (Unavailable, database.fetch)):
            await database.ping()
            own_postgres.pause()
            with pytest.raises(lost, match="did not answer"):
                await ask("SELECT 1")
            with pytest.raises(Unavailable, match="cannot be reached"):
                await ask("SELECT 1")
            own_postgres.resume()


async def test_a_row_that_another_transaction_holds_is_given_up_in_time(postgres: str) -> None:
    async def race(connection: Session) -> None:
        other = await trio_asyncpg.connect(postgres, timeout_seconds=5, server_settings={})
        try:
            await other.execute("BEGIN; UPDATE sales SET epoch = epoch WHERE id = 1")
            await connection.execute("SET lock_timeout = '10ms'")
            await connection.execute("UPDATE sales SET epoch = epoch + 1 WHERE id = 1")
        finally:
            other.terminate()

    async with opened(postgres) as stores:
        with pytest.raises(OutcomeUnknown, match="PostgreSQL failed: canceling statement due to lock timeout"):
            await stores.database.run(race)


async def test_there_is_no_code_key_until_somebody_migrates(postgres: str) -> None:
    async with (
        bridge.open_loop(),
        open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database,
    ):
        with pytest.raises(Unavailable, match="run `flash migrate`"):
            await read_secrets(database)
        await migrate(postgres)
        assert await read_secrets(database) == await read_secrets(database)


@pytest.mark.parametrize(
    ("url", "is_off"),
    [
        ("postgresql://flash@/flash?host=/tmp/x", True),
        ("postgresql://localhost/flash", True),
        ("postgresql://127.0.0.1:5432/flash", True),
        ("postgresql:///flash", True),
        ("postgresql://localhost/flash?sslmode=require", False),
        ("postgresql://db.example/flash", False),
    ],
)
def test_a_local_server_is_not_asked_for_tls_unless_the_url_says_so(url: str, is_off: bool) -> None:
    assert ssl_options(url) == ({"ssl": False} if is_off else {})
