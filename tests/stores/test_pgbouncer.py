"""By way of PgBouncer in transaction mode: neither settings nor prepared statements of a session can be relied on."""

from __future__ import annotations

import pytest
import trio

from flash import bridge
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.stores.postgres import Postgres, Session, open_postgres
from flash.testing import bouncer
from flash.testing.bouncer import running_bouncer
from tests.cluster.test_faults import crowded_sale

pytestmark = pytest.mark.skipif(bouncer.PROGRAM is None, reason="there is no pgbouncer on this machine")


@pytest.mark.parametrize("driver", ["auto", "asyncio"])
@pytest.mark.parametrize("ignored", ["", bouncer.SETTINGS])
async def test_many_clients_share_few_sessions_and_each_gets_its_own_answers(
    postgres_server: EmbeddedPostgres, driver: str, ignored: str
) -> None:
    with running_bouncer(postgres_server, ignored=ignored) as url:
        async with (
            bridge.open_loop(),
            open_postgres(url, connections_max=12, timeout_seconds=10, name="test", driver=driver) as database,
            trio.open_nursery() as nursery,
        ):
            for number in range(12):
                nursery.start_soon(_ask, database, number)


async def _ask(database: Postgres, number: int) -> None:
    """Statements of different types, under names that each client would give to its own."""
    for turn in range(10):
        rows = await database.fetch(f"SELECT $1::bigint + {number} AS n, $2::text AS t", turn, str(number))
        assert [tuple(row) for row in rows] == [(turn + number, str(number))]
        rows = await database.write("SELECT unnest($1::text[]) AS t", [str(number)] * number)
        assert len(rows) == number
        assert await database.run(_in_one_transaction, number) == number


async def _in_one_transaction(session: Session, number: int) -> int:
    async with session.transaction():
        await session.execute("SELECT set_config('flash.number', $1, true)", str(number))
        found: int = await session.fetchval("SELECT current_setting('flash.number')::int")
        return found


async def test_a_whole_sale_is_sold_by_way_of_pgbouncer(own_postgres: EmbeddedPostgres, valkey: EmbeddedValkey) -> None:
    with running_bouncer(own_postgres) as url:
        async with crowded_sale(url, valkey, web=2):
            pass
