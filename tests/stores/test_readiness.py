"""What a process waits for, and puts right, before it serves: on real databases that are not as they should be."""

from __future__ import annotations

import pytest
import trio

from flash import bridge
from flash.errors import OperatorError, Unavailable
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.stores.migration import migrate
from flash.stores.postgres import open_postgres
from flash.stores.readiness import check_readiness
from flash.testing.client import Client
from flash.testing.cluster import running_cluster
from flash.testing.stores import psql
from tests.stores.database import issue, name_of, opened, run_sql

FILL = """
INSERT INTO checkouts (id, outcome) OVERRIDING SYSTEM VALUE SELECT n, 'item_not_found' FROM generate_series(1, 300) AS n
"""
LAST = "SELECT coalesce(pg_sequence_last_value('checkouts_id_seq'), 0) AS last"


async def test_a_sequence_behind_its_table_is_put_right_and_never_set_back(postgres: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(postgres, FILL)
        await check_readiness(stores.database)
        assert (await issue(stores.checkouts, 1)).checkout_id == 301
        await run_sql(postgres, "SELECT setval('checkouts_id_seq', 1000)")
        await check_readiness(stores.database)
        assert (await issue(stores.checkouts, 1)).checkout_id == 1001


async def test_twenty_processes_that_start_while_buyers_check_out_set_no_id_back(postgres: str) -> None:
    async with opened(postgres) as stores:
        await run_sql(postgres, FILL)
        ids: list[int] = []

        async def check_out() -> None:
            for _ in range(5):
                ids.append((await issue(stores.checkouts, 1)).checkout_id)

        async with trio.open_nursery() as nursery:
            await check_readiness(stores.database)
            for n in range(20):
                nursery.start_soon(check_readiness, stores.database)
                if n % 5 == 0:
                    nursery.start_soon(check_out)
        assert len(set(ids)) == 20
        assert min(ids) > 300


async def test_a_sequence_that_falls_behind_while_processes_run_costs_no_batch(
    postgres: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restore into the database that is served."""
    async with opened(postgres) as stores:
        await run_sql(postgres, FILL)
        ids: list[int] = []

        async def check_out() -> None:
            for _ in range(5):
                ids.append((await issue(stores.checkouts, 1)).checkout_id)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(check_out)
        assert len(set(ids)) == 20
        assert min(ids) > 300
        assert max(ids) < 700, "one worker puts it right, and the others find it so"
        warned = [record for record in caplog.records if "ids behind its table" in record.getMessage()]
        assert len(warned) == 1


async def test_the_service_role_may_put_the_sequence_right_and_one_without_rights_is_told_what_to_do(
    postgres_server: EmbeddedPostgres, postgres: str
) -> None:
    psql(postgres_server, "CREATE ROLE flash_ready LOGIN")
    try:
        async with bridge.open_loop():
            await migrate(postgres, grant_to="flash_ready")
            await run_sql(postgres, FILL)
            url = postgres.replace("flash@", "flash_ready@")
            async with open_postgres(url, connections_max=1, timeout_seconds=5, name="test") as database:
                await check_readiness(database)
                assert [row["last"] for row in await run_sql(postgres, LAST)] == [300]
                await run_sql(postgres, "REVOKE ALL ON SEQUENCE checkouts_id_seq FROM flash_ready")
                with pytest.raises(OperatorError, match=r"may not use the sequence.*--grant-to ROLE"):
                    await check_readiness(database)
            await run_sql(postgres, "DROP OWNED BY flash_ready")
    finally:
        psql(postgres_server, "DROP ROLE flash_ready")


async def test_a_server_that_takes_no_writes_is_waited_for(postgres: str) -> None:
    async with bridge.open_loop():
        await migrate(postgres)
        await run_sql(postgres, f"ALTER DATABASE {name_of(postgres)} SET default_transaction_read_only = on")
        async with open_postgres(postgres, connections_max=1, timeout_seconds=5, name="test") as database:
            with pytest.raises(Unavailable, match="takes no writes"):
                await check_readiness(database)


async def test_a_process_that_starts_on_a_read_only_server_waits_until_it_takes_writes(
    postgres_server: EmbeddedPostgres, postgres: str, valkey: EmbeddedValkey
) -> None:
    """FAULTS 33: it used to end, and under honcho that stopped everything. With nothing to migrate, and with all."""
    name = name_of(postgres)
    for is_migrated in (False, True):
        if not is_migrated:
            psql(postgres_server, "DROP SCHEMA public CASCADE; CREATE SCHEMA public", database=name)
        psql(postgres_server, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        async with running_cluster(postgres, valkey.url) as (cluster, _):
            processes = [await cluster.start(command) for command in ("web", "inventory")]
            for process in processes:
                await process.wait_for("WARNING .*waiting for PostgreSQL.*takes no writes")
            psql(postgres_server, f"ALTER DATABASE {name} SET default_transaction_read_only = off")
            address = (await processes[0].wait_for(r"listening on (http://\S+)")).group(1)
            await processes[1].wait_for("ready to lead")
            await cluster.leader_of()
            async with Client(address) as client:
                assert (await client.post("/checkout?user_id=ann&id=1")).status == 200
