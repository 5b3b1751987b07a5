"""How a connection to PostgreSQL is made: by asyncpg, on Trio's own sockets or through trio-asyncio, directly or by
way of a pooler, to one server or to that of several which takes writes.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

import asyncpg
import trio

from flash import bridge
from flash.errors import Unavailable
from flash.stores import trio_asyncpg
from flash.stores.addresses import check_url, servers_of, ssl_options
from flash.stores.postgres_errors import LOST, unreachable
from flash.stores.servers import Address, Lineage, Servers, Superseded, shown
from flash.telemetry import ThrottledLogger

log = logging.getLogger(__name__)
_loudly = ThrottledLogger(log, logging.ERROR)

P = ParamSpec("P")
T = TypeVar("T")

AsyncpgConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection  # it takes no subscript when it runs

_SERVER_SHARE_OF_TIMEOUT = 0.9
_STATEMENTS_KEPT = 100
_ANY_PORT = 5432  # the path of a socket has it already, and a URL may give more ports than this one host has

# By the simple protocol, which leaves no prepared statement behind on a server that a pooler shares out; only the
# number of rows can be told then.
_IS_DIRECT = "SELECT WHERE pg_backend_pid() = {}"
_TAKES_WRITES = "SELECT WHERE NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean"
_LINEAGE = "SELECT system_identifier, pg_walfile_name(pg_current_wal_insert_lsn()) AS file FROM pg_control_system()"


class ServerConnection(_Connection):
    """A connection that knows its server, and gives up without asking that server to cancel anything.

    Such a request cuts short a commit that waits for a synchronous standby: the server then shows, to whoever asks
    next, a sale that the standby has not got, and a fail-over would lose what was answered. asyncpg makes it unless it
    is terminated first. Servers end long statements themselves (`statement_timeout`), but not that wait.
    """

    lineage: Lineage | None = None

    def _cancel_current_command(self, waiter: Any, cancel_waiter: Any = None) -> None:
        self.terminate()
        if not waiter.done():
            waiter.set_result(None)


class Driver(ABC):
    """Makes connections to the servers of `url`. Each statement may take `statement_seconds`."""

    def __init__(self, url: str, statement_seconds: float, settings: Mapping[str, str]) -> None:
        self._url = url
        self._statement_seconds = statement_seconds
        self._settings = settings

    @cached_property
    def servers(self) -> Servers:
        """What this process knows of them. Raises an error of asyncpg for a URL that it cannot read."""
        return servers_of(self._url)

    async def connect(self, seconds: float) -> ServerConnection:
        """A connection to a server; if there are several, to one that takes writes. Raises `Unavailable` in time."""
        with unreachable():
            return await self.servers.connect(self.attempt, seconds)

    async def attempt(self, address: Address, seconds: float) -> ServerConnection:
        """Like `connect`, to the server at `address`. Raises `Superseded`, too."""
        deadline = trio.current_time() + seconds
        with unreachable():
            connection = await self._open_suitably(address, seconds)
            try:
                if self.servers.are_several:
                    await self._examine(connection, deadline)
            except BaseException:
                connection.terminate()
                raise
            return connection

    async def look_around(self, seconds: float) -> None:
        """Ask the servers that are not used, `seconds` each, and go over to one that was promoted.

        Connections to the server that it replaces are not used again.
        """
        promotions = self.servers.promotions
        for address in self.servers.others:
            try:
                connection = await self.attempt(address, seconds)
            except Superseded as error:
                _loudly("PostgreSQL at %s was replaced: %s", shown(address), error)
            except Unavailable:
                continue  # as it should be of a standby
            else:
                connection.terminate()
                if self.servers.promotions > promotions:
                    self.servers.prefer(address)
                else:
                    _loudly("PostgreSQL at %s takes writes besides the server that is used: stop one", shown(address))

    async def _open_suitably(self, address: Address, seconds: float) -> ServerConnection:
        """A connection that is used as a pooler requires, if one turns out to stand between."""
        deadline = trio.current_time() + seconds
        servers = self.servers
        if servers.is_pooled is None:
            connection = await self._try_directly(address, seconds)
            if connection is not None:
                servers.is_pooled = False
                return connection
            servers.is_pooled = True
        return await self._open(address, deadline - trio.current_time(), is_pooled=servers.is_pooled)

    async def _try_directly(self, address: Address, seconds: float) -> ServerConnection | None:
        """A connection to the server itself; None if a pooler stands between.

        A pooler tells its clients another number than that of the process that works for them, and may refuse settings.
        """
        deadline = trio.current_time() + seconds
        try:
            connection = await self._open(address, seconds, is_pooled=False)
        except asyncpg.ProtocolViolationError as error:
            if "startup parameter" in str(error):
                return None
            raise
        try:
            ask = _IS_DIRECT.format(connection.get_server_pid())
            if await self._within(deadline, connection.execute, ask) == "SELECT 1":
                return connection
        except BaseException:
            connection.terminate()
            raise
        connection.terminate()
        return None

    async def _examine(self, connection: ServerConnection, deadline: float) -> None:
        """Raises `Unavailable` unless this server takes writes, and none has been promoted in its place."""
        if await self._within(deadline, connection.execute, _TAKES_WRITES) != "SELECT 1":
            raise Unavailable("it takes no writes: it is a standby or was made read-only")
        try:
            row = await self._within(deadline, connection.fetchrow, _LINEAGE)
        except LOST:
            raise
        except asyncpg.PostgresError:  # some who rent out PostgreSQL allow neither function
            return
        assert row is not None
        connection.lineage = Lineage(row["system_identifier"], int(row["file"][:8], 16))
        self.servers.check(connection.lineage)

    def is_usable(self, connection: ServerConnection) -> bool:
        """Whether an idle connection may be used again."""
        return self._is_alive(connection) and self.servers.is_newest(connection.lineage)

    def _options(self, address: Address, *, is_pooled: bool) -> dict[str, Any]:
        """A pooler gives each transaction another server, which has neither our settings nor our statements."""
        settings = {name: value for name, value in self._settings.items() if not is_pooled or name in _TRACKED}
        host, port = address if isinstance(address, tuple) else (address, _ANY_PORT if address else None)
        return {
            "host": host,
            "port": port,
            "server_settings": settings,
            "statement_cache_size": 0 if is_pooled else _STATEMENTS_KEPT,
            "connection_class": ServerConnection,
            "target_session_attrs": "any" if self.servers.are_several else None,
        }

    @abstractmethod
    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Call a function that uses connections, on the side on which they live."""

    @abstractmethod
    async def _open(self, address: Address, seconds: float, *, is_pooled: bool) -> ServerConnection: ...

    @abstractmethod
    async def _within(self, deadline: float, function: Callable[..., Awaitable[T]], sql: str) -> T: ...

    @abstractmethod
    def _is_alive(self, connection: ServerConnection) -> bool: ...


