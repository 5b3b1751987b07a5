"""The connections of one process to PostgreSQL: how many, and how long each wait may take.

It knows no table and no rule. `stores.drivers` makes a connection, `stores.postgres_errors` says what an error lets the
caller assume. Nothing is retried: what was durable when a method returned stays durable, and a lost answer is reported
as lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeAlias, TypeVar, TypeVarTuple

import asyncpg
import trio

from flash.errors import FlashError, OutcomeUnknown, Unavailable, reason_of
from flash.stores.addresses import check_url, may_use_tls
from flash.stores.drivers import AsyncioDriver, Driver, ServerConnection, TrioDriver, session_settings
from flash.stores.pool import ConnectionPool
from flash.stores.postgres_errors import LEAVES_A_SESSION_WHOLE, LOST, is_about_the_statement, translated
from flash.stores.servers import shown

T = TypeVar("T")
Args = TypeVarTuple("Args")

Row: TypeAlias = asyncpg.Record

_WATCH_SECONDS = 5.0
_LOOK_SECONDS = 1.0


class Session(Protocol):
    """What a function that is given to `Postgres.run` may use."""

    async def execute(self, sql: str, /, *args: object) -> str: ...
    async def fetch(self, sql: str, /, *args: object) -> list[Row]: ...
    async def fetchrow(self, sql: str, /, *args: object) -> Row | None: ...
    async def fetchval(self, sql: str, /, *args: object) -> Any: ...
    def transaction(self) -> AbstractAsyncContextManager[None]: ...


class Postgres:
    """The connections of one process. Each call takes one connection.

    Every method raises `Unavailable` when PostgreSQL could not be asked. Where it may have done the work although its
    answer was lost, the methods that write raise `OutcomeUnknown`.
    """

    def __init__(self, driver: Driver, connections_max: int, timeout_seconds: float) -> None:
        self._driver = driver
        self._pool = ConnectionPool(
            connections_max, timeout_seconds, connect=driver.connect, is_usable=driver.is_usable
        )

    @property
    def connects(self) -> int:
        """How many connections were opened, or tried to be."""
        return self._pool.connects

    @property
    def is_pooled(self) -> bool:
        """Whether a pooler such as PgBouncer was found to stand between."""
        return self._driver.servers.is_pooled is True

    def close(self) -> None:
        """End the connections that nobody uses. Closing them politely would wait for the server."""
        self._pool.terminate()

    async def fetch(self, sql: str, *args: object) -> list[Row]:
        """The rows of one statement that only reads."""
        return await self._use(Unavailable, asyncpg.Connection.fetch, sql, *args)

    async def fetch_one(self, sql: str, *args: object) -> Row | None:
        """The first row of one statement that only reads, or None."""
        rows = await self._use(Unavailable, asyncpg.Connection.fetch, sql, *args)
        return rows[0] if rows else None

    async def write(self, sql: str, *args: object) -> list[Row]:
        """The rows of one statement that writes. It is its own transaction."""
        return await self._use(OutcomeUnknown, asyncpg.Connection.fetch, sql, *args)

    async def run(self, function: Callable[[Session, *Args], Awaitable[T]], *args: *Args) -> T:
        """Call `function` with a connection, for several statements that write. It may wait for nothing else."""
        return await self._use(OutcomeUnknown, function, *args)

    async def ping(self) -> None:
        """Raises `Unavailable` unless PostgreSQL answers."""
        await self.fetch("SELECT 1")

    async def watch_servers(self) -> None:
        """If there are several, look until cancelled whether another one was promoted while the one in use lives on."""
        while self._driver.servers.are_several:
            await trio.sleep(_WATCH_SECONDS)
            await self._driver.call(self._driver.look_around, _LOOK_SECONDS)

    async def survey(self) -> list[tuple[str, str | None]]:
        """Each of several servers, and why it cannot be used: None if it takes writes. Empty if there is only one."""
        driver, found = self._driver, list[tuple[str, str | None]]()
        if not driver.servers.are_several:
            return []
        await driver.call(driver.look_around, _LOOK_SECONDS)  # which is the newest must be known first
        for address in driver.servers.addresses:
            try:
                (await driver.call(driver.attempt, address, _LOOK_SECONDS)).terminate()
                found.append((shown(address), None))
            except Unavailable as error:
                found.append((shown(address), str(error)))
        return found

    async def durability_warnings(self) -> list[str]:
        """The server settings under which a commit could be lost; each is one sentence."""
        names = ["fsync", "synchronous_commit", "full_page_writes"]
        rows = await self.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1)", names)
        return [
            f"PostgreSQL runs with {name}={setting}: an answered sale can be lost in a crash"
            for name, setting in rows
            if setting == "off"
        ]

    async def administer(self, function: Callable[[Session, *Args], Awaitable[T]], *args: *Args) -> T:
        """Like `run`, but an error of a statement passes through unchanged, for whoever can say what it means."""
        return await self._use(OutcomeUnknown, function, *args, passes_errors=True)

    async def _use(
        self,
        lost: type[FlashError],
        function: Callable[..., Awaitable[T]],
        *args: object,
        passes_errors: bool = False,
    ) -> T:
        """Call `function` on a connection; `lost` is what it means if the connection breaks meanwhile.

        Plain `try` and `finally` on purpose: three context managers cost a tenth of a short statement.
        """
        pool = self._pool
        try:
            seconds = pool.timeout_seconds if pool.gate.enter_nowait() else await pool.wait()
            try:
                return await self._driver.call(self._on_connection, seconds, function, args)
            finally:
                pool.gate.leave()
        except FlashError:
            raise
        except (asyncpg.PostgresError, *LOST) as error:
            # cancelled within a transaction, asyncpg fails to roll back and raises that instead
            await trio.lowlevel.checkpoint_if_cancelled()
            if passes_errors and is_about_the_statement(error):
                raise
            raise translated(error, lost) from error
        except OverflowError as error:  # a time that PostgreSQL can hold and Python cannot
            raise lost(f"PostgreSQL holds what cannot be read here: {error}") from error

    async def _on_connection(
        self, seconds: float, function: Callable[..., Awaitable[T]], args: tuple[object, ...]
    ) -> T:
        """Call `function` on a connection, and keep that if it is still good for somebody else."""
        pool = self._pool
        generation = pool.generation
        connection = await self._take(seconds)
        try:
            result = await function(connection, *args)
        except BaseException as error:
            self._part_with(connection, generation, error)
            raise
        pool.give_back(connection, generation)
        return result

    async def _take(self, seconds: float) -> ServerConnection:
        try:
            return await self._pool.take(seconds)
        except Unavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                self._pool.gate.refuse_waiting(error)
            raise

    def _part_with(self, connection: ServerConnection, generation: int, error: BaseException) -> None:
        """Keep `connection` after `error` unless it may be in the middle of something, or no longer what we made it."""
        if isinstance(error, LOST) or connection.is_closed():
            connection.terminate()
            if isinstance(error, Exception):
                self._pool.distrust(Unavailable(f"PostgreSQL did not answer somebody else: {reason_of(error)}"))
        elif not isinstance(error, LEAVES_A_SESSION_WHOLE) or connection.is_in_transaction():
            connection.terminate()
        else:
            self._pool.give_back(connection, generation)


@asynccontextmanager
async def open_postgres(
    url: str,
    *,
    connections_max: int,
    timeout_seconds: float,
    name: str,
    driver: str = "auto",
    statement_seconds: float | None = None,
) -> AsyncIterator[Postgres]:
    """At most `connections_max` connections, made when they are needed, so PostgreSQL may be away.

    `timeout_seconds` bounds getting a connection, be it free, waited for or new, and then each statement. `name` is
    what PostgreSQL shows for them in pg_stat_activity. `driver` is `auto`, which uses Trio's sockets unless TLS is
    wanted, or `asyncio`. `statement_seconds`: a statement may take that long instead.

    Raises `ConfigError` if `url` cannot be read.
    """
    check_url(url)
    statement_seconds = statement_seconds or timeout_seconds
    kind = TrioDriver if driver == "auto" and not may_use_tls(url) else AsyncioDriver
    settings = session_settings(statement_seconds, name)
    database = Postgres(kind(url, statement_seconds, settings), connections_max, timeout_seconds)
    try:
        yield database
    finally:
        database.close()  # everybody who used it is gone by now
