"""What every process of the service does at the beginning and the end of its life.

A process runs in one nursery until SIGTERM or SIGINT. A background task that dies takes the process with it, with a
traceback and a non-zero exit, so that nothing goes on answering from half a process.
"""

from __future__ import annotations

import gc
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import trio
from redis.asyncio import Redis

from flash import bridge
from flash.config import Config, mask
from flash.errors import FlashError, OperatorError, OutcomeUnknown, Unavailable
from flash.stores import postgres
from flash.stores.postgres import Postgres, open_postgres
from flash.stores.redis_client import eviction_warning, open_redis
from flash.stores.redis_link import RedisLink
from flash.telemetry import configure_logging

log = logging.getLogger(__name__)

T = TypeVar("T")

_STORE_RETRY_SECONDS = 0.5
_STORE_REMINDER_SECONDS = 10.0


class Stopped(Exception):
    """The process was told to stop before it had started."""


def run_process(main: Callable[[Config, trio.Event], Awaitable[None]], config: Config) -> int:
    """Run `main` until SIGTERM or SIGINT sets its event. Returns the exit code: 0, or 1 if anything died."""
    configure_logging(config.log_level)
    for warning in config.warnings():
        log.warning(warning)
    # What was imported stays, and most of what a request makes dies by its reference count: look for cycles rarely.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        bridge.run(_until_signal, main, config)
    except OperatorError:
        raise
    except Exception:
        log.critical("this process ends because a part of it died", exc_info=True)
        return 1
    return 0


async def _until_signal(main: Callable[[Config, trio.Event], Awaitable[None]], config: Config) -> None:
    stop = trio.Event()
    # held open for life: the process group gets SIGTERM from honcho, and a terminal may add SIGINT
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_on_signal, signals, stop)
            async with bridge.open_loop():
                try:
                    await main(config, stop)
                except* Stopped:
                    log.info("stopped before it had started")
            nursery.cancel_scope.cancel()


async def _set_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for number in signals:
        if not stop.is_set():
            log.info("%s received, stopping", signal.Signals(number).name)
            stop.set()


@asynccontextmanager
async def open_database(config: Config, stop: trio.Event, name: str, connections_max: int) -> AsyncIterator[Postgres]:
    """The migrated database, however long it takes to appear."""
    url = _database_url(config)
    await wait_until(f"PostgreSQL at {mask(url)}", stop, lambda: postgres.migrate(url))
    async with open_postgres(
        url,
        connections_max=connections_max,
        timeout_seconds=config.database_timeout_seconds,
        code_ttl_seconds=config.code_ttl_seconds,
        name=name,
    ) as database:
        await wait_until(f"PostgreSQL at {mask(url)}", stop, partial(_warn_of_lost_commits, database))
        yield database


def open_redis_client(config: Config) -> AbstractAsyncContextManager[Redis]:
    return open_redis(_redis_url(config), timeout_seconds=config.redis_timeout_seconds)


def open_link(config: Config) -> RedisLink:
    return RedisLink(_redis_url(config), timeout_seconds=config.redis_timeout_seconds)


def _redis_url(config: Config) -> str:
    if config.redis_url is None:
        raise OperatorError("REDIS_URL is not set: set it, or use `flash up`")
    return config.redis_url


def _database_url(config: Config) -> str:
    if config.database_url is None:
        raise OperatorError("DATABASE_URL is not set: set it, or use `flash up`")
    return config.database_url


async def wait_until(what: str, stop: trio.Event, attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns, repeated until it works. Raises `Stopped` when told to stop, even within one."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
        result = await _repeat(what, attempt)
        nursery.cancel_scope.cancel()
        return result
    raise Stopped


async def _cancel_on(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


async def _repeat(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    next_message_at = trio.current_time()
    while True:
        try:
            return await attempt()
        except (Unavailable, OutcomeUnknown) as error:
            if trio.current_time() >= next_message_at:
                log.warning("waiting for %s: %s", what, error)
                next_message_at = trio.current_time() + _STORE_REMINDER_SECONDS
        await trio.sleep(_STORE_RETRY_SECONDS)


async def _warn_of_lost_commits(database: Postgres) -> None:
    for warning in await database.durability_warnings():
        log.warning(warning)


async def warn_of_eviction(client: Redis) -> None:
    try:
        warning = await eviction_warning(client)
    except FlashError as error:
        warning = f"purchases are refused until Redis can be reached: {error}"
    if warning is not None:
        log.warning(warning)
