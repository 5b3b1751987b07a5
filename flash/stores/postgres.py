"""Connections to PostgreSQL: how many, how long each wait may take, and what an error lets the caller assume.

It knows no table and no rule. The driver is asyncpg, on Trio's own sockets (`stores.trio_asyncpg`) or through
trio-asyncio. Nothing is retried: what was durable when a method returned stays durable, and a lost answer is reported
as lost.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, TypeVarTuple
from urllib.parse import parse_qs, urlsplit

import asyncpg
import trio

from flash import bridge
from flash.errors import FlashError, OutcomeUnknown, StorageFull, Unavailable, reason_of
from flash.stores import trio_asyncpg
from flash.stores.pool import ConnectionPool
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Args = TypeVarTuple("Args")

Row: TypeAlias = asyncpg.Record
AsyncpgConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class DuplicateKey(OutcomeUnknown):
    """A row was refused whose key exists already. Nothing of the statement was done."""


# Errors that concern one statement. Only `Postgres.administer` lets them pass through.
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


_SERVER_SHARE_OF_TIMEOUT = 0.9


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

    def __init__(self, driver: _TrioDriver | _AsyncioDriver, connections_max: int, timeout_seconds: float) -> None:
        self._driver = driver
        self._pool = ConnectionPool(
            connections_max, timeout_seconds, connect=driver.connect, is_usable=driver.is_usable
        )

    @property
    def connects(self) -> int:
        """How many connections were opened, or tried to be."""
        return self._pool.connects

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
        except (asyncpg.PostgresError, *_LOST) as error:
            # cancelled within a transaction, asyncpg fails to roll back and raises that instead
            await trio.lowlevel.checkpoint_if_cancelled()
            if passes_errors and _is_about_the_statement(error):
                raise
            raise _translated(error, lost) from error

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

    async def _take(self, seconds: float) -> AsyncpgConnection:
        try:
            return await self._pool.take(seconds)
        except Unavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                self._pool.gate.refuse_waiting(error)
            raise

    def _part_with(self, connection: AsyncpgConnection, generation: int, error: BaseException) -> None:
        """Keep `connection` after `error` unless it may be in the middle of something, or no longer what we made it."""
        if isinstance(error, _LOST) or connection.is_closed():
            connection.terminate()
            if isinstance(error, Exception):
                self._pool.distrust(Unavailable(f"PostgreSQL did not answer somebody else: {reason_of(error)}"))
        elif not isinstance(error, _LEAVES_A_SESSION_WHOLE) or connection.is_in_transaction():
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
    """
    statement_seconds = statement_seconds or timeout_seconds
    kind = _TrioDriver if driver == "auto" and not _may_use_tls(url) else _AsyncioDriver
    settings = _session_settings(statement_seconds, name)
    database = Postgres(kind(url, statement_seconds, settings), connections_max, timeout_seconds)
    try:
        yield database
    finally:
        database.close()  # everybody who used it is gone by now


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
    """Bounds on the server's side too: a client that froze in a transaction does not block the others.

    They end a little before ours do: a server that is merely slow says so, and is not taken for one that is gone.
    """
    milliseconds = str(int(statement_seconds * 1000 * _SERVER_SHARE_OF_TIMEOUT))
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


class _TrioDriver:
    """asyncpg on Trio's sockets: half the cost of a statement, and no TLS."""

    def __init__(self, url: str, statement_seconds: float, settings: dict[str, str]) -> None:
        self._url = url
        self._statement_seconds = statement_seconds
        self._settings = settings

    async def connect(self, seconds: float) -> AsyncpgConnection:
        with _unreachable():
            return await trio_asyncpg.connect(
                self._url,
                timeout_seconds=seconds,
                statement_seconds=self._statement_seconds,
                server_settings=self._settings,
            )

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return function(*args, **kwargs)

    def is_usable(self, connection: AsyncpgConnection) -> bool:
        return not trio_asyncpg.is_stale(connection)