class TrioDriver(Driver):
    """asyncpg on Trio's sockets: half the cost of a statement, and no TLS."""

    async def _open(self, address: Address, seconds: float, *, is_pooled: bool) -> ServerConnection:
        connection = await trio_asyncpg.connect(
            self._url,
            timeout_seconds=seconds,
            statement_seconds=self._statement_seconds,
            **self._options(address, is_pooled=is_pooled),
        )
        assert isinstance(connection, ServerConnection)
        return connection

    async def _within(self, deadline: float, function: Callable[..., Awaitable[T]], sql: str) -> T:
        try:
            with trio.fail_at(deadline):
                return await function(sql)
        except trio.TooSlowError as error:
            raise TimeoutError("connected, and then no answer") from error

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return function(*args, **kwargs)

    def _is_alive(self, connection: ServerConnection) -> bool:
        return not trio_asyncpg.is_stale(connection)


class AsyncioDriver(Driver):
    """asyncpg through trio-asyncio. Each call crosses once."""

    async def _open(self, address: Address, seconds: float, *, is_pooled: bool) -> ServerConnection:
        options = {
            "timeout": _positive(seconds),
            "command_timeout": self._statement_seconds,
            **ssl_options(self._url),
            **self._options(address, is_pooled=is_pooled),
        }
        connection = await asyncpg.connect(self._url, **options)
        assert isinstance(connection, ServerConnection)
        return connection

    async def _within(self, deadline: float, function: Callable[..., Awaitable[T]], sql: str) -> T:
        return await function(sql, timeout=_positive(deadline - trio.current_time()))

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return bridge.call_asyncio(function, *args, **kwargs)

    def _is_alive(self, connection: ServerConnection) -> bool:
        return not connection.is_closed()


async def connect(url: str, **options: Any) -> AsyncpgConnection:
    """One connection, made on the asyncio side; `options` are asyncpg's. Raises `Unavailable` and `ConfigError`."""
    check_url(url)
    with unreachable():
        connection: AsyncpgConnection = await asyncpg.connect(url, **{**ssl_options(url), **options})
        return connection


def session_settings(statement_seconds: float, name: str) -> dict[str, str]:
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


_TRACKED = frozenset(("application_name",))
"""The settings of ours that a pooler passes on with each transaction."""


def _positive(seconds: float) -> float:
    """asyncpg takes 0 for no bound at all."""
    return max(seconds, 0.001)
