"""Migrations on real databases: every road leads to schema.sql, with the data intact and under the roles of production.

Rolling upgrades are played with steps that no release has yet: `later` adds them to the real ones.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from flash import bridge
from flash.actors.inventory import load_inventory
from flash.cli import main
from flash.codes import KEY_BYTES
from flash.config import postgres_environment
from flash.domain import (
    Approved,
    CheckoutId,
    CheckoutOutcome,
    Command,
    ItemId,
    LegacyCode,
    MalformedAttempt,
    RequestId,
    SaleId,
)
from flash.errors import OperatorError, Unavailable
from flash.inventory import decide_all
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey, find_postgres
from flash.stores.drivers import ServerConnection, TrioDriver
from flash.stores.keys import read_code_keys, read_secrets
from flash.stores.migration import Migration, Schema, migrate, read_migrations
from flash.stores.postgres import open_postgres
from flash.stores.postgres_errors import PermissionDenied
from flash.stores.servers import Address
from flash.testing.client import Client
from flash.testing.cluster import running_cluster
from flash.testing.stores import SCHEMA, psql
from tests.codes import digest
from tests.stores.database import an_attempt, name_of, run_sql, sell, stores_of

RELEASES = sorted((Path(__file__).parent / "released").glob("*.sql"))
FIRST_RELEASE = (Path(__file__).parent / "released" / "0.1.0.sql").read_text()
REAL = read_migrations()
LATEST = REAL[-1].version
DROP_ALL = "DROP TABLE sales, checkouts, purchases, secrets, code_keys, scheduler, sale_pauses, schema_migrations"
KEPT = (
    "id, starts_at, first_item_id, stock, user_limit, sold, epoch, sold_out_at FROM sales",
    "id, attempted_at, outcome, sale_id, item_id, user_id, secret, query FROM checkouts",
    "* FROM purchases",
    "* FROM secrets WHERE name = 'code_key'",
)
DATA = """
INSERT INTO sales (id, starts_at, first_item_id, stock, user_limit, sold, epoch, sold_out_at) VALUES
    (1, '2026-01-01 00:00+00', 1, 2, 10, 2, 3, '2026-01-01 00:10+00'),
    (2, '2026-01-01 01:00+00', 3, 5, 2, 1, 1, NULL);
INSERT INTO checkouts (outcome, sale_id, item_id, user_id, secret, query) VALUES
    ('issued', 1, 1, 'ann', decode(md5('1'), 'hex'), NULL),
    ('issued', 1, 2, 'böb', decode(md5('2'), 'hex'), NULL),
    ('issued', 2, 3, 'ann', decode(md5('3'), 'hex'), NULL),
    ('invalid_request', NULL, NULL, NULL, NULL, '\\x00ff'),
    ('item_sold', 2, 3, 'eve', NULL, NULL);
INSERT INTO purchases VALUES
    (1, 1, 1, 'ann', 1, 1, 'auto:1', '2026-01-01 00:05+00'),
    (1, 2, 2, 'böb', 1, 3, 'key:2', '2026-01-01 00:10+00'),
    (2, 3, 3, 'ann', 1, 1, 'auto:3', '2026-01-01 01:05+00');
