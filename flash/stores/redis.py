"""redis-py's client, for what is asked rarely: leases, and questions about the server.

The streams, which every batch of purchases crosses, go through `stores.redis_link` instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from flash import bridge
from flash.errors import OutcomeUnknown, Unavailable, reason_of
from flash.stores.redis_address import CLIENT_NAME, RedisAddress, RedisTls
from flash.stores.sentinel import find_primary

T = TypeVar("T")

_FIND_SHARE_OF_TIMEOUT = 0.8
"""redis-py has still to connect to what was found, and its own time-out would not say who was silent."""


@asynccontextmanager
async def open_redis(
    where: str | RedisAddress, *, timeout_seconds: float, connections_max: int = 4
) -> AsyncIterator[Redis]:
    """A redis-py client that connects when first used, so Redis may be away. `timeout_seconds` bounds each wait.

    Raises `ConfigError` if `where`, which may be a URL, cannot be read.
    """
    address = RedisAddress.parse(where) if isinstance(where, str) else where

    async def make() -> Redis:
        pool = BlockingConnectionPool(
            max_connections=connections_max,
            timeout=timeout_seconds,  # for a free connection
            socket_connect_timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            # redis-py repeats ten times by default, writes too: one XADD became two entries
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name=CLIENT_NAME,
            driver_info=None,  # nor does it say its own name, which a user of few rights may not
            username=address.username,
            password=address.password,
            db=address.database,
            **_endpoint(address, timeout_seconds),
        )
        return Redis(connection_pool=pool)

    client = await bridge.call_asyncio(make)
    try:
        yield client
    finally:
        await bridge.call_asyncio(client.connection_pool.disconnect)


def _endpoint(address: RedisAddress, timeout_seconds: float) -> dict[str, Any]:
    """redis-py's words for where to connect."""
    if address.path is not None:
        return {"connection_class": UnixDomainSocketConnection, "path": address.path}
    endpoint: dict[str, Any] = {"host": address.host, "port": address.port}
    if address.sentinels is not None:
        find_seconds = timeout_seconds * _FIND_SHARE_OF_TIMEOUT
        endpoint["find"] = partial(bridge.call_trio, find_primary, address, timeout_seconds=find_seconds)
    if address.tls is None:
        return {"connection_class": _Connection, **endpoint}
    return {"connection_class": _TlsConnection, "tls": address.tls, **endpoint}


class _Connection(Connection):
    """Asks `find`, if there is one, for host and port each time it connects: the primary may be another one now."""

    def __init__(self, *, find: Callable[[], Awaitable[tuple[str, int]]] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._find = find

    async def _connect(self) -> None:
        if self._find is not None:
            self.host, self.port = await self._find()
        await super()._connect()  # type: ignore[no-untyped-call]


class _TlsConnection(_Connection, SSLConnection):
    """Trusts exactly what the link for streams trusts."""

    def __init__(self, *, tls: RedisTls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {"host": self.host, "port": self.port, "ssl": self._tls.context()}


async def call_redis(client: Redis, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Call a function that uses `client`, on the asyncio side.

    Raises `Unavailable` if Redis was not there to be asked and `OutcomeUnknown` if its answer was lost or is an error.
    """

    async def call() -> T:
        try:
            return await function(*args)
        except RedisError:
            # It may be READONLY or LOADING: then another server answers at the address, now or soon.
            # Not those in use: a call of another task would break in the middle, and not with an error of Redis.
            await client.connection_pool.disconnect(inuse_connections=False)
            raise

    try:
        return await bridge.call_asyncio(call)
    except (RedisError, OSError, TimeoutError) as error:
        reason = f"Redis: {reason_of(error)}"
        # these can only come from connecting: nothing was sent
        if isinstance(error.__context__, ConnectionRefusedError | FileNotFoundError | Unavailable):
            raise Unavailable(reason) from error
        raise OutcomeUnknown(reason) from error


async def ping(client: Redis) -> None:
    """Raises `Unavailable` or `OutcomeUnknown` unless Redis answers."""
    await call_redis(client, client.ping)


async def eviction_warning(client: Redis) -> str | None:
    """A sentence for the operator if Redis may evict a lease. Raises `Unavailable` or `OutcomeUnknown`."""

    async def ask() -> str | None:
        try:
            return str((await client.config_get("maxmemory-policy")).get("maxmemory-policy"))
        except ResponseError:
            return None  # managed servers forbid CONFIG

    policy = await call_redis(client, ask)
    if policy is None:
        return "Redis does not say what its maxmemory-policy is: make sure that it is noeviction"
    if policy == "noeviction":
        return None
    return f"Redis runs with maxmemory-policy {policy}: set it to noeviction, or leases and commands can vanish"
