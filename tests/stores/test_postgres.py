"""Connections to a real PostgreSQL: bounds on every wait, and errors that say what the caller may assume."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from flash import bridge
from flash.actors.gate import Gate
from flash.domain import SaleId
from flash.errors import FlashError, OutcomeUnknown, Unavailable
from flash.local.embedded import EmbeddedPostgres
from flash.stores import trio_asyncpg
from flash.stores.addresses import ssl_options
from flash.stores.keys import read_secrets
from flash.stores.migration import migrate
from flash.stores.postgres import Session, open_postgres
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
            await database.run(forever)

        async def forever(_session: Session) -> None:
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


async def test_a_server_gone_silently_costs_one_time_out_whatever_connections_were_idle(
    own_postgres: EmbeddedPostgres,
) -> None:
    """FAULTS 34: ten idle connections used to cost ten time-outs after the server was back."""
    async with (
        Forwarder.running(own_postgres.url) as forwarder,
        open_postgres(forwarder.url, connections_max=10, timeout_seconds=0.5, name="test") as database,
    ):
        await at_once(10, database.ping)
        assert forwarder.connections == 10
        forwarder.silence()  # the server's host is gone, and nobody says so; then another takes its place
        started = trio.current_time()
        with pytest.raises(OutcomeUnknown, match="did not answer"):
            await database.write("SELECT 1")
        for _ in range(20):
            await database.ping()
        assert trio.current_time() - started < 2 * 0.5
        assert forwarder.connections == 11


async def test_busy_connections_older_than_a_time_out_are_not_used_again(own_postgres: EmbeddedPostgres) -> None:
    async def backend(session: Session, begun: trio.Event, may_end: trio.Event) -> int:
        begun.set()
        await may_end.wait()
        pid: int = await session.fetchval("SELECT pg_backend_pid()")
        return pid

    async def fail(session: Session) -> None:
        raise TimeoutError

    async with (
        bridge.open_loop(),
        open_postgres(own_postgres.url, connections_max=2, timeout_seconds=5, name="test") as database,
    ):
        begun, failed, pids = trio.Event(), trio.Event(), list[int]()

        async def be_busy() -> None:
            pids.append(await database.run(backend, begun, failed))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(be_busy)
            await begun.wait()
            with pytest.raises(OutcomeUnknown):
                await database.run(fail)
            failed.set()
        assert await database.run(backend, begun, failed) not in pids


@pytest.mark.parametrize("driver", ["auto", "asyncio"])
async def test_a_hundred_readers_behind_a_frozen_server_are_all_answered_within_two_time_outs(
    own_postgres: EmbeddedPostgres, driver: str
) -> None:
    """FAULTS 35: the last one was answered after 12 s."""
    gate = Gate(4, 512, 1.0)
    answered: list[float] = []
    async with (
        bridge.open_loop(),
        open_postgres(
            own_postgres.url, connections_max=10, timeout_seconds=0.5, name="test", driver=driver
        ) as database,
    ):
        await at_once(10, database.ping)

        async def read(guard: AbstractAsyncContextManager[None]) -> None:
            started = trio.current_time()
            with pytest.raises(FlashError):
                async with guard:
                    await database.ping()
            answered.append(trio.current_time() - started)

        own_postgres.pause()
        await at_once(100, partial(read, gate))
        await at_once(100, lambda: read(nullcontext()))
        own_postgres.resume()
        assert len(answered) == 200
        assert max(answered) < 2 * 0.5 + 0.3
        with trio.fail_after(5):
            await at_once(100, database.ping)


async def at_once(count: int, function: Callable[[], Awaitable[object]]) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(function)


class Forwarder:
    """Passes bytes between its clients and PostgreSQL's socket, until it is told to swallow them."""

    def __init__(self, url: str) -> None:
        self._path = f"{parse_qs(urlsplit(url).query)['host'][0]}/.s.PGSQL.5432"
        self.url = ""
        self.connections = 0
        self._silenced = 0

    def silence(self) -> None:
        """Pass nothing any more between those who are connected now. Who connects later is served."""
        self._silenced = self.connections

    @classmethod
    @asynccontextmanager
    async def running(cls, url: str) -> AsyncIterator[Forwarder]:
        forwarder = cls(url)
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            forwarder.url = f"postgresql://flash@127.0.0.1:{listener.socket.getsockname()[1]}/flash"
            nursery.start_soon(partial(trio.serve_listeners, forwarder._serve, [listener]))
            yield forwarder
            nursery.cancel_scope.cancel()

    async def _serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        number = self.connections
        try:
            async with await trio.open_unix_socket(self._path) as server, trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, client, server, number)
                await self._pass(server, client, number)
                nursery.cancel_scope.cancel()
        except trio.BrokenResourceError:
            pass  # either side is gone

    async def _pass(self, source: trio.SocketStream, sink: trio.SocketStream, number: int) -> None:
        async for data in source:
            if number <= self._silenced:
                await trio.sleep_forever()
            await sink.send_all(data)


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


@pytest.mark.parametrize("driver", ["auto", "asyncio"])
async def test_a_transaction_that_is_cancelled_ends_as_a_cancellation_and_not_as_an_error(
    postgres: str, driver: str
) -> None:
    async def sleep(session: Session) -> None:
        async with session.transaction():
            await session.execute("SELECT pg_sleep(10)")

    async with (
        bridge.open_loop(),
        open_postgres(postgres, connections_max=1, timeout_seconds=15, name="test", driver=driver) as database,
    ):
        with trio.move_on_after(0.2) as scope:
            await database.run(sleep)
        assert scope.cancelled_caught
        await database.ping()