INSERT INTO secrets VALUES ('code_key', decode(md5('a') || md5('b'), 'hex'));
"""


@contextmanager
def new_database(server: EmbeddedPostgres, name: str) -> Iterator[str]:
    """The URL of a database with nothing in it."""
    psql(server, f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield server.url.replace("/flash?", f"/{name}?")
    finally:
        psql(server, f"DROP DATABASE {name} WITH (FORCE)")


def dump(server: EmbeddedPostgres, database: str) -> str:
    """The schema of a database as pg_dump writes it, without what differs from dump to dump."""
    done = subprocess.run(
        [find_postgres() / "pg_dump", "--schema-only", "-h", server.socket_dir, "-U", "flash", database],
        capture_output=True,
        text=True,
        env=postgres_environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return re.sub(r"(?m)^(--.*|\\(un)?restrict .*)\n", "", done.stdout)


def rows_of(server: EmbeddedPostgres, database: str) -> list[str]:
    """What every release has kept: a secret or a column that a later one added does not count."""
    return [psql(server, f"SELECT {kept} ORDER BY 1, 2", database=database) for kept in KEPT]


def later(*, requires: int, sql: str = "CREATE TABLE later (id bigint)") -> list[Migration]:
    """The migrations of a release that comes after this one."""
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    return [*REAL, Migration(LATEST + 1, "later", requires, checksum, sql)]


async def versions(url: str) -> list[int]:
    return [row["version"] for row in await run_sql(url, "SELECT version FROM schema_migrations ORDER BY version")]


async def test_the_migrations_make_exactly_what_schema_sql_shows(postgres_server: EmbeddedPostgres) -> None:
    with new_database(postgres_server, "migrated") as migrated, new_database(postgres_server, "whole"):
        psql(postgres_server, SCHEMA.read_text(), database="whole")
        async with bridge.open_loop():
            assert await migrate(migrated) == Schema(LATEST, (), is_recorded=True, has_secrets=True)
        assert dump(postgres_server, "migrated") == dump(postgres_server, "whole")
        assert "CREATE INDEX sales_unsold" in dump(postgres_server, "whole")
        recorded = "SELECT version, name, requires, checksum FROM schema_migrations ORDER BY version"
        shown = psql(postgres_server, recorded, database="whole")
        # schema.sql ends with these rows: copy them from here when a migration is added
        assert shown == psql(postgres_server, recorded, database="migrated")


@pytest.mark.parametrize("release_sql", [path.read_text() for path in RELEASES], ids=[path.stem for path in RELEASES])
async def test_a_database_of_every_release_becomes_the_present_one_and_keeps_its_rows(
    postgres_server: EmbeddedPostgres, release_sql: str
) -> None:
    with new_database(postgres_server, "old") as url, new_database(postgres_server, "whole"):
        psql(postgres_server, SCHEMA.read_text(), database="whole")
        psql(postgres_server, release_sql, database="old")
        psql(postgres_server, DATA, database="old")
        before = rows_of(postgres_server, "old")
        async with bridge.open_loop():
            await migrate(url)
            assert await versions(url) == list(range(1, LATEST + 1))
        assert rows_of(postgres_server, "old") == before
        assert dump(postgres_server, "old") == dump(postgres_server, "whole")


async def test_a_database_made_by_hand_from_schema_sql_only_lacks_its_secrets(postgres: str) -> None:
    async with bridge.open_loop():
        assert (await migrate(postgres)).version == LATEST
        (row,) = await run_sql(postgres, "SELECT DISTINCT release FROM schema_migrations")
        assert row["release"] == "schema.sql"
        assert len(await run_sql(postgres, "SELECT FROM secrets")) == 3
        assert len(await run_sql(postgres, "SELECT FROM code_keys")) == 1


async def test_twenty_migrations_at_once_make_one_schema_and_one_key(postgres: str) -> None:
    async with bridge.open_loop():
        await run_sql(postgres, DROP_ALL)
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(migrate, postgres)
        assert await versions(postgres) == list(range(1, LATEST + 1))
        assert len(await run_sql(postgres, "SELECT FROM code_keys")) == 1


async def test_a_migration_that_fails_leaves_nothing_behind_and_says_why(postgres: str) -> None:
    broken = later(requires=1, sql="CREATE TABLE half (id bigint); SELECT 1 / 0")
    async with bridge.open_loop():
        with pytest.raises(OperatorError, match="division by zero"):
            await migrate(postgres, migrations=broken)
        assert await versions(postgres) == list(range(1, LATEST + 1))
        assert await run_sql(postgres, "SELECT FROM pg_tables WHERE tablename = 'half'") == []


async def test_a_migration_waits_for_tables_no_longer_than_a_statement_of_the_service_may(postgres: str) -> None:
    look = later(requires=1, sql="CREATE TABLE seen AS SELECT current_setting('lock_timeout') AS timeout")
    async with bridge.open_loop():
        await migrate(postgres, migrations=look)
        (row,) = await run_sql(postgres, "SELECT timeout FROM seen")
        assert row["timeout"] == "2s"


async def test_an_applied_migration_that_was_edited_is_an_error_that_says_what_to_do(postgres: str) -> None:
    async with bridge.open_loop():
        await run_sql(postgres, "UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
        with pytest.raises(OperatorError, match=r"0001_first_release was edited.*put the file back.*new migration"):
            await migrate(postgres)


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, "missing"),
        ({"0001_a.sql": "-- requires: 1\n", "0003_c.sql": "-- requires: 1\n"}, "missing"),
        ({"0001_a.sql": "SELECT 1"}, r"0001_a.sql.*requires: N"),
        ({"first.sql": "-- requires: 1\n"}, "first.sql is not named NNNN_name.sql"),
    ],
    ids=["none", "a gap", "no header", "no number"],
)
def test_a_broken_installation_is_not_taken_for_a_lost_server(tmp_path: Path, files: dict[str, str], text: str) -> None:
    for name, sql in files.items():
        (tmp_path / name).write_text(sql)
    with pytest.raises(OperatorError, match=text):
        read_migrations(tmp_path)
    with pytest.raises(OperatorError, match="cannot be read"):
        read_migrations(tmp_path / "nowhere")


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    async with bridge.open_loop():
        with pytest.raises(Unavailable, match="cannot be reached"):
            await migrate("postgresql://flash@/flash?host=/nowhere")


async def test_a_start_waits_for_a_silent_server_a_few_seconds_once(
    postgres: str, postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a primary is that was replaced and is not routed any more. Its share is told here, and cut short."""
    given: list[tuple[Address, float]] = []
    attempt = TrioDriver.attempt

    async def noting_attempt(self: TrioDriver, address: Address, seconds: float) -> ServerConnection:
        given.append((address, seconds))
        return await attempt(self, address, min(seconds, 0.2) if address == silent else seconds)

    monkeypatch.setattr(TrioDriver, "attempt", noting_attempt)
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")  # it accepts, and nobody reads
    silent = listener.socket.getsockname()[:2]
    hosts = f"host=127.0.0.1,{postgres_server.socket_dir}&port={silent[1]},5432&sslmode=disable"
    async with listener, bridge.open_loop():
        found = await migrate(f"{postgres.partition('?')[0]}?{hosts}")
    assert found.has_secrets, "they were missing, so both kinds of connection were used"
    assert [address for address, _ in given].count(silent) == 1, "the one that works is asked first from then on"
    assert given[0][0] == silent
    assert given[0][1] < 3.0


