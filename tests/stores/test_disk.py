"""The disk of a real PostgreSQL: how much is free on it, and what becomes of buyers when a real one is full."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import trio

from flash import bridge
from flash.errors import FlashError, OutcomeUnknown, StorageFull, Unavailable
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.stores.disk import DatabaseDisk, _free_bytes
from flash.stores.migration import migrate
from flash.stores.postgres import open_postgres
from flash.stores.postgres_errors import translated
from flash.testing.client import Answer, Client
from flash.testing.cluster import running_cluster
from flash.testing.stores import psql
from tests.stores.database import name_of


async def test_what_is_free_is_known_only_of_this_servers_own_directory(
    postgres_server: EmbeddedPostgres, postgres: str, tmp_path: Path
) -> None:
    async with bridge.open_loop(), open_postgres(postgres, connections_max=1, timeout_seconds=5, name="t") as database:
        free = await DatabaseDisk(database).free_bytes()
        usage = shutil.disk_usage(postgres_server.cluster)
        assert free is not None
        assert 0 < free <= usage.total
        assert abs(free - usage.free) < 2**30
        (identifier,) = await database.fetch("SELECT system_identifier FROM pg_control_system()")
    assert _free_bytes(postgres_server.cluster, identifier[0]) is not None
    assert _free_bytes(postgres_server.cluster, identifier[0] + 1) is None, "another server's"
    assert _free_bytes(tmp_path / "elsewhere", identifier[0]) is None


async def test_a_role_that_may_not_see_the_directory_asks_once(
    postgres_server: EmbeddedPostgres, postgres: str
) -> None:
    psql(postgres_server, "CREATE ROLE flash_disk LOGIN")
    try:
        async with bridge.open_loop():
            await migrate(postgres, grant_to="flash_disk")
            url = postgres.replace("flash@", "flash_disk@")
            async with open_postgres(url, connections_max=1, timeout_seconds=5, name="t") as database:
                disk = DatabaseDisk(database)
                assert await disk.free_bytes() is None
                assert await disk.free_bytes() is None
    finally:
        psql(postgres_server, "DROP OWNED BY flash_disk", database=name_of(postgres))
        psql(postgres_server, "DROP ROLE flash_disk")


async def test_below_the_minimum_checkouts_are_refused_and_health_says_so(
    postgres: str, valkey: EmbeddedValkey
) -> None:
    settings = {"FLASH_DISK_MIN_MB": "1000000000"}
    async with running_cluster(postgres, valkey.url, inventory=1) as (cluster, _):
        await cluster.leader_of()
        web, address = await cluster.start_web(**settings)
        await web.wait_for("WARNING .*new checkouts are refused")
        async with Client(address) as client:
            check_refused(await client.post("/checkout?user_id=ann&id=1"))
            health = await client.get("/health")
            assert (health.status, health.json()["disk"]) == (503, "low")
            assert (await client.get("/readyz")).status == 200


async def test_an_error_that_passes_does_not_end_the_watch(postgres_server: EmbeddedPostgres, postgres: str) -> None:
    async with bridge.open_loop(), open_postgres(postgres, connections_max=1, timeout_seconds=5, name="t") as database:
        disk = DatabaseDisk(database)
        assert await disk.free_bytes() is not None
        await database.administer(lambda session: session.execute("DEALLOCATE ALL"))  # as a pooler resets a session
        with suppress(Unavailable):
            await disk.free_bytes()
        assert await disk.free_bytes() is not None


@pytest.mark.parametrize(("severity", "means"), [("ERROR", StorageFull), ("PANIC", OutcomeUnknown)])
def test_only_an_error_is_known_to_have_stored_nothing(severity: str, means: type[FlashError]) -> None:
    """A server whose log of changes finds no room ends in a PANIC, and may find the transaction committed later."""
    message = "could not write to file: No space left on device"
    error = asyncpg.PostgresError.new({"S": severity, "V": severity, "C": "53100", "M": message})
    assert type(error) is asyncpg.DiskFullError
    assert type(translated(error, OutcomeUnknown)) is means


@pytest.fixture
def full_tablespace(own_postgres: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A directory of one megabyte that holds one table and nothing else: that of checkouts if no other is asked for."""
    table = getattr(request, "param", "checkouts")
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system of one megabyte")
    folder = Path(tempfile.mkdtemp(prefix="ft-", dir="/var/tmp"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"this machine mounts nothing for us: {mounted.stderr.strip()}")
    try:
        owner = own_postgres.cluster.stat()
        os.chown(folder, owner.st_uid, owner.st_gid)
        psql(own_postgres, f"CREATE TABLESPACE tight LOCATION '{folder}'")
        psql(own_postgres, f"ALTER TABLE {table} SET TABLESPACE tight", database="flash")
        yield folder
    finally:
        own_postgres.kill()
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


async def test_on_a_full_disk_checkouts_are_refused_while_sales_go_on(
    own_postgres: EmbeddedPostgres, full_tablespace: Path, valkey: EmbeddedValkey
) -> None:
    """FAULTS 40: every checkout used to be an unknown outcome, while /health was green."""
    async with running_cluster(own_postgres.url, valkey.url, web=1, inventory=1) as (cluster, (address,)):
        await cluster.leader_of()
        async with Client(address) as client:
            issued = await client.post("/checkout?user_id=ann&id=1")
            ballast = full_tablespace / "ballast"
            await trio.to_thread.run_sync(partial(fill, ballast))
            refused = await check_out_until(client, 503)
            check_refused(refused)
            health = await client.get("/health")
            assert (health.status, health.json()["disk"]) == (503, "low")
            purchase = await client.post(f"/purchase?code={issued.json()['code']}")
            assert purchase.status == 200, "what room there is belongs to sales"
            ballast.unlink()
            with trio.fail_after(20):
                await check_out_until(client, 200)
            assert (await client.get("/health")).status == 200


@pytest.mark.parametrize("full_tablespace", ["purchases"], indirect=True)
async def test_a_purchase_that_finds_the_disk_full_has_not_happened_and_its_code_stays_good(
    own_postgres: EmbeddedPostgres, full_tablespace: Path, valkey: EmbeddedValkey
) -> None:
    async with running_cluster(own_postgres.url, valkey.url, web=1, inventory=1) as (cluster, (address,)):
        leader = await cluster.leader_of()
        async with Client(address) as client:
            first, second = [(await client.post(f"/checkout?user_id=ann&id={item}")).json()["code"] for item in (1, 2)]
            ballast = full_tablespace / "ballast"
            await trio.to_thread.run_sync(partial(fill, ballast))
            for code in (first, second, first):
                check_refused(await client.post(f"/purchase?code={code}", [(b"idempotency-key", code[:60].encode())]))
            assert (await client.get(f"/purchases/{first}")).status == 404
            health = await client.get("/health")
            assert (health.status, health.json()["disk"]) == (503, "low")
            await leader.wait_for("WARNING .*sale 1: nothing can be sold: PostgreSQL has no room")
            ballast.unlink()
            for code in (second, first):
                bought = await client.post(f"/purchase?code={code}", [(b"idempotency-key", code[:60].encode())])
                assert bought.status == 200
            with trio.fail_after(20):
                await check_out_until(client, 409)
            assert (await client.get("/health")).status == 200, "the last write worked"
        assert leader.log.count("leading sale 1") == 1, "no term ended of it"


def fill(path: Path) -> None:
    """Write to `path` all that its disk has room for."""
    room = os.statvfs(path.parent)
    path.write_bytes(bytes(room.f_bavail * room.f_frsize))
    assert os.statvfs(path.parent).f_bavail == 0


async def check_out_until(client: Client, status: int) -> Answer:
    while True:
        answer = await client.post("/checkout?user_id=ann&id=2")
        if answer.status == status:
            return answer
        await trio.sleep(0.001)


def check_refused(answer: Answer) -> None:
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.header(b"retry-after") or b"0") >= 1
