"""Connections to PostgreSQL: how many, how long each wait may take, and what an error lets the caller assume.

It knows no table and no rule. The driver is asyncpg, on Trio's own sockets (`stores.trio_asyncpg`) or through
trio-asyncio. Nothing is retried: what was durable when a method returned stays durable, and a lost answer is reported
as lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar
from urllib.parse import parse_qs, urlsplit

import asyncpg
import trio

from flash import bridge
from flash.errors import FlashError, OutcomeUnknown, Unavailable, reason_of
from flash.stores import trio_asyncpg

P = ParamSpec("P")
T = TypeVar("T")

Row: TypeAlias = asyncpg.Record
AsyncpgConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# Errors that concern one statement. They pass through unchanged, because only the caller knows whether they are a bug.
StatementError = asyncpg.PostgresError
PermissionDenied = asyncpg.InsufficientPrivilegeError

_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # a connection that the server has just ended may answer its next use with "cannot switch to state"
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)


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

    def __init__(self, connections: _Connections) -> None:
        self._connections = connections

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

    async def run(
        self, function: Callable[Concatenate[Session, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call `function` with a connection, for several statements that write. It may wait for nothing else."""
        return await self._use(OutcomeUnknown, function, *args, **kwargs)

    async def ping(self) -> None:
        """Raises `Unavailable` unless PostgreSQL answers."""
        await self.fetch("SELECT 1")

    async def durability_warnings(self) -> list[str]:
        """The server settings under which a commit could be lost; each is one sentence."""
        names = ["fsync", "synchronous_commit", "full_page_writes"]
        rows = await self.fetch("SELECT name, setting FROM pg_settings WHERE name = ANY($1)", names)
        return [
            f"PostgreSQL runs with {name}={setting}: an answered sale can be lost in a crash"
            for name, setting in rows
            if setting == "off"
        ]

    async def _use(
        self,
        lost: type[FlashError],
        function: Callable[Concatenate[AsyncpgConnection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call `function` on a connection; `lost` is what it means if the connection breaks meanwhile."""

        async def on_connection() -> T:
            connection = await self._connections.take()
            with self._connections.lent(connection):
                return await function(connection, *args, **kwargs)

        with _translated(lost):
            async with self._connections.one():
                return await self._connections.driver.call(on_connection)


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

    `timeout_seconds` bounds each wait: for a free connection, for connecting and for a statement. `name` is what
    PostgreSQL shows for them in pg_stat_activity. `driver` is `auto`, which uses Trio's sockets unless TLS is wanted,
    or `asyncio`. `statement_seconds`: a statement may take that long instead.
    """
    statement_seconds = statement_seconds or timeout_seconds
    kind = _TrioDriver if driver == "auto" and not _may_use_tls(url) else _AsyncioDriver
    settings = _session_settings(statement_seconds, name)
    connections = _Connections(
        connections_max, timeout_seconds, kind(url, timeout_seconds, statement_seconds, settings)
    )
    try:
        yield Postgres(connections)
    finally:
        # closing politely waits for the server: everybody who used them is gone by now
        connections.terminate()


async def connect(url: str, **options: Any) -> AsyncpgConnection:
    """One connection, made on the asyncio side; `options` are asyncpg's. Raises `Unavailable`."""
    with _unreachable():
        connection: AsyncpgConnection = await asyncpg.connect(url, **{**ssl_options(url), **options})
        return connection


@contextmanager
def _unreachable() -> Iterator[None]:
    try:
        yield
    except (asyncpg.PostgresError, *_LOST) as error:
        raise Unavailable(f"PostgreSQL cannot be reached: {reason_of(error)}") from error


def ssl_options(url: str) -> dict[str, bool]:
    """asyncpg's `ssl` option for `url`: off for a local server unless the URL says otherwise.

    Without it asyncpg probes for TLS first, and a cancelled probe of a local server was seen to hang the loop.
    """
    return {} if _may_use_tls(url) else {"ssl": False}


def _may_use_tls(url: str) -> bool:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if "sslmode" in query:
        return query["sslmode"] != ["disable"]
    hosts = query.get("host") or [parts.netloc.rpartition("@")[2]]
    return not all(_is_local(host) for host in ",".join(hosts).split(","))


def _is_local(host: str) -> bool:
    return host.startswith("/") or urlsplit(f"//{host}").hostname in (None, "localhost", "127.0.0.1", "::1")


def _session_settings(statement_seconds: float, name: str) -> dict[str, str]:
    """Bounds on the server's side too: a client that froze in a transaction does not block the others."""
    milliseconds = str(int(statement_seconds * 1000))
    return {
        "application_name": name,
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        # Plans are made while a sale's tables are small and kept while they grow. A plan that reads a whole
        # table, because that was quicker at the time, must not be one of them.
        "enable_seqscan": "off",
        # Planning a statement anew costs as much as running it, and compiling it costs far more.
        "plan_cache_mode": "force_generic_plan",
        "jit": "off",
    }


@dataclass(frozen=True, slots=True)
class _TrioDriver:
    """asyncpg on Trio's sockets: half the cost of a statement, and no TLS."""

    url: str
    timeout_seconds: float
    statement_seconds: float
    settings: dict[str, str]

    async def connect(self) -> AsyncpgConnection:
        with _unreachable():
            return await trio_asyncpg.connect(
                self.url,
                timeout_seconds=self.timeout_seconds,
                statement_seconds=self.statement_seconds,
                server_settings=self.settings,
            )

    async def call(self, function: Callable[[], Awaitable[T]]) -> T:
        return await function()

    def is_usable(self, connection: AsyncpgConnection) -> bool:
        return not trio_asyncpg.is_stale(connection)


@dataclass(frozen=True, slots=True)
class _AsyncioDriver:
    """asyncpg through trio-asyncio. Each call crosses once."""

    url: str
    timeout_seconds: float
    statement_seconds: float
    settings: dict[str, str]

    async def connect(self) -> AsyncpgConnection:
        bounds = {"timeout": self.timeout_seconds, "command_timeout": self.statement_seconds}
        return await connect(self.url, **bounds, server_settings=self.settings)

    async def call(self, function: Callable[[], Awaitable[T]]) -> T:
        return await bridge.call_asyncio(function)

    def is_usable(self, connection: AsyncpgConnection) -> bool:
        return not connection.is_closed()


@contextmanager
def _translated(lost: type[FlashError]) -> Iterator[None]:
    """Raise errors of the connection and the server as ours. An error in the statement itself passes through."""
    try:
        yield
    except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:  # PostgreSQL has undone all of it
        raise Unavailable(f"PostgreSQL rolled back: {reason_of(error)}") from error
    except asyncpg.ReadOnlySQLTransactionError as error:  # a primary that has become a standby, or was closed
        raise Unavailable(f"PostgreSQL takes no writes: {reason_of(error)}") from error
    except (*_LOST, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError) as error:
        raise lost(f"PostgreSQL did not answer: {reason_of(error)}") from error
    except (
        asyncpg.InternalServerError,
        asyncpg.PostgresIOError,
        asyncpg.LockNotAvailableError,
        asyncpg.StatementCompletionUnknownError,  # of the class "rolled back", but the server does not know either
    ) as error:
        raise lost(f"PostgreSQL failed: {reason_of(error)}") from error


class _Connections:
    """At most `most` connections, made when needed and kept until they fail.

    asyncpg's own pool guards every use with timers and tasks, which cost more than a short statement itself.
    """

    def __init__(self, most: int, timeout_seconds: float, driver: _TrioDriver | _AsyncioDriver) -> None:
        self.driver = driver
        self._limit = trio.CapacityLimiter(most)
        self._timeout_seconds = timeout_seconds
        self._idle: list[AsyncpgConnection] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """The right to use one connection. Raises `Unavailable` if none becomes free in time."""
        try:
            self._limit.acquire_nowait()
        except trio.WouldBlock:
            try:
                with trio.fail_after(self._timeout_seconds):
                    await self._limit.acquire()
            except trio.TooSlowError as error:
                raise Unavailable("all connections to PostgreSQL are busy") from error
        try:
            yield
        finally:
            self._limit.release()

    async def take(self) -> AsyncpgConnection:
        """A connection, for whoever is within `one`; called by way of the driver. Raises `Unavailable`."""
        while self._idle:
            connection = self._idle.pop()
            if self.driver.is_usable(connection):
                return connection
            connection.terminate()
        return await self.driver.connect()

    @contextmanager
    def lent(self, connection: AsyncpgConnection) -> Iterator[None]:
        """Keep `connection` for the next user afterwards, unless it may be in the middle of something."""
        try:
            yield
        except BaseException as error:
            is_whole = isinstance(error, asyncpg.PostgresError | FlashError | AssertionError)
            if not is_whole or connection.is_closed() or connection.is_in_transaction():
                connection.terminate()
            else:
                self._idle.append(connection)
            raise
        self._idle.append(connection)

    def terminate(self) -> None:
        for connection in self._idle:
            connection.terminate()
        self._idle.clear()
