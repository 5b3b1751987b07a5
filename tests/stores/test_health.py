"""What PostgreSQL says of a buyer's chances: on a real server, with and without a sale, and made read-only."""

from __future__ import annotations

import pytest

from flash import bridge
from flash.errors import Unavailable
from flash.stores.health import LOOK, has_current_sale
from flash.stores.migration import migrate
from flash.stores.postgres import Postgres, open_postgres
from tests.stores.database import explain, name_of, opened, run_sql


async def test_there_is_a_current_sale_once_one_has_begun(postgres: str) -> None:
    async with bridge.open_loop():
        await migrate(postgres)
        async with open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database:
            assert not await has_current_sale(database)
            await add_sale(database, 1, "1 hour")
            assert not await has_current_sale(database)
            await add_sale(database, 2, "-1 hour")
            assert await has_current_sale(database)


async def add_sale(database: Postgres, sale_id: int, starts_in: str) -> None:
    await database.write(
        "INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit)"
        f" VALUES ($1, now() + interval '{starts_in}', $1, 1, 1)",
        sale_id,
    )


async def test_a_server_that_takes_no_writes_is_away_however_well_it_answers(postgres: str) -> None:
    async with opened(postgres):
        await run_sql(postgres, f"ALTER DATABASE {name_of(postgres)} SET default_transaction_read_only = on")
        async with open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database:
            with pytest.raises(Unavailable, match="takes no writes"):
                await has_current_sale(database)


async def test_a_look_reads_an_index(postgres: str) -> None:
    async with opened(postgres) as stores:
        assert "Seq Scan" not in await stores.database.run(explain, LOOK)


async def test_a_session_that_began_while_the_database_was_read_only_is_given_up(postgres: str) -> None:
    async with opened(postgres) as stores:
        read_only = f"ALTER DATABASE {name_of(postgres)} SET default_transaction_read_only"
        await run_sql(postgres, f"{read_only} = on")
        async with open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database:
            with pytest.raises(Unavailable, match="takes no writes"):
                await has_current_sale(database)
            await stores.database.write(f"{read_only} = off")
            assert await has_current_sale(database)
