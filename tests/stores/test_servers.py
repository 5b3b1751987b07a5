"""Several servers in one URL: which is used, in how much time, and which never again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from flash import bridge
from flash.errors import OutcomeUnknown, Unavailable
from flash.local.embedded import EmbeddedPostgres
from flash.stores.addresses import servers_of
from flash.stores.drivers import TrioDriver
from flash.stores.postgres import Postgres, open_postgres
from flash.stores.servers import Lineage, Servers, Superseded
from flash.testing.standby import Standby, promote, running_standby, url_of, wait_until
from flash.testing.stores import psql

DRIVERS = ("auto", "asyncio")
WHERE = "SELECT pg_is_in_recovery() AS is_standby, pg_backend_pid() AS pid, current_setting('data_directory') AS folder"


@pytest.fixture
def standby(own_postgres: EmbeddedPostgres) -> Iterator[Standby]:
    with running_standby(own_postgres, is_synchronous=False) as server:
        yield server


@asynccontextmanager
async def database_of(url: str, driver: str, *, seconds: float = 1.0) -> AsyncIterator[Postgres]:
    servers_of.cache_clear()  # as in a process that has just started
    async with (
        bridge.open_loop(),
        open_postgres(url, connections_max=2, timeout_seconds=seconds, name="test", driver=driver) as database,
    ):
        yield database


async def where(database: Postgres) -> str:
    (row,) = await database.write(WHERE)
    assert not row["is_standby"]
    folder: str = row["folder"]
    return folder


async def test_one_that_takes_writes_is_used_wherever_it_stands_in_the_url(
    own_postgres: EmbeddedPostgres, standby: Standby
) -> None:
    for driver in DRIVERS:
        for servers in ((own_postgres, standby), (standby, own_postgres)):
            async with database_of(url_of(*servers), driver) as database:
                assert await where(database) == str(own_postgres.cluster)
    own_postgres.kill()
    for driver in DRIVERS:
        async with database_of(url_of(own_postgres, standby), driver) as database:
            with pytest.raises(Unavailable, match=r"no server takes writes: .*refused; .*it is a standby"):
                await where(database)


async def test_a_primary_that_lives_on_after_its_standby_was_promoted_is_not_used_again(
    own_postgres: EmbeddedPostgres, standby: Standby, caplog: pytest.LogCaptureFixture
) -> None:
    """It would sell what the other one sells. Nobody can tell before having seen the other one."""
    for driver in DRIVERS:
        url = url_of(own_postgres, standby)
        async with database_of(url, driver, seconds=0.5) as database:
            if driver == DRIVERS[0]:
                assert await where(database) == str(own_postgres.cluster)
                await trio.to_thread.run_sync(promote, standby)
            await look_around(database)
            assert await where(database) == str(standby.cluster), "the idle connection to the other is not used again"
            await look_around(database)
            assert re.search(r"was replaced: it takes writes on timeline 1, although .* 2: stop it", caplog.text)
            standby.pause()
            with pytest.raises(OutcomeUnknown):
                await where(database)
            with pytest.raises(Unavailable, match="it takes writes on timeline 1"):
                await where(database)
            standby.resume()
            assert await where(database) == str(standby.cluster)


async def look_around(database: Postgres) -> None:
    driver = database._driver
    await driver.call(driver.look_around, 1.0)


async def test_a_host_that_never_answers_leaves_time_for_the_next_one(own_postgres: EmbeddedPostgres) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")  # it accepts, and nobody reads
    port = listener.socket.getsockname()[1]
    url = f"postgresql://flash@/flash?host=127.0.0.1,{own_postgres.socket_dir}&port={port},5432&sslmode=disable"
    async with listener:
        for driver in DRIVERS:
            async with database_of(url, driver, seconds=1.0) as database:
                started = trio.current_time()
                assert await where(database) == str(own_postgres.cluster)
                assert 0.4 < trio.current_time() - started < 1.0
                await database.administer(_break)
                started = trio.current_time()
                await database.ping()
                assert trio.current_time() - started < 0.4, "the one that worked is asked first"


async def _break(session: object) -> None:
    session.terminate()  # type: ignore[attr-defined]


async def test_a_commit_that_waits_for_its_standby_is_not_shown_to_anybody_when_its_client_gives_up(
    own_postgres: EmbeddedPostgres,
) -> None:
    """A client that cancels it would have the server show what a fail-over would lose."""
    with running_standby(own_postgres, is_synchronous=True) as standby:
        psql(own_postgres, "CREATE TABLE told (driver text)", database="flash")
        for driver in DRIVERS:
            shown = f"SELECT count(*) FROM told WHERE driver = '{driver}'"
            async with database_of(url_of(own_postgres, standby), driver, seconds=0.5) as database:
                await database.ping()
                standby.pause()
                with pytest.raises(OutcomeUnknown):
                    await database.write("INSERT INTO told VALUES ($1)", driver)
                with trio.move_on_after(0.2) as gave_up:
                    await database.write("INSERT INTO told VALUES ($1)", driver)
                assert gave_up.cancelled_caught
                assert psql(own_postgres, shown, database="flash") == "0"
                standby.resume()
                wait_until(own_postgres, shown, "2", database="flash")


def test_a_server_on_an_older_timeline_of_the_same_system_is_refused() -> None:
    servers = Servers(["a", "b"])
    for lineage in (Lineage(7, 3), Lineage(7, 3), Lineage(8, 1), Lineage(7, 5)):
        servers.check(lineage)
        assert servers.is_newest(lineage)
    assert servers.promotions == 1
    with pytest.raises(Superseded, match="timeline 3, although a server was promoted to timeline 5"):
        servers.check(Lineage(7, 3))
    assert not servers.is_newest(Lineage(7, 3))
    assert servers.is_newest(None), "not every server tells"


@pytest.mark.parametrize(
    ("url", "are_several"),
    [
        ("postgresql:///flash", False),
        ("postgresql://a/flash", False),
        ("postgresql://u:p%2C@a:1/flash", False),
        ("postgresql:///flash?host=/tmp", False),
        ("postgresql://u:p@a:1,b:2/flash", True),
        ("postgresql://u@/flash?host=/tmp/a,/tmp/b", True),
    ],
)
def test_several_hosts_are_several_servers(url: str, are_several: bool) -> None:
    assert TrioDriver(url, 1.0, {}).servers.are_several == are_several