async def test_a_previous_release_goes_on_and_restarts_beside_the_next_one(postgres: str) -> None:
    async with bridge.open_loop():
        await migrate(postgres, migrations=later(requires=LATEST))
        schema = await migrate(postgres)
        assert (schema.version, schema.pending) == (LATEST + 1, ())
        assert await versions(postgres) == list(range(1, LATEST + 2))


async def test_the_start_of_release_0_1_0_changes_nothing_in_a_database_that_has_been_upgraded(
    postgres_server: EmbeddedPostgres, postgres: str
) -> None:
    """It applied its whole schema at every start, and knows nothing of versions."""
    database = name_of(postgres)
    before = dump(postgres_server, database)
    psql(postgres_server, FIRST_RELEASE, database=database)
    assert dump(postgres_server, database) == before


async def test_processes_go_on_and_restart_while_a_newer_release_upgrades_their_database(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    sql = "ALTER TABLE checkouts ADD COLUMN note text; ALTER TABLE sales ADD COLUMN note text NOT NULL DEFAULT ''"
    async with running_cluster(postgres, valkey.url, web=1, inventory=1) as (cluster, (address,)):
        epoch, leader = await cluster.term_of()
        async with Client(address) as client:
            await buy_item(client, 1)
            async with bridge.open_loop():
                await migrate(postgres, migrations=later(requires=1, sql=sql))
            await buy_item(client, 2)
        leader.terminate()
        assert await leader.wait() == 0
        await cluster.start_inventory()
        _, restarted = await cluster.start_web()
        await cluster.term_of(beyond=epoch)
        async with Client(restarted) as client:
            await buy_item(client, 3)


async def test_a_database_that_takes_no_writes_is_good_enough_unless_it_must_be_upgraded(postgres: str) -> None:
    async with bridge.open_loop():
        await migrate(postgres)
        await run_sql(postgres, f"ALTER DATABASE {name_of(postgres)} SET default_transaction_read_only = on")
        assert (await migrate(postgres)).version == LATEST
        with pytest.raises(Unavailable, match="takes no writes"):
            await migrate(postgres, migrations=later(requires=1))


async def test_a_process_that_knows_too_little_of_the_schema_refuses_to_start(postgres: str) -> None:
    async with bridge.open_loop():
        await migrate(postgres, migrations=later(requires=LATEST + 1))
        with pytest.raises(OperatorError, match=rf"version {LATEST + 1}.*knows {LATEST}: upgrade this process"):
            await migrate(postgres)


# roles


@pytest.fixture
def service_role(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The name of a role that may log in and nothing else. Ask for it before a database: that goes first."""
    psql(postgres_server, "CREATE ROLE flash_service LOGIN")
    yield "flash_service"
    psql(postgres_server, "DROP ROLE flash_service")


def as_role(url: str, role: str) -> str:
    return url.replace("flash@", f"{role}@")


async def test_the_service_needs_no_rights_but_those_that_migrate_grants(service_role: str, postgres: str) -> None:
    url = as_role(postgres, service_role)
    async with bridge.open_loop():
        await migrate(postgres, grant_to=service_role)
        await migrate(url)
        await sell_one_item(url)
        for sql in (
            "DELETE FROM purchases",
            "UPDATE checkouts SET user_id = 'eve'",
            "UPDATE secrets SET value = ''",
            "DELETE FROM sale_pauses",
        ):
            with pytest.raises(PermissionDenied):
                await run_sql(url, sql)


async def sell_one_item(url: str) -> None:
    """All that the service ever asks of PostgreSQL, in the order of a sale's life."""
    async with open_postgres(url, connections_max=1, timeout_seconds=5, name="test") as database:
        stores = stores_of(database)
        assert await database.durability_warnings() == []
        assert len((await read_secrets(database)).user_key) == KEY_BYTES
        assert (await read_code_keys(database)).signing_id == 1
        await stores.schedule.prepare_sales(3600, 10, 2)
        assert (await stores.schedule.prepare_sales(3600, 5, 2))[0] == [2], "the prepared sale was made again"
        assert await stores.terms.list_leadable() == [1]
        term, sale, now = await stores.terms.begin_term(SaleId(1))
        recorded, malformed = await stores.checkouts.record_attempts([an_attempt(1), MalformedAttempt(b"id=x")])
        assert recorded.code is not None
        assert malformed.outcome is CheckoutOutcome.INVALID_REQUEST
        assert await stores.checkouts.find_legacy(LegacyCode(SaleId(1), CheckoutId(1), bytes(16))) is None
        inventory = await load_inventory(stores.terms, term, sale, 3600.0, digest)
        command = Command(recorded.code, RequestId("key:1"))
        (decision,) = decide_all(inventory, [command], now.timestamp())
        assert isinstance(decision, Approved)
        (purchase,) = await sell(stores.terms, term, decision)
        confirmed = await stores.terms.confirm(term, 1, [], [purchase.checkout_id])
        assert confirmed.receipts == [purchase]
        (redemption,) = await stores.checkouts.find_redemptions([recorded.code])
        assert redemption.purchase == purchase
        assert await stores.sales.unsold_sales() == (2, frozenset({1, 2}))
        assert len(await stores.sales.list_sales(None, 9)) == 2
        assert [seen.sold for seen in (await stores.sales.look()).sales.values()] == [1, 0]
        assert await stores.sales.sold_items(SaleId(1), ItemId(0)) == [1]
        assert (await stores.sales.find_sale_of(ItemId(1))) is not None
        assert await stores.pauses.pause(SaleId(1), "ann", "a wrong picture") is not None
        assert await stores.pauses.resume(SaleId(1), "ann", "mended")


async def test_a_role_that_may_not_migrate_is_told_both_versions_and_what_to_do(
    service_role: str, postgres: str
) -> None:
    async with bridge.open_loop():
        await migrate(postgres, grant_to=service_role)
        text = rf"at version {LATEST}, this release needs version {LATEST + 1}.*permission denied.*flash migrate.*owner"
        with pytest.raises(OperatorError, match=text):
            await migrate(as_role(postgres, service_role), migrations=later(requires=1))
        index = later(requires=1, sql="CREATE INDEX one_more ON sales (stock)")
        await run_sql(postgres, f"GRANT INSERT ON schema_migrations TO {service_role}")
        with pytest.raises(OperatorError, match="must be owner of table sales"):
            await migrate(as_role(postgres, service_role), migrations=index)


async def test_a_role_that_may_see_nothing_is_told_to_ask_for_grants(service_role: str, postgres: str) -> None:
    async with bridge.open_loop():
        with pytest.raises(OperatorError, match=r"permission denied for table schema_migrations.*--grant-to ROLE"):
            await migrate(as_role(postgres, service_role))


async def test_a_role_that_does_not_exist_gets_no_grants(postgres: str) -> None:
    async with bridge.open_loop():
        with pytest.raises(OperatorError, match='role "no-body; --" does not exist'):
            await migrate(postgres, grant_to="no-body; --")


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres_server: EmbeddedPostgres) -> None:
    psql(postgres_server, "CREATE DATABASE ascii TEMPLATE template0 ENCODING SQL_ASCII LOCALE_PROVIDER libc LOCALE 'C'")
    try:
        async with bridge.open_loop():
            with pytest.raises(OperatorError, match="encoding is SQL_ASCII: make it UTF8"):
                await migrate(postgres_server.url.replace("/flash?", "/ascii?"))
    finally:
        psql(postgres_server, "DROP DATABASE ascii WITH (FORCE)")


# as a user sees it


def test_flash_migrate_says_which_version_there_is_now(
    service_role: str, postgres: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgres)
    assert main(["migrate", "--grant-to", service_role]) == 0
    assert capsys.readouterr().out == f"the schema is at version {LATEST}\n"
    monkeypatch.setenv("DATABASE_URL", as_role(postgres, service_role))
    assert main(["migrate"]) == 0


async def test_a_process_that_may_not_bring_the_schema_up_to_date_ends_with_what_to_do(
    service_role: str, postgres: str, valkey: EmbeddedValkey
) -> None:
    url = as_role(postgres, service_role)
    async with bridge.open_loop():
        await run_sql(postgres, DROP_ALL)
    async with running_cluster(url, valkey.url) as (cluster, _):
        process = await cluster.start("web")
        assert await process.wait(10) == 1
        text = f"flash: the schema is at version 0, this release needs version {LATEST}.*run `flash migrate`"
        await process.wait_for(text)
        assert "Traceback" not in process.log
    async with bridge.open_loop():
        await migrate(postgres, grant_to=service_role)
    async with running_cluster(url, valkey.url, web=1, inventory=1) as (cluster, (address,)):
        await cluster.leader_of()
        async with Client(address) as client:
            await buy_item(client, 1)


async def buy_item(client: Client, item: int) -> None:
    code = (await client.post(f"/checkout?user_id=ann&id={item}")).json()["code"]
    assert (await client.post(f"/purchase?code={code}")).status == 200
