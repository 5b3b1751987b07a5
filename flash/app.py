"""The root: builds the two kinds of process from their parts, runs them, and ends them on SIGTERM or SIGINT.

Everything a process does lives in one nursery. A background task that dies takes the process with it, with a
traceback and a non-zero exit, so that nothing goes on answering from half a process.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio
from redis.asyncio import Redis

from flash import bridge, postgres, wire
from flash.actors.batcher import Batcher
from flash.actors.clock import Clock
from flash.actors.inventory import InventoryActor
from flash.actors.keeper import Keeper
from flash.actors.purchase import PurchaseDesk, SoldOutBoard
from flash.codes import Codes
from flash.config import Config, mask
from flash.courier import Courier
from flash.domain import Attempt, Attempted, Code, Redemption
from flash.errors import FlashError, OperatorError, OutcomeUnknown, Unavailable
from flash.handlers import Handlers
from flash.http.asgi import App
from flash.http.limits import Limits
from flash.http.server import address_of, listen, serve
from flash.inboxes import Inboxes
from flash.inventory import Inventory
from flash.leases import Leases
from flash.postgres import Postgres, open_postgres
from flash.redis_client import eviction_warning, open_redis, ping
from flash.redis_link import RedisLink
from flash.supervisor import Supervisor
from flash.telemetry import configure_logging

log = logging.getLogger(__name__)

T = TypeVar("T")

_WEB_CONNECTIONS = 10
_INVENTORY_CONNECTIONS = 6
_REDEMPTION_BATCH_MAX = 500
_STORE_RETRY_SECONDS = 0.5
_STORE_REMINDER_SECONDS = 10.0
_WORK_SHARE_OF_DRAIN = 0.8
"""The workers of a stopping web process end that much earlier than its connections: a 503 is an answer, a closed
connection is none."""
_HANDOVER_SECONDS = 0.25
"""How long a stopping inventory process goes on leading: web processes told to stop in the same instant get their
last answers, and a successor is not kept waiting for longer."""


class _Stopped(Exception):
    """The process was told to stop before it had started."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a supervised web process inherits: the socket to accept from, and a pipe that ends with the supervisor."""

    listener_fd: int
    lifeline_fd: int


def run_web(config: Config, shared: Shared | None = None) -> int:
    """Serve HTTP until SIGTERM or SIGINT, with `config.web_concurrency` processes if this is not one of them.

    Returns the exit code: 0, or 1 if anything died.
    """
    if shared is not None:
        return _run(partial(_shared_web, shared), config)
    return _run(_webs if config.web_concurrency > 1 else _web, config)


def run_inventory(config: Config) -> int:
    """Lead sales until SIGTERM or SIGINT. Returns the exit code: 0, or 1 if anything died."""
    return _run(_inventory, config)


def _run(main: Callable[[Config, trio.Event], Awaitable[None]], config: Config) -> int:
    configure_logging(config.log_level)
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
                except* _Stopped:
                    log.info("stopped before it had started")
            nursery.cancel_scope.cancel()


async def _set_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for number in signals:
        if not stop.is_set():
            log.info("%s received, stopping", signal.Signals(number).name)
            stop.set()


async def _webs(config: Config, stop: trio.Event) -> None:
    listener = listen(config.host, config.port)
    lifeline_fd, our_end = os.pipe()
    fds = (listener.fileno(), lifeline_fd)
    try:
        supervisor = Supervisor(
            "web",
            [sys.executable, "-m", "flash", "web", "--shared", *map(str, fds)],
            config.web_concurrency,
            fds,
            config.drain_seconds,
        )
        log.info("%d web processes share %s", config.web_concurrency, address_of(listener))
        await supervisor.run(stop)
    finally:
        listener.close()
        os.close(lifeline_fd)
        os.close(our_end)


async def _stop_with_supervisor(lifeline_fd: int, stop: trio.Event) -> None:
    """A process whose supervisor was killed would hold the port for ever."""
    await trio.lowlevel.wait_readable(lifeline_fd)
    if not stop.is_set():
        log.error("the supervisor of this process has died, stopping")
        stop.set()


async def _shared_web(shared: Shared, config: Config, stop: trio.Event) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_with_supervisor, shared.lifeline_fd, stop)
        await _web(config, stop, socket.socket(fileno=shared.listener_fd))
        nursery.cancel_scope.cancel()


async def _web(config: Config, stop: trio.Event, shared_listener: socket.socket | None = None) -> None:
    async with (
        _patient_postgres(config, stop, "flash web", _WEB_CONNECTIONS) as database,
        _redis(config) as redis,
        _link(config) as sender,
        _link(config) as listener,
    ):
        codes = Codes(await _wait_until("PostgreSQL", stop, database.code_key))
        await _warn_of_eviction(redis)
        checkouts: Batcher[Attempt, Attempted] = Batcher(
            "checkouts",
            database.record_attempts,
            waiting_max=config.checkout_waiting_max,
            batch_max=config.checkout_batch_max,
            workers=config.checkout_workers,
        )
        redemptions: Batcher[Code, Redemption] = Batcher(
            "redemptions",
            database.find_redemptions,
            waiting_max=config.purchase_waiting_max,
            batch_max=_REDEMPTION_BATCH_MAX,
            workers=1,
        )
        courier = Courier(
            sender,
            listener,
            waiting_max=config.purchase_waiting_max,
            batch_max=config.purchase_batch_max,
            timeout_seconds=config.request_timeout_seconds,
        )
        board = SoldOutBoard(database)
        await _wait_until("PostgreSQL", stop, board.refresh)
        handlers = Handlers(
            codes,
            checkouts,
            PurchaseDesk(courier, redemptions, board),
            database,
            ping_database=database.ping,
            ping_redis=partial(ping, redis),
            is_draining=stop.is_set,
        )
        app = App(handlers.routes(), handlers.patterns(), body_seconds=config.body_seconds)
        async with trio.open_nursery() as nursery:
            runs = (checkouts.run, redemptions.run, courier.run, board.run)
            nursery.start_soon(_work, runs, stop, config.drain_seconds * _WORK_SHARE_OF_DRAIN)
            await serve(
                app,
                host=config.host,
                port=config.port,
                limits=_limits(config),
                is_own=config.http == "own",
                stop=stop,
                listener=shared_listener,
                on_listening=lambda address: log.info("listening on %s", address),
            )
            nursery.cancel_scope.cancel()
    log.info("stopped")


