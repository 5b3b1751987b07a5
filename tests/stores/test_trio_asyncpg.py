"""Both roads to PostgreSQL do the same: asyncpg on Trio's sockets, and asyncpg through trio-asyncio.

Every kind of statement, error, cancellation, time-out, lost connection and large result, on a real server.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
import trio

from flash import bridge
from flash.local.embedded import EmbeddedPostgres
from flash.stores import trio_asyncpg

Conversation = Callable[[Any], Awaitable[Any]]


class Road(Protocol):
    """A connection, and how a Trio task has a conversation on it."""

    async def __call__(self, conversation: Conversation) -> Any: ...


@asynccontextmanager
async def trio_road(url: str) -> AsyncIterator[Road]:
    connection = await trio_asyncpg.connect(url, timeout_seconds=30, server_settings={"application_name": "trio"})

    async def talk(conversation: Conversation) -> Any:
        return await conversation(connection)

    try:
        yield talk
    finally:
        connection.terminate()


@asynccontextmanager
async def asyncio_road(url: str) -> AsyncIterator[Road]:
    async def connect() -> Any:
        return await asyncpg.connect(url, ssl=False, server_settings={"application_name": "asyncio"})

    connection = await bridge.call_asyncio(connect)

    async def talk(conversation: Conversation) -> Any:
        return await bridge.call_asyncio(conversation, connection)

    try:
        yield talk
    finally:
        connection.terminate()


@pytest.fixture(params=[trio_road, asyncio_road], ids=["trio", "asyncio"])
def road(request: pytest.FixtureRequest) -> Callable[[str], Any]:
    road: Callable[[str], Any] = request.param
    return road


async def test_statements_of_every_kind_return_what_they_should(road: Callable[[str], Any], postgres: str) -> None:
    async with bridge.open_loop(), road(postgres) as talk:
        row = await talk(
            lambda c: c.fetchrow("SELECT $1::bigint AS n, $2::text[] AS names, $3::bytea AS b", 4, ["a"], b"\0")
        )
        assert dict(row) == {"n": 4, "names": ["a"], "b": b"\0"}
        assert await talk(lambda c: c.fetchval("SELECT NULL")) is None
        assert await talk(lambda c: c.fetchrow("SELECT 1 WHERE false")) is None
        assert [r["i"] for r in await talk(lambda c: c.fetch("SELECT i FROM generate_series(1, 3) AS i"))] == [1, 2, 3]
        assert (
            await talk(lambda c: c.execute("CREATE TEMP TABLE t (i int); INSERT INTO t VALUES (1), (2)"))
            == "INSERT 0 2"
        )
        await talk(lambda c: c.executemany("INSERT INTO t VALUES ($1)", [(3,), (4,)]))
        assert await talk(lambda c: c.fetchval("SELECT sum(i) FROM t")) == 10


async def test_a_transaction_commits_or_rolls_back_as_a_whole(road: Callable[[str], Any], postgres: str) -> None:
    async def half(connection: Any) -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO secrets VALUES ('one', '1')")
            await connection.execute("SELECT 1 / 0")

    async def whole(connection: Any) -> None:
        async with connection.transaction():
            await connection.execute("INSERT INTO secrets VALUES ('two', '2')")

    async with bridge.open_loop(), road(postgres) as talk:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await talk(half)
        await talk(whole)
        assert [r["name"] for r in await talk(lambda c: c.fetch("SELECT name FROM secrets"))] == ["two"]


async def test_an_error_leaves_the_connection_usable(road: Callable[[str], Any], postgres: str) -> None:
    async with bridge.open_loop(), road(postgres) as talk:
        for sql, error in (
            ("SELECT 1 / 0", asyncpg.DivisionByZeroError),
            ("SELEC", asyncpg.PostgresSyntaxError),
            ("INSERT INTO sales (id) VALUES (1)", asyncpg.NotNullViolationError),
        ):
            with pytest.raises(error):
                await talk(lambda c, sql=sql: c.fetch(sql))
        with pytest.raises(asyncpg.DataError):
            await talk(lambda c: c.fetchval("SELECT $1::int", "no number"))
        assert await talk(lambda c: c.fetchval("SELECT 1")) == 1


async def test_large_arguments_and_large_results_pass_whole(road: Callable[[str], Any], postgres: str) -> None:
    text = "flash sale " * 2_000_000  # more than any socket takes at once
    async with bridge.open_loop(), road(postgres) as talk:
        assert await talk(lambda c: c.fetchval("SELECT $1::text", text)) == text
        rows = await talk(lambda c: c.fetch("SELECT i, repeat('x', 100) AS x FROM generate_series(1, 100000) AS i"))
        assert len(rows) == 100_000
        assert tuple(rows[-1]) == (100_000, "x" * 100)


async def test_a_notice_disturbs_nothing(road: Callable[[str], Any], postgres: str) -> None:
    async with bridge.open_loop(), road(postgres) as talk:
        await talk(lambda c: c.execute("DO $$ BEGIN RAISE WARNING 'only a notice'; END $$"))
        assert await talk(lambda c: c.fetchval("SELECT 1")) == 1


async def test_a_wait_for_a_slow_statement_can_be_cancelled(road: Callable[[str], Any], postgres: str) -> None:
    async with bridge.open_loop(), road(postgres) as talk:
        with trio.move_on_after(0.2) as waiting, trio.fail_after(5):
            await talk(lambda c: c.execute("SELECT pg_sleep(60)"))
        assert waiting.cancelled_caught


async def test_the_servers_own_time_out_is_an_error(road: Callable[[str], Any], postgres: str) -> None:
    async with bridge.open_loop(), road(postgres) as talk:
        await talk(lambda c: c.execute("SET statement_timeout = 50"))
        with pytest.raises(asyncpg.QueryCanceledError):
            await talk(lambda c: c.execute("SELECT pg_sleep(60)"))
        assert await talk(lambda c: c.fetchval("SELECT 1")) == 1


async def test_a_session_ended_by_the_server_is_a_lost_connection(road: Callable[[str], Any], postgres: str) -> None:
    async with bridge.open_loop(), road(postgres) as talk, road(postgres) as other:
        pid = await talk(lambda c: c.fetchval("SELECT pg_backend_pid()"))
        async with trio.open_nursery() as nursery:

            async def end() -> None:
                await other(lambda c: c.fetchval("SELECT pg_terminate_backend($1) FROM pg_sleep(0.1)", pid))

            nursery.start_soon(end)
            with trio.fail_after(5), pytest.raises((asyncpg.PostgresConnectionError, asyncpg.AdminShutdownError)):
                await talk(lambda c: c.execute("SELECT pg_sleep(60)"))
        with trio.fail_after(5), pytest.raises(asyncpg.InterfaceError):
            await talk(lambda c: c.fetchval("SELECT 1"))


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate", "killed"])
async def test_a_server_that_dies_is_a_lost_connection(
    road: Callable[[str], Any], own_postgres: EmbeddedPostgres, how: signal.Signals
) -> None:
    async with bridge.open_loop(), road(own_postgres.url) as talk, trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.sleep(0.1)
            assert own_postgres.child is not None
            own_postgres.child.signal(how)

        nursery.start_soon(end)
        with trio.fail_after(10), pytest.raises((asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError)):
            await talk(lambda c: c.execute("SELECT pg_sleep(60)"))


async def test_nobody_listening_is_an_oserror(road: Callable[[str], Any], tmp_path: Path) -> None:
    async with bridge.open_loop():
        with pytest.raises(FileNotFoundError):
            async with road(f"postgresql://flash@/flash?host={tmp_path}"):
                pass
        with pytest.raises(OSError, match=r"(?i)connect"):
            async with road("postgresql://flash@127.0.0.1:1/flash"):
                pass


async def test_a_missing_database_is_named(road: Callable[[str], Any], postgres_server: EmbeddedPostgres) -> None:
    async with bridge.open_loop():
        with pytest.raises(asyncpg.InvalidCatalogNameError, match="nowhere"):
            async with road(postgres_server.url.replace("/flash?", "/nowhere?")):
                pass


async def test_a_statement_that_takes_too_long_is_a_time_out_and_the_end_of_its_connection(postgres: str) -> None:
    connection = await trio_asyncpg.connect(postgres, timeout_seconds=0.2, server_settings={})
    with trio.fail_after(5), pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
        await connection.execute("SELECT pg_sleep(60)")
    assert connection.is_closed()
    connection.terminate()


async def test_a_frozen_server_is_a_time_out_when_connecting(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.pause()
    try:
        with trio.fail_after(5), pytest.raises(TimeoutError):
            await trio_asyncpg.connect(own_postgres.url, timeout_seconds=0.2, server_settings={})
    finally:
        own_postgres.resume()


async def test_idle_connections_that_the_server_ended_are_found_out_before_they_are_used(postgres: str) -> None:
    connection = await trio_asyncpg.connect(postgres, timeout_seconds=5, server_settings={})
    other = await trio_asyncpg.connect(postgres, timeout_seconds=5, server_settings={})
    try:
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        assert not trio_asyncpg.is_stale(connection)
        await other.fetchval("SELECT pg_terminate_backend($1)", pid)
        with trio.fail_after(5):
            while not trio_asyncpg.is_stale(connection):  # noqa: ASYNC110 - nothing tells when
                await trio.sleep(0.001)
        assert not trio_asyncpg.is_stale(other)
    finally:
        connection.terminate()
        other.terminate()


async def test_nothing_is_left_open_by_a_cancelled_connect(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.pause()
    try:
        with trio.move_on_after(0.2) as waiting:
            await trio_asyncpg.connect(own_postgres.url, timeout_seconds=5, server_settings={})
        assert waiting.cancelled_caught
    finally:
        own_postgres.resume()
