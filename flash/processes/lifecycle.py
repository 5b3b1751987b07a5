"""How every process of the service begins and ends: signals, waiting for the stores, and its exit code.

A process runs in one nursery until SIGTERM or SIGINT. A background task that dies takes the process with it, with a
traceback and a non-zero exit, so that a half-dead process does not go on answering.
"""

from __future__ import annotations

import gc
import logging
import math
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias, TypeVar

import trio
from redis.asyncio import Redis

from flash import bridge
from flash.config import Config, environment, mask
from flash.errors import ConfigError, FlashError, OperatorError, OutcomeUnknown, Unavailable
from flash.processes.service_manager import ServiceManager
from flash.shutdown import REPEAT_SECONDS
from flash.stores.migration import migrate
from flash.stores.postgres import Postgres, open_postgres
from flash.stores.readiness import check_readiness
from flash.stores.redis import eviction_warning, open_redis
from flash.stores.redis_address import RedisAddress
from flash.stores.redis_link import RedisLink
from flash.telemetry.logs import configure_logging, wants_json

log = logging.getLogger(__name__)

T = TypeVar("T")

_STORE_RETRY_SECONDS = 0.5
_STORE_REMINDER_SECONDS = 10.0


class Stopped(Exception):
    """The process was told to stop before it had started."""


@dataclass(frozen=True, slots=True)
class Told:
    """What signals have told this process: to `stop`, and then perhaps to `hurry`, without a pause for its proxy."""

    stop: trio.Event = field(default_factory=trio.Event)
    hurry: trio.Event = field(default_factory=trio.Event)


Main: TypeAlias = Callable[[Config, Told, ServiceManager], Awaitable[None]]


def run_process(role: str, main: Main, config: Config, *, is_copy: bool = False) -> int:
    """Run `main` until SIGTERM or SIGINT tells it to stop. Returns the exit code: 0, or 1 if anything died.

    `role` is what its log calls this process. `main` tells the service manager when it is ready; a process that
    `is_copy` of its parent's says nothing else.
    """
    is_for_people = sys.stderr.isatty() or config.is_under_honcho
    is_json = wants_json(config.log_format, is_for_people=is_for_people)
    configure_logging(config.log_level, process=role, is_json=is_json)
    for warning in config.warnings():
        log.warning(warning)
    # What was imported stays, and reference counts free most of what a request makes: look for cycles rarely.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    try:
        bridge.run(_until_signal, main, config, ServiceManager.of(environment(), is_copy=is_copy))
    except (OperatorError, ConfigError):
        raise
    except Exception:
        log.critical("this process ends because a part of it died", exc_info=True)
        return 1
    return 0


async def _until_signal(main: Main, config: Config, manager: ServiceManager) -> None:
    told = Told()
    # open until the end: honcho sends SIGTERM to the process group, and a terminal may add SIGINT
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen, signals, told)
            nursery.start_soon(manager.keep_alive)
            nursery.start_soon(_say_stopping, told, manager)
            async with bridge.open_loop():
                try:
                    await main(config, told, manager)
                except* Stopped:
                    log.info("stopped before it had started")
            nursery.cancel_scope.cancel()


async def _say_stopping(told: Told, manager: ServiceManager) -> None:
    await told.stop.wait()
    manager.stopping()


async def listen(signals: AsyncIterator[int], told: Told) -> None:
    """Until cancelled. SIGINT is a person's and means at once; so does a second SIGTERM."""
    stopped_at = math.inf
    async for number in signals:
        now = trio.current_time()
        if not told.stop.is_set():
            log.info("%s received, stopping", signal.Signals(number).name)
            stopped_at = now
            told.stop.set()
        if number == signal.SIGINT or now >= stopped_at + REPEAT_SECONDS:
            told.hurry.set()


@asynccontextmanager
async def open_database(config: Config, stop: trio.Event, name: str, connections_max: int) -> AsyncIterator[Postgres]:
    """PostgreSQL with its schema up to date, however long it takes to appear and to take writes.

    Raises `OperatorError` if this process cannot work with the schema, and `Stopped`.
    """
    url = config.require("database_url")
    await wait_until(f"PostgreSQL at {mask(url)}", stop, partial(migrate, url))
    async with open_postgres(
        url,
        connections_max=connections_max,
        timeout_seconds=config.database_timeout_seconds,
        name=name,
        driver=config.postgres_driver,
    ) as database:
        await wait_until(f"PostgreSQL at {mask(url)}", stop, partial(_warn_of_lost_commits, database))
        await wait_until(f"PostgreSQL at {mask(url)}", stop, partial(check_readiness, database))
        yield database


def open_reserved(config: Config, name: str) -> AbstractAsyncContextManager[Postgres]:
    """One connection to PostgreSQL for what must never queue behind buyers or leaders."""
    return open_postgres(
        config.require("database_url"),
        connections_max=1,
        timeout_seconds=config.database_timeout_seconds,
        name=name,
        driver=config.postgres_driver,
    )


def open_redis_client(config: Config) -> AbstractAsyncContextManager[Redis]:
    """redis-py's client. Redis may be away. Raises `ConfigError` if REDIS_URL cannot be used."""
    return open_redis(redis_address(config), timeout_seconds=config.redis_timeout_seconds)


def open_link(config: Config) -> RedisLink:
    """A link for streams. Redis may be away. Raises `ConfigError` if REDIS_URL cannot be used."""
    return RedisLink(redis_address(config), timeout_seconds=config.redis_timeout_seconds)


def redis_address(config: Config) -> RedisAddress:
    """What REDIS_URL says, with the files of FLASH_REDIS_CA, …. Raises `ConfigError` if they cannot be used."""
    address = RedisAddress.parse(config.require("redis_url"))
    return address.with_files(config.redis_ca, config.redis_cert, config.redis_key)


async def wait_until(what: str, stop: trio.Event, attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat `attempt` until it works, and return its result. Raises `Stopped` when told to stop, even during one."""
    return await unless_stopped(stop, partial(_repeat, what, attempt))


async def unless_stopped(stop: trio.Event, function: Callable[[], Awaitable[T]]) -> T:
    """Call `function` and return its result. Raises `Stopped` when told to stop meanwhile."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
        result = await function()
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


async def warn_of_eviction(client: Redis, stop: trio.Event) -> None:
    """Log it if Redis may evict a lease, or cannot be asked. Raises `Stopped`."""
    warning = await unless_stopped(stop, partial(_eviction_text, client))
    if warning is not None:
        log.warning(warning)


async def _eviction_text(client: Redis) -> str | None:
    try:
        return await eviction_warning(client)
    except FlashError as error:
        return f"purchases are refused until Redis can be reached: {error}"