async def _work(runs: Sequence[Callable[[], Awaitable[None]]], stop: trio.Event, drain_seconds: float) -> None:
    """Run the workers of a web process until `drain_seconds` after `stop`: whoever waits then is told 503 by them."""
    async with trio.open_nursery() as workers:
        for run in runs:
            workers.start_soon(run)
        await stop.wait()
        await trio.sleep(drain_seconds)
        workers.cancel_scope.cancel()


async def _inventory(config: Config, stop: trio.Event) -> None:
    async with (
        _patient_postgres(config, stop, "flash inventory", _INVENTORY_CONNECTIONS) as database,
        _redis(config) as lease_client,
        _link(config) as writer,
        _link(config) as reader,
    ):
        await _wait_until("Redis", stop, lambda: ping(lease_client))
        await _warn_of_eviction(lease_client)
        inboxes = Inboxes(reader, writer, on_bell=lambda: keeper.nudge())
        keeper = Keeper(
            Leases(lease_client, config.lease_seconds),
            list_wanted=partial(_list_wanted, database),
            lead=partial(_lead, config, database, inboxes),
            on_release=inboxes.ring,
            lease_seconds=config.lease_seconds,
            margin_seconds=config.lease_margin_seconds,
        )
        async with trio.open_nursery() as workers:
            workers.start_soon(inboxes.run)
            workers.start_soon(keeper.run)
            log.info("ready to lead")
            await stop.wait()
            await trio.sleep(_HANDOVER_SECONDS)
            workers.cancel_scope.cancel()
    log.info("stopped")


async def _list_wanted(database: Postgres) -> list[str]:
    return [wire.CLOCK_LEASE, *(wire.lease_key(sale_id) for sale_id in await database.list_leadable())]


async def _lead(config: Config, database: Postgres, inboxes: Inboxes, key: str) -> None:
    """Do what the lease `key` entitles to, until cancelled or there is nothing left to do."""
    if key == wire.CLOCK_LEASE:
        log.info("leading the clock")
        clock = Clock(
            database,
            inboxes.ring,
            period_seconds=config.sale_period_seconds,
            size=config.sale_size,
            user_limit=config.user_limit,
        )
        await clock.run()
        return
    term, sale, purchases = await database.begin_term(wire.sale_of_lease(key))
    log.info("leading sale %d, epoch %d: %d of %d sold", sale.id, term.epoch, sale.sold, sale.stock)
    actor = InventoryActor(term, Inventory(sale, purchases), database, inboxes, batch_max=config.purchase_batch_max)
    with inboxes.open(sale.id) as mailbox:
        await inboxes.ring()  # our reader may be blocked on the sales that it knew before
        await actor.run(mailbox)
    log.info("done with sale %d: sold out", sale.id)


@asynccontextmanager
async def _patient_postgres(
    config: Config, stop: trio.Event, name: str, connections_max: int
) -> AsyncIterator[Postgres]:
    """The migrated database, however long it takes to appear."""
    url = _database_url(config)
    await _wait_until(f"PostgreSQL at {mask(url)}", stop, lambda: postgres.migrate(url))
    async with open_postgres(
        url,
        connections_max=connections_max,
        timeout_seconds=config.database_timeout_seconds,
        code_ttl_seconds=config.code_ttl_seconds,
        name=name,
    ) as database:
        await _wait_until(f"PostgreSQL at {mask(url)}", stop, partial(_warn_of_lost_commits, database))
        yield database


def _redis(config: Config) -> AbstractAsyncContextManager[Redis]:
    return open_redis(_redis_url(config), timeout_seconds=config.redis_timeout_seconds)


def _link(config: Config) -> RedisLink:
    return RedisLink(_redis_url(config), timeout_seconds=config.redis_timeout_seconds)


def _redis_url(config: Config) -> str:
    if config.redis_url is None:
        raise OperatorError("REDIS_URL is not set: set it, or use `flash up`")
    return config.redis_url


def _database_url(config: Config) -> str:
    if config.database_url is None:
        raise OperatorError("DATABASE_URL is not set: set it, or use `flash up`")
    return config.database_url


async def _wait_until(what: str, stop: trio.Event, attempt: Callable[[], Awaitable[T]]) -> T:
    """What `attempt` returns, repeated until it works. Raises `_Stopped` when told to stop, even within one."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_on, stop, nursery.cancel_scope)
        result = await _repeat(what, attempt)
        nursery.cancel_scope.cancel()
        return result
    raise _Stopped


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


async def _warn_of_eviction(client: Redis) -> None:
    try:
        warning = await eviction_warning(client)
    except FlashError as error:
        warning = f"purchases are refused until Redis can be reached: {error}"
    if warning is not None:
        log.warning(warning)


def _limits(config: Config) -> Limits:
    return Limits(
        connections_max=config.connections_max,
        idle_seconds=config.idle_seconds,
        head_seconds=config.head_seconds,
        body_seconds=config.body_seconds,
        send_seconds=config.send_seconds,
        drain_seconds=config.drain_seconds,
    )