class _AsyncioDriver:
    """asyncpg through trio-asyncio. Each call crosses once."""

    def __init__(self, url: str, statement_seconds: float, settings: dict[str, str]) -> None:
        self._url = url
        self._statement_seconds = statement_seconds
        self._settings = settings

    async def connect(self, seconds: float) -> AsyncpgConnection:
        # asyncpg takes 0 for no bound at all
        bounds = {"timeout": max(seconds, 0.001), "command_timeout": self._statement_seconds}
        return await connect(self._url, **bounds, server_settings=self._settings)

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return bridge.call_asyncio(function, *args, **kwargs)

    def is_usable(self, connection: AsyncpgConnection) -> bool:
        return not connection.is_closed()


# The error of a statement that undoes itself and leaves its session as it was. Whatever else fails takes its connection
# along: a session that was reset (DISCARD ALL) has forgotten statements that asyncpg goes on asking it for, and one
# that began while the database was read-only stays so.
_LEAVES_A_SESSION_WHOLE = (
    FlashError,
    AssertionError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.TransactionRollbackError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
)
_ROLLED_BACK = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_NO_ANSWER = (*_LOST, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError)
_KNOWN_FAILURES = (
    asyncpg.InternalServerError,
    asyncpg.PostgresIOError,
    asyncpg.LockNotAvailableError,
    asyncpg.StatementCompletionUnknownError,  # of the class "rolled back", but the server does not know either
)


def _found_no_room(error: Exception) -> bool:
    """Whether a full disk undid the statement, so that nothing of it was stored.

    An ERROR ends its transaction before the commit record is written: from there on a server that finds no room ends in
    a PANIC, with the same SQLSTATE, and its recovery may find the transaction committed.
    """
    return isinstance(error, asyncpg.DiskFullError) and error.severity_en == "ERROR"


def _is_about_the_statement(error: Exception) -> bool:
    """Whether PostgreSQL refused the statement itself, so that only the caller knows what that means."""
    expected = (*_ROLLED_BACK, *_NO_ANSWER, *_KNOWN_FAILURES, asyncpg.ReadOnlySQLTransactionError)
    return isinstance(error, asyncpg.PostgresError) and not isinstance(error, expected)


def _translated(error: Exception, lost: type[FlashError]) -> FlashError:
    """What `error` of a connection or the server lets the caller assume; `lost` if it may have been done.

    An error that nobody expects (a right revoked, a table dropped, a duplicate that cannot be) is a matter for
    whoever operates PostgreSQL. It costs its own batch, never the process: so it is logged as loudly as a crash.
    """
    if isinstance(error, _ROLLED_BACK):  # PostgreSQL has undone all of it
        return Unavailable(f"PostgreSQL rolled back: {reason_of(error)}")
    if isinstance(error, asyncpg.ReadOnlySQLTransactionError):  # a primary that has become a standby, or was closed
        return Unavailable(f"PostgreSQL takes no writes: {reason_of(error)}")
    if _found_no_room(error):
        return StorageFull(f"PostgreSQL has no room: {reason_of(error)}")
    if isinstance(error, _NO_ANSWER):
        return lost(f"PostgreSQL did not answer: {reason_of(error)}")
    assert isinstance(error, asyncpg.PostgresError)
    if not isinstance(error, _KNOWN_FAILURES):
        sqlstate = error.sqlstate or "no SQLSTATE"
        _loudly[sqlstate](
            "PostgreSQL refused a statement of this service (%s): %s: %s",
            sqlstate,
            type(error).__name__,
            reason_of(error),
        )
    if isinstance(error, asyncpg.UniqueViolationError):
        lost = DuplicateKey
    return lost(f"PostgreSQL failed: {reason_of(error)}")


class _LoudLoggers(dict[str, ThrottledLogger]):
    """One for each SQLSTATE, so that one flood of errors does not hide another."""

    def __missing__(self, sqlstate: str) -> ThrottledLogger:
        self[sqlstate] = ThrottledLogger(log, logging.ERROR)
        return self[sqlstate]


_loudly = _LoudLoggers()
