"""How redis-py is set up, and what its errors mean: for leases and for questions about the server.

The streams go through `redis_link`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from flash import bridge
from flash.errors import OutcomeUnknown, Unavailable

T = TypeVar("T")


@asynccontextmanager
async def open_redis(url: str, *, timeout_seconds: float, connections_max: int = 4) -> AsyncIterator[Redis]:
    """A client that connects when first used, so Redis may be away."""

    async def make() -> Redis:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections_max,
            timeout=timeout_seconds,  # for a free connection
            socket_connect_timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            # redis-py repeats ten times by default, writes too: one XADD became two entries
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            client_name="flash",
        )
        return Redis(connection_pool=pool)

    client = await bridge.call_asyncio(make)
    try:
        yield client
    finally:
        await bridge.call_asyncio(client.connection_pool.disconnect)


async def converse(conversation: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Cross once for a whole conversation.

    Raises `Unavailable` if Redis was not there to be asked and `OutcomeUnknown` if its answer was lost.
    """
    try:
        return await bridge.call_asyncio(conversation, *args)
    except (RedisError, OSError, TimeoutError) as error:
        reason = f"Redis: {str(error) or type(error).__name__}"
        # these two can only come from connecting: nothing was sent
        if isinstance(error.__context__, ConnectionRefusedError | FileNotFoundError):
            raise Unavailable(reason) from error
        raise OutcomeUnknown(reason) from error


async def ping(client: Redis) -> None:
    """Raises `Unavailable` or `OutcomeUnknown` unless Redis answers."""
    await converse(client.ping)


async def eviction_warning(client: Redis) -> str | None:
    """A sentence for the operator if Redis may evict a lease."""

    async def ask() -> str | None:
        try:
            return str((await client.config_get("maxmemory-policy")).get("maxmemory-policy"))
        except ResponseError:
            return None  # managed servers forbid CONFIG

    policy = await converse(ask)
    if policy is None:
        return "Redis does not say what its maxmemory-policy is: see to it that it is noeviction"
    if policy == "noeviction":
        return None
    return f"Redis runs with maxmemory-policy {policy}: set it to noeviction, or leases and commands can vanish"
